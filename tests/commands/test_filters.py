"""Block filters and the commands: what import leaves behind, what check finds, and where damage does no harm."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ckb_node.chain.checks import Checks
from ckb_node.commands.check import check_data
from ckb_node.commands.import_blocks import ImportOptions, import_blocks
from ckb_node.config import Config
from ckb_node.filters.check import check_filters
from ckb_node.node import open_node
from storage.errors import StorageCorrupt
from storage.filters import FILTERS_DIRECTORY, BlockPlace, FilterStore
from storage.leveldb import LevelDbStore
from tests.support.nodes.directories import BLOCKS, FAILURE, OK, file_of, invoke, make_node, mined, stored, with_block


def without_filters(config: Config) -> Config:
    sections = msgspec.structs.replace(config.file, block_filters=type(config.file.block_filters)(enabled=False))
    return Config(config.root, sections)


def assert_complete(config: Config) -> None:
    """Every block has its filter."""
    filters = FilterStore.open(config.data_dir / FILTERS_DIRECTORY)
    try:
        with stored(config) as view:
            tip = view.tip_header()
            assert filters.last_built(view) == BlockPlace(tip.number, tip.hash)
            report = check_filters(view, filters)
            assert report.filters == tip.number + 1
            assert report.faults == []
    finally:
        filters.close()


@pytest.mark.parametrize("checks", Checks)
def test_import_ends_with_filters_up_to_the_tip(tmp_path: Path, checks: Checks) -> None:
    config = make_node(tmp_path / "node")
    blocks = mined()
    for part in (blocks[:5], blocks):
        assert import_blocks(config, ImportOptions(str(file_of(tmp_path / "blocks", part)), checks)) == OK
        assert_complete(config)


def test_import_builds_none_when_they_are_off_and_all_when_they_are_on_again(tmp_path: Path) -> None:
    config = make_node(tmp_path / "node")
    source = ImportOptions(str(file_of(tmp_path / "blocks", mined())))
    assert import_blocks(without_filters(config), source) == OK
    assert not (config.data_dir / FILTERS_DIRECTORY).exists()
    assert import_blocks(config, source) == OK
    assert_complete(config)


def test_check_looks_at_filters(tmp_path: Path) -> None:
    config = make_node(tmp_path / "node")
    source = ImportOptions(str(file_of(tmp_path / "blocks", mined())))
    assert import_blocks(without_filters(config), source) == OK
    result = invoke("check", "-C", str(config.root))
    assert result.exit_code == OK
    assert "computed the filters of 0 blocks once more" in result.stdout

    assert import_blocks(config, source) == OK
    result = invoke("check", "-C", str(config.root))
    assert result.exit_code == OK
    assert f"computed the filters of {BLOCKS + 1} blocks once more" in result.stdout
    assert "the data equals the replay" in result.stdout

    block = mined()[6]
    damaged = LevelDbStore(config.data_dir / FILTERS_DIRECTORY)
    damaged.put(b"D" + BlockPlace(block.number, block.hash).pack(), bytes(8))
    damaged.close()
    result = invoke("check", "-C", str(config.root))
    assert result.exit_code == 1
    assert f"FAULT: the filter of block 7 (0x{block.hash.hex()}) differs" in result.stdout
    assert "the data is NOT sound" in result.stdout


def test_a_refused_block_leaves_filters_to_the_node(tmp_path: Path) -> None:
    config = make_node(tmp_path / "node")
    bad = with_block(mined(), 7, lambda block: block.replace(header=block.header.with_fields(dao=bytes(32))))
    result = invoke("import", str(file_of(tmp_path / "bad", bad)), "-C", str(config.root))
    assert result.exit_code == FAILURE
    assert import_blocks(config, ImportOptions(str(file_of(tmp_path / "good", mined()[:6])))) == OK
    assert_complete(config)


async def test_a_damaged_database_matters_only_while_filters_are_on(tmp_path: Path) -> None:
    config = make_node(tmp_path / "node")
    directory = config.data_dir / FILTERS_DIRECTORY
    with open_node(config) as node:
        assert node.filters is not None
    (directory / "CURRENT").write_bytes(b"no manifest\n")
    before = sorted((path.name, path.read_bytes()) for path in directory.iterdir())

    off = without_filters(config)
    with open_node(off) as node:
        assert node.filters is None
        assert node.services.filters is None
    assert check_data(off) == OK
    assert sorted((path.name, path.read_bytes()) for path in directory.iterdir()) == before, "nobody looked"

    with pytest.raises(StorageCorrupt, match="remove the directory") as caught, open_node(config):
        pass
    assert str(directory) in str(caught.value)
