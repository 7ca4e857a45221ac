"""Which code a script names and which VM runs it (RFC 22, 29, 32, 49)."""

from __future__ import annotations

import pytest

from consensus.crypto.hashing import data_hash
from consensus.script.code import CodeIndex, vm_version_for
from consensus.script.errors import InvalidScriptHashType, InvalidVmVersion, MultipleMatches, ScriptNotFound
from consensus.types.blockchain import Script
from tests.support.builders.scripts import make_cell, make_consensus

TYPE = Script(code_hash=bytes(32), hash_type=0, args=b"type")
OTHER_TYPE = Script(code_hash=bytes(32), hash_type=0, args=b"other")


def named(code_hash: bytes, hash_type: int) -> Script:
    return Script(code_hash=code_hash, hash_type=hash_type, args=b"")


@pytest.mark.parametrize("hash_type", [0, 2, 4])
def test_data_hash_types_find_code_by_its_hash(hash_type: int) -> None:
    index = CodeIndex([make_cell(b"a"), make_cell(b"b")])
    assert index.find(named(data_hash(b"b"), hash_type)) == 1


def test_of_cells_with_the_same_data_the_last_is_taken() -> None:
    index = CodeIndex([make_cell(b"a"), make_cell(b"b"), make_cell(b"a")])
    assert index.find(named(data_hash(b"a"), 0)) == 2


def test_a_type_hash_finds_the_cell_with_that_type_script() -> None:
    index = CodeIndex([make_cell(b"a"), make_cell(b"b", type_=TYPE), make_cell(b"c", type_=OTHER_TYPE)])
    assert index.find(named(TYPE.hash, 1)) == 1


def test_several_cells_may_have_the_type_hash_if_their_data_is_the_same() -> None:
    index = CodeIndex([make_cell(b"a", type_=TYPE), make_cell(b"a", type_=TYPE)])
    assert index.find(named(TYPE.hash, 1)) == 0


def test_different_data_under_one_type_hash_is_ambiguous() -> None:
    index = CodeIndex([make_cell(b"a", type_=TYPE), make_cell(b"a", type_=TYPE), make_cell(b"b", type_=TYPE)])
    with pytest.raises(MultipleMatches, match="MultipleMatches"):
        index.find(named(TYPE.hash, 1))


@pytest.mark.parametrize("hash_type", [0, 1, 2, 4])
def test_code_that_no_cell_dep_has_is_not_found(hash_type: int) -> None:
    index = CodeIndex([make_cell(b"a")])
    with pytest.raises(ScriptNotFound) as caught:
        index.find(named(b"\xab" * 32, hash_type))
    assert str(caught.value) == f"ScriptNotFound: code_hash: Byte32(0x{'ab' * 32})"


def test_a_type_hash_is_no_data_hash() -> None:
    cell = make_cell(b"a", type_=TYPE)
    with pytest.raises(ScriptNotFound):
        CodeIndex([cell]).find(named(TYPE.hash, 0))
    with pytest.raises(ScriptNotFound):
        CodeIndex([cell]).find(named(cell.data_hash, 1))


@pytest.mark.parametrize(
    ("hash_type", "reason"),
    [
        (3, "Invalid script hash type 3"),
        (255, "Invalid script hash type 255"),
        (6, "The ScriptHashType/Data3 has not been activated, and is not permitted for use."),
        (254, "The ScriptHashType/Data127 has not been activated, and is not permitted for use."),
    ],
)
def test_other_hash_types_neither_find_code_nor_a_vm(hash_type: int, reason: str) -> None:
    script = named(data_hash(b"a"), hash_type)
    with pytest.raises(InvalidScriptHashType) as caught:
        CodeIndex([make_cell(b"a")]).find(script)
    assert str(caught.value) == f"InvalidScriptHashType: {reason}"
    with pytest.raises(InvalidScriptHashType):
        vm_version_for(make_consensus(), script, 10)


@pytest.mark.parametrize(
    ("hash_type", "epoch", "version"),
    [(0, 0, 0), (0, 10, 0), (2, 5, 1), (2, 10, 1), (4, 10, 2), (1, 0, 0), (1, 4, 0), (1, 5, 1), (1, 9, 1), (1, 10, 2)],
)
def test_vm_version(hash_type: int, epoch: int, version: int) -> None:
    assert vm_version_for(make_consensus(), named(bytes(32), hash_type), epoch) == version


@pytest.mark.parametrize(("hash_type", "epoch", "version"), [(2, 4, 1), (4, 9, 2), (4, 0, 2)])
def test_a_vm_that_is_not_active_yet(hash_type: int, epoch: int, version: int) -> None:
    with pytest.raises(InvalidVmVersion) as caught:
        vm_version_for(make_consensus(), named(bytes(32), hash_type), epoch)
    assert str(caught.value) == f"Invalid VM Version: {version}"
