"""Chains of small blocks that keep no rule but that of epochs, for tests of single rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consensus.crypto.difficulty import DIFFICULTY_TWO
from consensus.crypto.hashing import ZERO_HASH, data_hash
from consensus.params import Consensus, PowFunc
from consensus.rules.dao import genesis_dao_field
from consensus.rules.epoch import genesis_block_issuance, genesis_epoch_ext, next_epoch_ext
from consensus.types.blockchain import (
    HASH_TYPE_TYPE,
    NULL_OUT_POINT,
    Block,
    CellbaseWitness,
    CellDep,
    CellInput,
    CellOutput,
    Header,
    OutPoint,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
    UncleBlock,
    out_point_key,
)
from consensus.types.core import CellMeta, EpochFraction, ResolvedTransaction, TransactionInfo
from tests.support.chains.in_memory import MemoryChain

SHANNONS = 100_000_000


def script(args: bytes = b"", code_hash: bytes = b"\x01" * 32, hash_type: int = HASH_TYPE_TYPE) -> Script:
    return Script(code_hash=code_hash, hash_type=hash_type, args=args)


def output(capacity: int, lock: Script | None = None, type_: Script | None = None) -> CellOutput:
    return CellOutput(capacity=capacity, lock=lock or script(), type_=type_)


def transaction(
    inputs: Sequence[CellInput] = (),
    outputs: Sequence[CellOutput] = (),
    outputs_data: Sequence[bytes] | None = None,
    header_deps: Sequence[bytes] = (),
    witnesses: Sequence[bytes] = (),
    cell_deps: Sequence[CellDep] = (),
    version: int = 0,
) -> Transaction:
    body = RawTransaction(
        version=version,
        cell_deps=cell_deps,
        header_deps=header_deps,
        inputs=inputs,
        outputs=outputs,
        outputs_data=[b""] * len(outputs) if outputs_data is None else outputs_data,
    )
    return Transaction(body=body, witnesses=witnesses)


def cell_input(tx_hash: bytes, index: int = 0, since: int = 0) -> CellInput:
    return CellInput(since=since, previous_output=OutPoint(tx_hash=tx_hash, index=index))


def cellbase(
    number: int, outputs: Sequence[CellOutput] = (), lock: Script | None = None, message: bytes = b""
) -> Transaction:
    """A cellbase whose witness names `lock` as the miner's."""
    witness = CellbaseWitness(lock=lock or script(), message=message)
    return transaction(
        inputs=[CellInput(since=number, previous_output=NULL_OUT_POINT)], outputs=outputs, witnesses=[witness.raw]
    )


def header(**fields: Any) -> Header:
    """A header with the given fields; `epoch` may be an EpochFraction."""
    values: dict[str, Any] = {
        "version": 0,
        "compact_target": DIFFICULTY_TWO,
        "timestamp": 0,
        "number": 0,
        "epoch": 0,
        "parent_hash": ZERO_HASH,
        "transactions_root": ZERO_HASH,
        "proposals_hash": ZERO_HASH,
        "extra_hash": ZERO_HASH,
        "dao": bytes(32),
    }
    nonce = fields.pop("nonce", 0)
    values |= fields
    if isinstance(values["epoch"], EpochFraction):
        values["epoch"] = values["epoch"].pack()
    return Header(body=RawHeader(**values), nonce=nonce)


def block(
    head: Header,
    transactions: Sequence[Transaction] = (),
    proposals: Sequence[bytes] = (),
    uncles: Sequence[UncleBlock] = (),
    extension: bytes | None = None,
) -> Block:
    """A block whose header commits to its body."""
    built = Block(header=head, uncles=uncles, transactions=transactions, proposals=proposals, extension=extension)
    return built.with_roots()


def cell_meta(
    cell: CellOutput, data: bytes = b"", info: TransactionInfo | None = None, out_point: bytes | None = None
) -> CellMeta:
    key = out_point_key(b"\x07" * 32, 0) if out_point is None else out_point
    return CellMeta(key, cell, len(data), data_hash(data), info, lambda: data)


def resolved(tx: Transaction, inputs: Sequence[CellMeta] = ()) -> ResolvedTransaction:
    return ResolvedTransaction(tx, inputs, (), ())


def make_consensus(genesis_transactions: Sequence[Transaction] | None = None, **changes: Any) -> Consensus:
    """A dummy chain with RFC parameters; `changes` are fields of Consensus, and `genesis_length`."""
    length = changes.pop("genesis_length", 1000)
    target = changes.pop("genesis_compact_target", DIFFICULTY_TWO)
    params: dict[str, Any] = {"id": "test", "pow_func": PowFunc.DUMMY} | changes
    primary = params.get("initial_primary_epoch_reward", 191_780_821_917_808)
    secondary = params.get("secondary_epoch_reward", 61_369_863_013_698)
    first = cellbase(0, [output(1_000 * SHANNONS)])
    transactions = [first] if genesis_transactions is None else list(genesis_transactions)
    draft = Consensus(
        genesis_block=block(header(compact_target=target), transactions),
        genesis_epoch=genesis_epoch_ext(
            primary,
            target,
            length,
            params.get("epoch_duration_target_s", 4 * 60 * 60),
            params.get("orphan_rate_target", Consensus.__dataclass_fields__["orphan_rate_target"].default),
        ),
        **params,
    )
    dao = genesis_dao_field(
        transactions,
        draft.satoshi_pubkey_hash,
        draft.satoshi_cell_occupied_ratio,
        genesis_block_issuance(primary, length),
        genesis_block_issuance(secondary, length),
    )
    genesis = block(header(compact_target=target, dao=dao), transactions)
    return Consensus(genesis_block=genesis, genesis_epoch=draft.genesis_epoch, **params)


class UncheckedChain(MemoryChain):
    """Grows by blocks of which only number, parent, epoch and target are right."""

    @classmethod
    def with_genesis(cls, consensus: Consensus) -> UncheckedChain:
        chain = cls(consensus)
        chain.attach(consensus.genesis_block, consensus.genesis_epoch)
        return chain

    def extend(
        self,
        transactions: Sequence[Transaction] = (),
        *,
        fees: Sequence[int] = (),
        message: bytes = b"",
        lock: Script | None = None,
        **parts: Any,
    ) -> Block:
        """Attach the next block, with a cellbase and the given transactions; 8 s after the tip unless told."""
        tip = self.tip_header()
        number = tip.number + 1
        epoch = next_epoch_ext(self.consensus, tip, self.epochs[tip.hash], self)
        head = header(
            number=number,
            parent_hash=tip.hash,
            epoch=epoch.fraction_at(number),
            compact_target=epoch.compact_target,
            timestamp=parts.pop("timestamp", tip.timestamp + 8_000),
            dao=parts.pop("dao", tip.dao),
        )
        body = [cellbase(number, message=message, lock=lock), *transactions]
        return self.attach(block(head, body, **parts), epoch, fees)
