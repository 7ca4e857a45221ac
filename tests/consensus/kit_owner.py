"""What the owner of cells may do with them, as a second and very plain model of the rules of transactions.

For transactions of simulated chains only: all locks are toy locks whose signatures are in order, all type scripts that
exist say yes. Since is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from consensus.rules.transaction import is_mature
from consensus.types.blockchain import SHANNONS_PER_BYTE, Block, CellOutput, OutPoint, Script, Transaction
from consensus.types.core import CellMeta, EpochFraction
from tests.simulator.rules import CHAIN_ROOT_EPOCH, DAO, FORKS, TOY_LOCK, YES
from tests.simulator.state import State
from tests.simulator.transactions import is_toy_lock

FIRST_EPOCHS = {0: 0, 1: 0, 2: FORKS.rfc_0032, 4: FORKS.rfc_0049}
"""Of each hash type, when its VM is there."""


class Owner:
    """Judges one transaction of a block, at `position`; `worth` is that of its inputs before it was changed."""

    def __init__(self, state: State, block: Block, position: int, old: Transaction, worth: int) -> None:
        self.state, self.block, self.old, self.worth = state, block, old, worth
        self.new = block.transactions[position]
        self.epoch = EpochFraction.unpack(block.header.epoch)
        earlier = block.transactions[:position]
        self.others = [*block.transactions[1:position], *block.transactions[position + 1 :]]
        self.spent_before = {each.previous_output.raw for tx in earlier for each in tx.body.inputs}
        self.made_before = {key: (output, data) for tx in earlier for key, output, data in _outputs(tx)}

    def may_commit(self) -> bool:
        """The block is valid with it."""
        return (
            self._has_its_form()
            and not self._is_awaited()
            and self._inputs_are_live()
            and self._outputs_are_paid()
            and self._header_deps_are_known()
            and self._code_is_there()
            and self._keeps_lock_sizes()
        )

    def _has_its_form(self) -> bool:
        body = self.new.body
        deps, headers = [dep.raw for dep in body.cell_deps], list(body.header_deps)
        return (
            body.version == 0
            and len(body.inputs) > 0
            and len(body.outputs) == len(body.outputs_data) > 0
            and len(set(deps)) == len(deps)
            and len(set(headers)) == len(headers)
            and all(output.lock.hash_type in FIRST_EPOCHS for output in body.outputs)
        )

    def _is_awaited(self) -> bool:
        """Another transaction of the block names an output that has another name now."""
        points = [each.previous_output for tx in self.others for each in tx.body.inputs]
        points += [dep.out_point for tx in self.others for dep in tx.body.cell_deps]
        return any(point.tx_hash == self.old.hash for point in points)

    def _inputs_are_live(self) -> bool:
        keys = [each.previous_output.raw for each in self.new.body.inputs]
        spent_later = {each.previous_output.raw for tx in self.others for each in tx.body.inputs}
        if len(set(keys)) < len(keys) or not spent_later.isdisjoint(keys) or any(self._is_young(key) for key in keys):
            return False
        read_later = {dep.out_point.raw for tx in self._later() for dep in tx.body.cell_deps}
        if not read_later.isdisjoint(keys):
            return False
        return all((output := self._output(key)) is not None and is_toy_lock(output.lock) for key in keys)

    def _later(self) -> Sequence[Transaction]:
        return self.block.transactions[list(self.block.transactions).index(self.new) + 1 :]

    def _is_young(self, key: bytes) -> bool:
        cell = self.state.cells.get(key)
        return cell is not None and not is_mature(cell, self.epoch, self.state.consensus.cellbase_maturity_epochs)

    def _output(self, key: bytes) -> CellOutput | None:
        """Of a live cell, or of one that the block makes before."""
        if key in self.spent_before:
            return None
        if key in self.made_before:
            return self.made_before[key][0]
        cell = self.state.cells.get(key)
        return None if cell is None else cell.output

    def _outputs_are_paid(self) -> bool:
        body = self.new.body
        for output, data in zip(body.outputs, body.outputs_data, strict=True):
            if output.capacity < output.occupied_capacity_by_parts(len(data)) or output.capacity < SHANNONS_PER_BYTE:
                return False
        return sum(output.capacity for output in body.outputs) <= self._worth_now()

    def _worth_now(self) -> int:
        """A withdrawal is worth what it was, or nothing when anything but its outputs has changed."""
        old, new = self.old.body, self.new.body
        if list(new.inputs) == list(old.inputs) and list(new.header_deps) == list(old.header_deps):
            return self.worth
        if any(self._is_withdrawing(each.previous_output.raw) for each in new.inputs):
            return 0
        outputs = [self._output(each.previous_output.raw) for each in new.inputs]
        return sum(output.capacity for output in outputs if output is not None)

    def _is_withdrawing(self, key: bytes) -> bool:
        cell = self.state.cells.get(key)
        return cell is not None and cell.output.type_ == DAO and cell.data_size == 8 and any(cell.data)

    def _header_deps_are_known(self) -> bool:
        return all(self.state.is_main(block_hash) for block_hash in self.new.body.header_deps)

    # ------------------------------------------------------------ scripts

    def _code_is_there(self) -> bool:
        """Every dep is live and mature, and every script that runs finds its code and its VM."""
        cells = list(self._dep_cells())
        if any(cell is None for cell in cells):
            return False
        live = [cell for cell in cells if cell is not None]
        if any(not is_mature(cell, self.epoch, self.state.consensus.cellbase_maturity_epochs) for cell in live):
            return False
        return all(self._finds_code(script, live) for script in self._running())

    def _dep_cells(self) -> Iterator[CellMeta | None]:
        """Those of this model are older than the block; what it makes itself is not used as code."""
        for dep in self.new.body.cell_deps:
            if dep.out_point.raw in self.spent_before or dep.dep_type > 1:
                yield None
                continue
            cell = self.state.cells.get(dep.out_point.raw)
            if dep.dep_type == 0 or cell is None:
                yield cell
                continue
            members = _members(cell.data)
            if not members:
                yield None
            for member in members:
                yield None if member.raw in self.spent_before else self.state.cells.get(member.raw)

    def _running(self) -> Iterator[Script]:
        """Locks of inputs, type scripts of inputs and outputs."""
        for each in self.new.body.inputs:
            output = self._output(each.previous_output.raw)
            assert output is not None
            yield output.lock
            if output.type_ is not None:
                yield output.type_
        yield from (output.type_ for output in self.new.body.outputs if output.type_ is not None)

    def _finds_code(self, script: Script, cells: Sequence[CellMeta]) -> bool:
        if script.hash_type not in FIRST_EPOCHS or self.epoch.number < FIRST_EPOCHS[script.hash_type]:
            return False
        if script.hash_type == 1:
            types = (cell.output.type_ for cell in cells)
            return any(type_ is not None and type_.hash == script.code_hash for type_ in types)
        return any(cell.data_hash == script.code_hash and cell.data in (TOY_LOCK, YES) for cell in cells)

    def _keeps_lock_sizes(self) -> bool:
        """RFC 44: of a deposit that begins to be withdrawn."""
        if self.state.epoch.number < CHAIN_ROOT_EPOCH:
            return True
        for each, output in zip(self.new.body.inputs, self.new.body.outputs, strict=False):
            cell = self.state.cells.get(each.previous_output.raw)
            if cell is None or cell.output.type_ != DAO or output.type_ != DAO or any(cell.data):
                continue
            if len(cell.output.lock.args) != len(output.lock.args):
                return False
        return True


def _members(data: bytes) -> list[OutPoint]:
    """Out points of a dep group, none when the data is no list of some."""
    count = int.from_bytes(data[:4], "little")
    if len(data) < 4 or len(data) != 4 + 36 * count:
        return []
    return [OutPoint.trusted(data[at : at + 36]) for at in range(4, len(data), 36)]


def _outputs(transaction: Transaction) -> Iterator[tuple[bytes, CellOutput, bytes]]:
    body = transaction.body
    return zip(transaction.output_keys(), body.outputs, body.outputs_data, strict=True)
