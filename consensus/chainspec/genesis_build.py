"""The genesis block: two transactions that hold the system scripts and the first coins (RFC 24 lists them).

The cellbase's outputs, in order: a cell with the chain's message, the system cells, one special cell, the issued cells.
The second transaction spends the special cell, whose key everybody knows, on cells that group the system cells as
dependencies. Nothing of genesis is script-verified: it is valid because every node agrees on its hash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import coincurve

from consensus.crypto.hashing import ZERO_HASH, blake160, ckb_hash, data_hash
from consensus.errors import DaoError, SpecError
from consensus.params import TYPE_ID_CODE_HASH
from consensus.rules.dao import genesis_dao_field
from consensus.types.blockchain import (
    HASH_TYPE_DATA,
    HASH_TYPE_DATA1,
    HASH_TYPE_DATA2,
    HASH_TYPE_TYPE,
    NULL_OUT_POINT,
    OUT_POINT_VEC,
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
)

OUTPUT_SIGHASH_ALL = 1
OUTPUT_DAO = 2
OUTPUT_SECP256K1_DATA = 3
OUTPUT_MULTISIG_ALL = 4
SYSTEM_CELLS_AT_LEAST = 4

# Locks the special cell. The key is public: its coins are spent within genesis.
SPECIAL_CELL_KEY = bytes.fromhex("d0c5c1e2d5af8b6ced3c0800937f996c1fa38c29186cade0cd8b5a73c97aaca3")

LoadCellFile = Callable[[str], bytes]
"""Content of a system cell by the name that the spec gives it; raises SpecError when there is none."""

CellWithData = tuple[CellOutput, bytes]


class GenesisMismatchError(SpecError):
    """The genesis block is not the one whose hash the spec names."""

    def __init__(self, expected: bytes, actual: bytes) -> None:
        super().__init__(f"genesis hash mismatch: the spec says 0x{expected.hex()}, the block is 0x{actual.hex()}")
        self.expected = expected
        self.actual = actual


class GenesisLockError(SpecError):
    """A cell of genesis is locked by code that genesis does not hold: nobody could ever spend it."""

    def __init__(self, transaction: int, output: int, code_hash: bytes) -> None:
        super().__init__(f"genesis transaction {transaction}, output {output}: no code 0x{code_hash.hex()} in genesis")
        self.transaction = transaction
        self.output = output
        self.code_hash = code_hash


@dataclass(frozen=True, slots=True)
class SystemCell:
    """A cell with code. `capacity` in shannons; None: just what the cell takes."""

    file: str
    create_type_id: bool
    capacity: int | None


@dataclass(frozen=True, slots=True)
class IssuedCell:
    """Coins that somebody owns from the start. `capacity` in shannons."""

    capacity: int
    lock: Script
    type_: Script | None
    data: bytes


@dataclass(frozen=True, slots=True)
class DepGroup:
    """System cells that are named together as one dependency."""

    name: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SatoshiGift:
    """The burnt quarter: cells with these lock args count as occupied by a fixed share of their capacity (RFC 15)."""

    pubkey_hash: bytes
    occupied_ratio: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesisRecipe:
    """What a chain spec says of genesis. Time in milliseconds."""

    version: int
    timestamp: int
    compact_target: int
    nonce: int
    message: str
    message_lock: Script
    system_cells: tuple[SystemCell, ...]
    system_cells_lock: Script
    bootstrap_lock: Script
    dep_groups: tuple[DepGroup, ...]
    issued_cells: tuple[IssuedCell, ...]

    def header(self, dao: bytes) -> Header:
        """The header, all roots zero."""
        body = RawHeader(
            version=self.version,
            compact_target=self.compact_target,
            timestamp=self.timestamp,
            number=0,
            epoch=0,
            parent_hash=ZERO_HASH,
            transactions_root=ZERO_HASH,
            proposals_hash=ZERO_HASH,
            extra_hash=ZERO_HASH,
            dao=dao,
        )
        return Header(body=body, nonce=self.nonce)


@dataclass(frozen=True, slots=True)
class GenesisIssuance:
    """What enters the dao field besides the transactions: issuance of one block in shannons, and the gift."""

    primary: int
    secondary: int
    gift: SatoshiGift

    def dao_field(self, transactions: Sequence[Transaction]) -> bytes:
        """The dao field of a genesis block with these transactions; SpecError when the amounts are impossible."""
        try:
            return genesis_dao_field(
                transactions, self.gift.pubkey_hash, self.gift.occupied_ratio, self.primary, self.secondary
            )
        except DaoError as error:
            raise SpecError(f"genesis issues an impossible amount of coins: {error}") from error


def genesis_type_id(output_index: int) -> Script:
    """The type id of the cellbase's output (RFC 22): fixed by its place, so the same on every chain."""
    args = ckb_hash(CellInput(since=0, previous_output=NULL_OUT_POINT).raw + output_index.to_bytes(8, "little"))
    return Script(code_hash=TYPE_ID_CODE_HASH, hash_type=HASH_TYPE_TYPE, args=args)


def build_genesis(recipe: GenesisRecipe, issuance: GenesisIssuance, load_cell_file: LoadCellFile) -> Block:
    """Build the genesis block; SpecError when the recipe cannot work. `check_genesis` is the caller's next step."""
    if len(recipe.system_cells) < SYSTEM_CELLS_AT_LEAST:
        raise SpecError(f"genesis needs {SYSTEM_CELLS_AT_LEAST} system cells: sighash, dao, secp256k1 data, multisig")
    names = {cell.file for cell in recipe.system_cells} | {name for group in recipe.dep_groups for name in group.files}
    files = {name: load_cell_file(name) for name in names}
    groups_capacity = sum(_dep_group_cell(recipe, len(group.files)).capacity for group in recipe.dep_groups)
    cellbase = _build_cellbase(recipe, files, groups_capacity)
    transactions = [cellbase, _build_dep_groups(recipe, files, cellbase)]
    header = recipe.header(issuance.dao_field(transactions))
    return Block(header=header, uncles=[], transactions=transactions, proposals=[]).with_roots()


def _build_cellbase(recipe: GenesisRecipe, files: dict[str, bytes], special_capacity: int) -> Transaction:
    message = recipe.message.encode()
    cells: list[CellWithData] = [(_exact_cell(recipe.message_lock, None, len(message)), message)]
    for index, system_cell in enumerate(recipe.system_cells, start=1):
        data = files[system_cell.file]
        cells.append((_system_cell(system_cell, index, recipe.system_cells_lock, len(data)), data))
    special_lock = Script(
        code_hash=data_hash(cells[OUTPUT_SIGHASH_ALL][1]),
        hash_type=HASH_TYPE_DATA,
        args=blake160(coincurve.PrivateKey(SPECIAL_CELL_KEY).public_key.format(compressed=True)),
    )
    cells.append((CellOutput(capacity=special_capacity, lock=special_lock, type_=None), b""))
    cells += [
        (CellOutput(capacity=issued.capacity, lock=issued.lock, type_=issued.type_), issued.data)
        for issued in recipe.issued_cells
    ]
    # The first blocks pay genesis' own reward to this lock, so the witness names it like any miner's would.
    witness = CellbaseWitness(lock=recipe.bootstrap_lock, message=b"")
    body = _transaction_body([], CellInput(since=0, previous_output=NULL_OUT_POINT), cells)
    return Transaction(body=body, witnesses=[witness.raw])


def _build_dep_groups(recipe: GenesisRecipe, files: dict[str, bytes], cellbase: Transaction) -> Transaction:
    all_data = list(cellbase.body.outputs_data)
    cells: list[CellWithData] = []
    for group in recipe.dep_groups:
        out_points = [_cell_with_data(cellbase, all_data, name, files[name]) for name in group.files]
        data = OUT_POINT_VEC.pack(out_points)
        cells.append((_dep_group_cell(recipe, len(out_points)), data))
    deps = [
        CellDep(out_point=OutPoint(tx_hash=cellbase.hash, index=index), dep_type=0)
        for index in (OUTPUT_SECP256K1_DATA, OUTPUT_SIGHASH_ALL)
    ]
    special = OutPoint(tx_hash=cellbase.hash, index=1 + len(recipe.system_cells))
    body = _transaction_body(deps, CellInput(since=0, previous_output=special), cells)
    # Signed as it was before WitnessArgs existed: the bare signature of the hash of the transaction hash.
    message = ckb_hash(ckb_hash(body.raw))
    signature = coincurve.PrivateKey(SPECIAL_CELL_KEY).sign_recoverable(message, hasher=None)
    return Transaction(body=body, witnesses=[signature])


def _transaction_body(deps: list[CellDep], spent: CellInput, cells: list[CellWithData]) -> RawTransaction:
    return RawTransaction(
        version=0,
        cell_deps=deps,
        header_deps=[],
        inputs=[spent],
        outputs=[output for output, _ in cells],
        outputs_data=[data for _, data in cells],
    )


def _cell_with_data(cellbase: Transaction, all_data: list[bytes], name: str, data: bytes) -> OutPoint:
    """The first output of the cellbase that holds a file's bytes."""
    if data not in all_data:
        raise SpecError(f"a dep group names {name}, which is not a system cell of genesis")
    return OutPoint(tx_hash=cellbase.hash, index=all_data.index(data))


def _exact_cell(lock: Script, type_: Script | None, data_size: int) -> CellOutput:
    """A cell whose capacity is just what it takes."""
    output = CellOutput(capacity=0, lock=lock, type_=type_)
    return output.replace(capacity=output.occupied_capacity(data_size))


def _dep_group_cell(recipe: GenesisRecipe, members: int) -> CellOutput:
    return _exact_cell(recipe.system_cells_lock, None, 4 + 36 * members)


def _system_cell(cell: SystemCell, index: int, lock: Script, data_size: int) -> CellOutput:
    exact = _exact_cell(lock, genesis_type_id(index) if cell.create_type_id else None, data_size)
    if cell.capacity is None:
        return exact
    if cell.capacity < exact.capacity:
        raise SpecError(f"system cell {cell.file} takes {exact.capacity} shannons, the spec gives it {cell.capacity}")
    return exact.replace(capacity=cell.capacity)


def check_genesis(block: Block) -> None:
    """What genesis must satisfy besides the rules of consensus.chainspec.genesis; SpecError says what is wrong."""
    if block.proposals or block.extension is not None:
        raise SpecError("genesis must have no proposals and no extension")
    if block.with_roots() is not block:
        raise SpecError("the genesis header does not commit to the genesis transactions")
    check_genesis_locks(block.transactions)


def check_genesis_locks(transactions: Sequence[Transaction]) -> None:
    """Every lock's code is in genesis; the message cell's lock and the zero code hash are never to be opened."""
    outputs = [output for tx in transactions for output in tx.body.outputs]
    data_hashes = {ckb_hash(data) for tx in transactions for data in tx.body.outputs_data if data}
    type_hashes = {output.type_.hash for output in outputs if output.type_ is not None}
    code_hashes = {
        HASH_TYPE_DATA: data_hashes,
        HASH_TYPE_TYPE: type_hashes,
        HASH_TYPE_DATA1: data_hashes,
        HASH_TYPE_DATA2: data_hashes,
    }
    message_lock = outputs[0].lock
    for tx_index, tx in enumerate(transactions):
        for index, output in enumerate(tx.body.outputs):
            lock = output.lock
            if lock == message_lock or lock.code_hash == ZERO_HASH:
                continue
            if lock.code_hash not in code_hashes.get(lock.hash_type, set()):
                raise GenesisLockError(tx_index, index, lock.code_hash)
