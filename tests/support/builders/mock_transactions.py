"""Transactions for script tests: made-up cells, and signing as wallets do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import coincurve

from consensus.crypto.hashing import blake160, ckb_hash_concat, data_hash
from consensus.types.blockchain import (
    DEP_TYPE_CODE,
    HASH_TYPE_DATA,
    HASH_TYPE_DATA1,
    HASH_TYPE_DATA2,
    CellDep,
    CellInput,
    CellOutput,
    Header,
    OutPoint,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
    WitnessArgs,
)

CELLS = Path(__file__).resolve().parents[3] / "ckb_node" / "specs" / "cells"
SIGHASH = "secp256k1_blake160_sighash_all"
MULTISIG = "secp256k1_blake160_multisig_all"
DAO = "dao"
DATA = "secp256k1_data"
CKB = 10**8

OTHER_LOCK = Script(code_hash=bytes(32), hash_type=HASH_TYPE_DATA2, args=b"other")
"""A lock that no test runs."""


def code(name: str) -> bytes:
    """A system cell's data."""
    return (CELLS / name).read_bytes()


def script(name: str, args: bytes = b"", version: int = 2) -> Script:
    """The script that a system cell's code runs for, on a version of the VM."""
    hash_type = (HASH_TYPE_DATA, HASH_TYPE_DATA1, HASH_TYPE_DATA2)[version]
    return Script(code_hash=data_hash(code(name)), hash_type=hash_type, args=args)


@dataclass(frozen=True)
class Cell:
    """A cell as output, dep or spent input. Capacity in shannons; header is that of the block which holds it."""

    lock: Script = OTHER_LOCK
    type_: Script | None = None
    capacity: int = 1000 * CKB
    data: bytes = b""
    since: int = 0
    header: Header | None = None

    def output(self) -> CellOutput:
        return CellOutput(capacity=self.capacity, lock=self.lock, type_=self.type_)


def system_deps() -> list[Cell]:
    """The four system cells, in the order of the genesis block."""
    return [Cell(data=code(name)) for name in (SIGHASH, DAO, DATA, MULTISIG)]


@dataclass
class Mock:
    """A transaction together with what its inputs and deps are."""

    inputs: Sequence[Cell]
    outputs: Sequence[Cell]
    witnesses: Sequence[bytes]
    deps: Sequence[Cell] = field(default_factory=system_deps)
    header_deps: Sequence[Header] = ()

    def transaction(self) -> Transaction:
        """The transaction; out points are made up, one for each input and dep."""
        body = RawTransaction(
            version=0,
            cell_deps=[CellDep(out_point=_out_point(2, i), dep_type=DEP_TYPE_CODE) for i in range(len(self.deps))],
            header_deps=[header.hash for header in self.header_deps],
            inputs=[CellInput(since=c.since, previous_output=_out_point(1, i)) for i, c in enumerate(self.inputs)],
            outputs=[cell.output() for cell in self.outputs],
            outputs_data=[cell.data for cell in self.outputs],
        )
        return Transaction(body=body, witnesses=list(self.witnesses))

    def with_witness(self, index: int, value: bytes) -> Mock:
        """The same transaction with one witness replaced."""
        return replace(self, witnesses=[value if i == index else w for i, w in enumerate(self.witnesses)])


def _out_point(kind: int, index: int) -> OutPoint:
    return OutPoint(tx_hash=bytes([kind]) * 32, index=index)


def witness(lock: bytes | None = None, input_type: bytes | None = None, output_type: bytes | None = None) -> bytes:
    """A serialized WitnessArgs."""
    return WitnessArgs(lock=lock, input_type=input_type, output_type=output_type).raw


def header(number: int, epoch: int, accumulate_rate: int = 10**16) -> Header:
    """A header with the fields that the DAO script reads; epoch is packed."""
    dao = bytes(8) + accumulate_rate.to_bytes(8, "little") + bytes(16)
    zero = bytes(32)
    body = RawHeader(
        version=0,
        compact_target=0x20010000,
        timestamp=number,
        number=number,
        epoch=epoch,
        parent_hash=zero,
        transactions_root=zero,
        proposals_hash=zero,
        extra_hash=zero,
        dao=dao,
    )
    return Header(body=body, nonce=0)


@dataclass(frozen=True)
class Key:
    """A private key as wallets use it."""

    secret: int

    @property
    def hash(self) -> bytes:
        """Short hash of the compressed public key: args of the lock."""
        return blake160(coincurve.PrivateKey.from_int(self.secret).public_key.format())

    def sign(self, message: bytes) -> bytes:
        """A recoverable signature, 65 bytes."""
        return coincurve.PrivateKey.from_int(self.secret).sign_recoverable(message, hasher=None)


def message(mock: Mock, group: Sequence[int]) -> bytes:
    """What the signers of a group sign; its first witness must have zeros for the signatures."""
    covered = [*group, *range(len(mock.inputs), len(mock.witnesses))]
    parts = [mock.transaction().hash]
    for index in covered:
        if index < len(mock.witnesses):
            parts += [len(mock.witnesses[index]).to_bytes(8, "little"), mock.witnesses[index]]
    return ckb_hash_concat(*parts)


def sign(mock: Mock, group: Sequence[int], make_lock: Callable[[bytes], bytes]) -> Mock:
    """Fill the lock of the group's first witness with what make_lock gives for the message."""
    args = WitnessArgs.parse(mock.witnesses[group[0]])
    return mock.with_witness(group[0], args.replace(lock=make_lock(message(mock, group))).raw)


ALICE, BOB = Key(0xA11CE), Key(2**255 - 19)

NO_SIGNATURE = bytes(65)


def cell(key: Key = ALICE, version: int = 2) -> Cell:
    return Cell(lock=script(SIGHASH, key.hash, version))


def payment(*witnesses: bytes, inputs: tuple[Cell, ...] = (cell(),)) -> Mock:
    """One output of 400 CKB."""
    return Mock(inputs, [Cell(capacity=400 * CKB)], witnesses or [witness(NO_SIGNATURE)])


def signed(mock: Mock, key: Key = ALICE, group: tuple[int, ...] = (0,)) -> Mock:
    return sign(mock, group, key.sign)
