"""Which code a script names, and which VM runs it (RFC 22, RFC 29, RFC 32, RFC 49)."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.params import HasHardforks
from consensus.rules.hardfork import ENABLED_HASH_TYPES, type_script_vm_version, vm_version_is_active
from consensus.script.errors import InvalidScriptHashType, InvalidVmVersion, MultipleMatches, ScriptNotFound
from consensus.types.blockchain import HASH_TYPE_TYPE, Script
from consensus.types.core import CellMeta


def vm_version_for(consensus: HasHardforks, script: Script, epoch_number: int) -> int:
    """RFC 32 "Specification", RFC 49 "Specification": the VM that the hash type names is active in the epoch.

    `data`, `data1` and `data2` name versions 0, 1 and 2; `type` runs on the newest that is active. Raises
    InvalidScriptHashType, InvalidVmVersion.
    """
    if script.hash_type not in ENABLED_HASH_TYPES:
        raise InvalidScriptHashType(script.hash_type)
    if script.hash_type == HASH_TYPE_TYPE:
        return type_script_vm_version(consensus, epoch_number)
    version = script.hash_type // 2
    if not vm_version_is_active(consensus, version, epoch_number):
        raise InvalidVmVersion(version)
    return version


class CodeIndex:
    """RFC 22 "Code Locating", RFC 29: a cell dep has the code that a script names, and no two have different code.

    The code cells of a transaction by data hash and by type hash. Values are indexes of cell deps.
    """

    def __init__(self, cell_deps: Sequence[CellMeta]) -> None:
        self._deps = cell_deps
        self._by_data_hash: dict[bytes, int] = {}
        self._by_type_hash: dict[bytes, list[int]] = {}
        for index, cell in enumerate(cell_deps):
            self._by_data_hash[cell.data_hash] = index
            if cell.output.type_ is not None:
                self._by_type_hash.setdefault(cell.output.type_.hash, []).append(index)

    def find(self, script: Script) -> int:
        """Index of the cell dep whose data is the script's code.

        Raises ScriptNotFound, MultipleMatches, InvalidScriptHashType.
        """
        if script.hash_type not in ENABLED_HASH_TYPES:
            raise InvalidScriptHashType(script.hash_type)
        if script.hash_type == HASH_TYPE_TYPE:
            return self._find_by_type_hash(script.code_hash)
        if script.code_hash not in self._by_data_hash:
            raise ScriptNotFound(script.code_hash)
        return self._by_data_hash[script.code_hash]

    def _find_by_type_hash(self, type_hash: bytes) -> int:
        """RFC 29 "Specification": several cells may have the type hash, as long as they hold the same data."""
        matches = self._by_type_hash.get(type_hash)
        if matches is None:
            raise ScriptNotFound(type_hash)
        if len({self._deps[index].data_hash for index in matches}) > 1:
            raise MultipleMatches
        return matches[0]
