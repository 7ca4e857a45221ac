"""From out points to cells: inputs and deps are live, dep groups are expanded, header deps are on the main chain."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import Protocol

from consensus.context import CellProvider
from consensus.crypto.hashing import data_hash
from consensus.errors import MoleculeError, ResolveError
from consensus.types.blockchain import DEP_TYPE_DEP_GROUP, OUT_POINT_VEC, Block, OutPoint, Transaction
from consensus.types.core import CellMeta, ResolvedTransaction, TransactionInfo

MAX_DEP_EXPANSION = 2048
"""Most code cells that a transaction may name, by itself or through dep groups."""


ResolvedDeps = tuple[list[CellMeta], list[CellMeta]]
"""Code cells, and cells of the dep groups."""

ResolveDeps = Callable[[Transaction, CellProvider, Container[bytes]], ResolvedDeps]
"""As `resolve_cell_deps`."""


class HeaderChecker(Protocol):
    """Knows which blocks a transaction may name as header deps."""

    def is_main(self, block_hash: bytes) -> bool:
        """The block is on the main chain."""
        ...


class OutPointError(ResolveError):
    """Something is wrong with one out point (36 bytes)."""

    def __init__(self, out_point: bytes) -> None:
        super().__init__(f"{self.word}(OutPoint(0x{out_point.hex()}))")
        self.out_point = out_point

    word = ""


class UnknownOutPointError(OutPointError):
    """No live cell has it: it was never created here, or was spent in an earlier block."""

    word = "Unknown"


class DeadOutPointError(OutPointError):
    """An earlier transaction of the same block (or pool), or an earlier input, spends it."""

    word = "Dead"


class OutOfOrderError(OutPointError):
    """It belongs to the same or a later transaction of the block."""

    word = "OutOfOrder"


class InvalidDepGroupError(OutPointError):
    """The data of a dep group is not a list of one or more out points."""

    word = "InvalidDepGroup"


class InvalidHeaderDepError(ResolveError):
    """A header dep is not on the main chain."""

    def __init__(self, block_hash: bytes) -> None:
        super().__init__(f"InvalidHeader(Byte32(0x{block_hash.hex()}))")
        self.block_hash = block_hash


class TooManyDepsError(ResolveError):
    """The cell deps expand to more than MAX_DEP_EXPANSION cells (RFC 38)."""

    def __init__(self) -> None:
        super().__init__("OverMaxDepExpansionLimit")


def resolve_transaction(
    transaction: Transaction,
    cells: CellProvider,
    headers: HeaderChecker,
    spent: Container[bytes],
    resolve_deps: ResolveDeps | None = None,
) -> ResolvedTransaction:
    """RFC 22 "Value Storage", "Header Deps": inputs and cell deps are live, header deps are on the main chain.

    `spent` are out points that earlier transactions of the block or pool spend; the caller adds the inputs when it
    takes the transaction. A cellbase has no input cells, but its deps count. A cell may be input and dep of one
    transaction. `resolve_deps` knows deps that others have too; it must give what `resolve_cell_deps` gives. Raises a
    ResolveError.
    """
    inputs: list[CellMeta] = []
    if not transaction.is_cellbase:
        seen: set[bytes] = set()
        for out_point in transaction.consumed:
            if out_point in seen:
                raise DeadOutPointError(out_point)
            seen.add(out_point)
            inputs.append(_live_cell(out_point, cells, spent))
    cell_deps, dep_groups = (resolve_deps or resolve_cell_deps)(transaction, cells, spent)
    for block_hash in transaction.body.header_deps:
        if not headers.is_main(block_hash):
            raise InvalidHeaderDepError(block_hash)
    return ResolvedTransaction(transaction, inputs, cell_deps, dep_groups)


def resolve_cell_deps(transaction: Transaction, cells: CellProvider, spent: Container[bytes]) -> ResolvedDeps:
    """RFC 22 "Dep Group", RFC 38: cell deps expand to at most 2048 live code cells.

    Returns code cells with those that dep groups list, in order; and the cells of the dep groups. Groups do not nest.
    """
    cell_deps: list[CellMeta] = []
    dep_groups: list[CellMeta] = []
    for dep in transaction.body.cell_deps:
        members: Sequence[bytes] = (dep.out_point.raw,)
        if dep.dep_type == DEP_TYPE_DEP_GROUP:
            group = _live_cell(dep.out_point.raw, cells, spent)
            members = dep_group_members(group)
            dep_groups.append(group)
        if len(cell_deps) + len(members) > MAX_DEP_EXPANSION:
            raise TooManyDepsError
        cell_deps.extend(_live_cell(member, cells, spent) for member in members)
    return cell_deps, dep_groups


def dep_group_members(group: CellMeta) -> Sequence[bytes]:
    """RFC 22 "Dep Group": the data of a dep group is a list of one or more out points (36 bytes each)."""
    data = group.data
    try:
        members: Sequence[OutPoint] = OUT_POINT_VEC.parse(data)
    except MoleculeError:
        raise InvalidDepGroupError(group.out_point) from None
    if not members:
        raise InvalidDepGroupError(group.out_point)
    return [member.raw for member in members]


def _live_cell(out_point: bytes, cells: CellProvider, spent: Container[bytes]) -> CellMeta:
    if out_point in spent:
        raise DeadOutPointError(out_point)
    cell = cells.cell(out_point)
    if cell is None:
        raise UnknownOutPointError(out_point)
    return cell


class BlockCells:
    """Live cells as a transaction inside a block sees them: outputs of the block, then the chain below."""

    def __init__(self, block: Block, below: CellProvider) -> None:
        self._block, self._below = block, below
        self._epoch = block.header.epoch
        self._positions = {tx.hash: position for position, tx in enumerate(block.transactions)}
        self._found: dict[bytes, CellMeta | None] = {}

    def cell(self, out_point: bytes) -> CellMeta | None:
        """The cell, spent within the block or not; looked up once, since transactions share their deps."""
        if out_point not in self._found:
            self._found[out_point] = self._find(out_point)
        return self._found[out_point]

    def _find(self, out_point: bytes) -> CellMeta | None:
        position = self._positions.get(out_point[:32])
        if position is not None:
            cell = self._output(position, out_point)
            if cell is not None:
                return cell
        return self._below.cell(out_point)

    def _output(self, position: int, out_point: bytes) -> CellMeta | None:
        transaction = self._block.transactions[position]
        info = TransactionInfo(self._block.hash, self._block.number, self._epoch, position)
        return cell_of_output(transaction, out_point, info)

    def verify_order(self) -> None:
        """RFC 22 "Value Storage": inputs and cell deps name outputs of earlier transactions only. OutOfOrderError."""
        for position in range(len(self._block.transactions)):
            self.verify_order_of(position)

    def verify_order_of(self, position: int) -> None:
        """RFC 22 "Value Storage": `verify_order` for the transaction at one position."""
        body = self._block.transactions[position].body
        for dep in body.cell_deps:
            self._verify_earlier(dep.out_point, position)
        for cell_input in body.inputs:
            self._verify_earlier(cell_input.previous_output, position)

    def _verify_earlier(self, out_point: OutPoint, position: int) -> None:
        if self._positions.get(out_point.tx_hash, -1) >= position:
            raise OutOfOrderError(out_point.raw)


def cell_of_output(transaction: Transaction, out_point: bytes, info: TransactionInfo | None) -> CellMeta | None:
    """The cell of a transaction that is not stored yet; None when it has no such output."""
    index = int.from_bytes(out_point[32:], "little")
    outputs = transaction.body.outputs
    if index >= len(outputs):
        return None
    data = transaction.body.outputs_data[index]
    return CellMeta(
        out_point=out_point,
        output=outputs[index],
        data_size=len(data),
        data_hash=data_hash(data),
        info=info,
        load_data=partial(bytes, data),
    )


def resolve_block(block: Block, cells: CellProvider, headers: HeaderChecker) -> list[ResolvedTransaction]:
    """All transactions of a block, the cellbase first. `cells` and `headers` are those at the block's parent.

    An output may be spent by a later transaction of the same block. Raises a ResolveError.
    """
    block_cells = BlockCells(block, cells)
    block_cells.verify_order()
    spent: set[bytes] = set()
    resolved = []
    for transaction in block.transactions:
        rtx = resolve_transaction(transaction, block_cells, headers, spent)
        spent.update(cell.out_point for cell in rtx.inputs)
        resolved.append(rtx)
    return resolved
