"""The committed scripts are the ones that the manifest names, and fit every version of the VM."""

import hashlib

from consensus.crypto.hashing import data_hash
from tests.support.builders.mock_transactions import CELLS, DAO, DATA, MULTISIG, SIGHASH, code
from vm.elf import parse_elf

MAX_DATA_SIZE = 1 << 20


def test_manifest_matches_the_files() -> None:
    entries = [line.split() for line in (CELLS / "MANIFEST").read_text().splitlines()]
    assert sorted(entry[0] for entry in entries) == sorted([DAO, DATA, MULTISIG, SIGHASH])
    for name, size, blake2b, sha256 in entries:
        content = code(name)
        assert len(content) == int(size)
        assert "0x" + data_hash(content).hex() == blake2b
        assert hashlib.sha256(content).hexdigest() == sha256


def test_locks_look_for_the_data_cell_by_its_hash() -> None:
    for name in (SIGHASH, MULTISIG):
        assert data_hash(code(DATA)) in code(name)
    assert len(code(DATA)) <= MAX_DATA_SIZE


def test_scripts_load_on_every_version() -> None:
    for name in (SIGHASH, DAO, MULTISIG):
        for version in (0, 1, 2):
            assert parse_elf(code(name), version).entry == 0x10000
