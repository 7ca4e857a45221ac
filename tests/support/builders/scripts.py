"""What the tests of scripts share: small transactions, a chain of a few headers, a consensus with known forks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from consensus.crypto.hashing import ZERO_HASH, data_hash
from consensus.params import Consensus, Hardforks, PowFunc
from consensus.types.blockchain import (
    HASH_TYPE_DATA,
    NULL_OUT_POINT,
    Block,
    CellDep,
    CellInput,
    CellOutput,
    Header,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
    out_point_key,
)
from consensus.types.core import CellMeta, EpochExt, ResolvedTransaction, TransactionInfo

EPOCHS = (0, 5, 10)
"""Epochs in which `type` scripts run on VM 0, 1, 2."""
DATA_HASH_TYPES = (0, 2, 4)
NO_SCRIPT = Script(code_hash=ZERO_HASH, hash_type=HASH_TYPE_DATA, args=b"")
COMMITTED = TransactionInfo(block_hash=ZERO_HASH, block_number=1, block_epoch=0, tx_index=1)


@dataclass(frozen=True)
class Env:
    """An environment of one epoch."""

    epoch_without_proposal_window: int


@dataclass
class Chain:
    """Stored headers and blocks by hash, and how often each was asked for."""

    headers: dict[bytes, Header] = field(default_factory=dict)
    blocks: dict[bytes, Block] = field(default_factory=dict)
    lookups: int = 0

    def header(self, block_hash: bytes) -> Header | None:
        self.lookups += 1
        return self.headers.get(block_hash)

    def block(self, block_hash: bytes) -> Block | None:
        self.lookups += 1
        return self.blocks.get(block_hash)


def make_header(number: int = 0, epoch: int = 0) -> Header:
    return Header(
        body=RawHeader(
            version=0,
            compact_target=0,
            timestamp=0,
            number=number,
            epoch=epoch,
            parent_hash=ZERO_HASH,
            transactions_root=ZERO_HASH,
            proposals_hash=ZERO_HASH,
            extra_hash=ZERO_HASH,
            dao=ZERO_HASH,
        ),
        nonce=0,
    )


def make_block(header: Header, extension: bytes | None = None) -> Block:
    return Block(header=header, uncles=[], transactions=[], proposals=[], extension=extension)


def make_consensus() -> Consensus:
    """VM 1 from epoch 5, VM 2 from epoch 10."""
    genesis_epoch = EpochExt(
        previous_epoch_hash_rate=0,
        last_block_hash_in_previous_epoch=ZERO_HASH,
        compact_target=0,
        number=0,
        base_block_reward=0,
        remainder_reward=0,
        start_number=0,
        length=1,
    )
    return Consensus(
        id="test",
        genesis_block=make_block(make_header()),
        genesis_epoch=genesis_epoch,
        pow_func=PowFunc.DUMMY,
        hardforks=Hardforks(rfc_0032=EPOCHS[1], rfc_0049=EPOCHS[2]),
    )


def make_output(lock: Script = NO_SCRIPT, type_: Script | None = None, capacity: int = 10_000_000_000) -> CellOutput:
    return CellOutput(capacity=capacity, lock=lock, type_=type_)


def make_cell(
    data: bytes = b"",
    lock: Script = NO_SCRIPT,
    type_: Script | None = None,
    info: TransactionInfo | None = COMMITTED,
) -> CellMeta:
    return CellMeta(
        out_point=out_point_key(ZERO_HASH, 0),
        output=make_output(lock, type_),
        data_size=len(data),
        data_hash=data_hash(data),
        info=info,
        load_data=lambda: data,
    )


def make_transaction(
    *,
    outputs: Sequence[CellOutput] = (),
    outputs_data: Sequence[bytes] | None = None,
    witnesses: Sequence[bytes] = (),
    header_deps: Sequence[bytes] = (),
    inputs: Sequence[CellInput] | None = None,
    cell_deps: Sequence[CellDep] = (),
) -> Transaction:
    if inputs is None:
        inputs = [CellInput(since=0, previous_output=NULL_OUT_POINT)]
    if outputs_data is None:
        outputs_data = [b""] * len(outputs)
    body = RawTransaction(
        version=0,
        cell_deps=cell_deps,
        header_deps=header_deps,
        inputs=inputs,
        outputs=outputs,
        outputs_data=outputs_data,
    )
    return Transaction(body=body, witnesses=witnesses)


def resolve(
    transaction: Transaction, inputs: Sequence[CellMeta] = (), cell_deps: Sequence[CellMeta] = ()
) -> ResolvedTransaction:
    return ResolvedTransaction(transaction=transaction, inputs=inputs, cell_deps=cell_deps, dep_groups=[])


def script_for(code: bytes, version: int, args: bytes = b"") -> Script:
    """A script that names code by data hash, for the VM of a version."""
    return Script(code_hash=data_hash(code), hash_type=DATA_HASH_TYPES[version], args=args)
