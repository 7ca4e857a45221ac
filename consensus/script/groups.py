"""Script groups: cells of a transaction that share a script, which then runs once for all of them (RFC 22)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from consensus.types.blockchain import Script
from consensus.types.core import ResolvedTransaction


class GroupKind(Enum):
    """Locks and types are never grouped together, even if the script is the same."""

    LOCK = "Lock"
    TYPE = "Type"


@dataclass(frozen=True)
class ScriptGroup:
    """A script and the cells it stands for: indexes of inputs and of outputs, in order."""

    script: Script
    kind: GroupKind
    input_indexes: list[int] = field(default_factory=list)
    output_indexes: list[int] = field(default_factory=list)

    @property
    def source(self) -> str:
        """Names the group by its first cell, as errors do: `Inputs[0].Lock`."""
        if self.input_indexes:
            return f"Inputs[{self.input_indexes[0]}].{self.kind.value}"
        return f"Outputs[{self.output_indexes[0]}].{self.kind.value}"


def script_groups(rtx: ResolvedTransaction) -> list[ScriptGroup]:
    """All groups in the order in which they run: locks of inputs, then types of inputs and outputs, each by hash.

    Locks of outputs do not run.
    """
    locks: dict[bytes, ScriptGroup] = {}
    types: dict[bytes, ScriptGroup] = {}
    for index, cell in enumerate(rtx.inputs):
        _group_of(locks, cell.output.lock, GroupKind.LOCK).input_indexes.append(index)
        if cell.output.type_ is not None:
            _group_of(types, cell.output.type_, GroupKind.TYPE).input_indexes.append(index)
    for index, output in enumerate(rtx.transaction.body.outputs):
        if output.type_ is not None:
            _group_of(types, output.type_, GroupKind.TYPE).output_indexes.append(index)
    return [groups[script_hash] for groups in (locks, types) for script_hash in sorted(groups)]


def _group_of(groups: dict[bytes, ScriptGroup], script: Script, kind: GroupKind) -> ScriptGroup:
    group = groups.get(script.hash)
    if group is None:
        group = groups[script.hash] = ScriptGroup(script, kind)
    return group
