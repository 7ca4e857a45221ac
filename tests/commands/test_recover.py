"""`ckb-node recover`: the database from the archive, equal to the one that was lost; and what `check` names."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from ckb_node.chain.writer import ChainWriter
from ckb_node.config import Config
from ckb_node.runtime.clock import SystemClock
from ckb_node.verification.scripts import ScriptService
from consensus.errors import CkbError
from consensus.types.blockchain import Block
from storage.archive import BlockArchive
from storage.archive_scan import scan
from storage.chain_store import ChainStore
from storage.compare import state_differences
from storage.errors import ArchiveBehindDatabase, DatabaseBehindArchive, StorageCorrupt
from storage.segments import BODY, FREED, MARK, CommitMark, free_body, record_head
from tests.support.chains.branches import branch, branch_on_bad, with_wrong_dao
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.directories import BLOCKS, FAILURE, IO, OK, invoke, make_node, mined, stored, tip_of


def run_branch(message: bytes, count: int, base: Sequence[Block] = ()) -> list[Block]:
    return asyncio.run(branch(message, count, base))


def run_branch_on_bad(message: bytes, count: int, base: Sequence[Block]) -> list[Block]:
    return asyncio.run(branch_on_bad(message, count, base))


class Made:
    """A node's directory, written block by block as a running node does."""

    def __init__(self, root: Path) -> None:
        self.config: Config = make_node(root)
        self.chain = self.config.data_dir / "chain"
        self.store = ChainStore.open(self.chain)
        consensus = dev_consensus()
        self.writer = ChainWriter(consensus, self.store, ScriptService(consensus), SystemClock().now_ms)
        self.writer.start(self.config.load_spec()[0].content_hash)

    def add(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            self.writer.process(block)

    def close(self) -> Path:
        """Close, and keep a copy of the database."""
        self.store.close()
        shutil.copytree(self.chain / "db", self.chain.parent / "chain.kept" / "db")
        shutil.copytree(self.chain / "blocks", self.chain.parent / "chain.kept" / "blocks")
        return self.chain.parent / "chain.kept"

    def command(self, *arguments: str) -> str:
        """Its output; it must go well."""
        result = invoke(*arguments, "-C", str(self.config.root))
        assert result.exit_code == OK, (result.output, result.stderr)
        return result.output


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "node")


def assert_same(made: Made, kept: Path) -> None:
    """All that is said of the main chain, the stored blocks, and what is known of each; it goes on from there."""
    wanted = ChainStore.open(kept)
    with stored(made.config) as view, wanted.view() as expected:
        assert state_differences(view, expected) == []
        assert list(view.stored_blocks(0)) == list(expected.stored_blocks(0))
        for _, block_hash in view.stored_blocks(0):
            one, other = view.block_ext(block_hash), expected.block_ext(block_hash)
            assert one is not None
            assert other is not None
            assert one.replace(received_at=0) == other.replace(received_at=0)
            assert view.raw_block(block_hash) == expected.raw_block(block_hash)
    wanted.close()


def test_recovered_is_what_was_lost(made: Made) -> None:
    """A branch that won, one that lost, and one that was never heavier."""
    blocks = mined()
    made.add(blocks[:10])
    made.add(run_branch(b"lost", 3, blocks[:5]))
    made.add(run_branch(b"won", 8, blocks[:5]))
    kept = made.close()
    shutil.rmtree(made.chain / "db")
    refused = invoke("check", "-C", str(made.config.root))
    assert refused.exit_code == IO
    assert "ckb-node recover" in refused.output
    output = made.command("recover")
    assert "the tip is 13-0x" in output
    assert "kept in" in output
    assert_same(made, kept)
    assert "the data equals the replay" in made.command("check")
    (aside,) = made.chain.glob("db.before-*")
    assert str(aside) in output
    assert not (made.chain / "db.new").exists()


def test_a_recovered_chain_goes_on_and_can_be_recovered_again(made: Made) -> None:
    blocks = mined()
    made.add(blocks[:12])
    made.close()
    for height in (16, 20):
        shutil.rmtree(made.chain / "db")
        made.command("recover")
        made.store = ChainStore.open(made.chain)
        made.writer.store = made.store
        made.add(blocks[12:height])
        made.store.close()
        assert tip_of(made.config) == height
        shutil.copytree(made.chain / "db", made.chain.parent / f"older-{height}")
    shutil.rmtree(made.chain / "db")
    shutil.copytree(made.chain.parent / "older-16", made.chain / "db")
    with pytest.raises(DatabaseBehindArchive):
        ChainStore.open(made.chain)
    made.command("recover", "--skip-script-verify")
    assert tip_of(made.config) == 20


def test_what_was_truncated_stays_away(made: Made) -> None:
    blocks = mined()
    made.add(blocks[:12])
    made.writer.truncate(blocks[6].hash)
    kept = made.close()
    shutil.rmtree(made.chain / "db")
    made.command("recover")
    assert tip_of(made.config) == 7
    assert_same(made, kept)


def test_a_bad_block_of_the_archive_is_passed_over(made: Made) -> None:
    """Older versions archived invalid bodies; and a branch that lost may be found bad only later."""
    blocks = mined()
    made.add(blocks[:4])
    bad = with_wrong_dao(blocks[4])
    made.store._archive.append(bad.raw)
    made.add(blocks[4:9])
    made.add([with_wrong_dao((run_branch(b"side", 1, blocks[:3]))[0])])
    kept = made.close()
    shutil.rmtree(made.chain / "db")
    output = made.command("recover")
    assert f"FAULT: block 5 (0x{bad.hash.hex()}) is invalid" in output
    assert_same_main(made, kept)


def assert_same_main(made: Made, kept: Path) -> None:
    wanted = ChainStore.open(kept)
    with stored(made.config) as view, wanted.view() as expected:
        assert state_differences(view, expected) == []
    wanted.close()


def bodies_of(made: Made) -> list[tuple[Path, int, int]]:
    return [
        (made.chain / "blocks" / f"blocks-{found.location.segment:05d}.dat", found.location.offset, found.location.end)
        for found in scan(made.chain / "blocks")
        if found.kind == BODY
    ]


def test_a_damaged_body_is_named_and_what_is_before_it_can_be_kept(made: Made) -> None:
    made.add(mined())
    made.close()
    path, offset, _ = bodies_of(made)[10]
    raw = bytearray(path.read_bytes())
    raw[offset + 100] ^= 1
    path.write_bytes(raw)
    checked = invoke("check", "-C", str(made.config.root))
    assert checked.exit_code == 1
    assert f"FAULT: {path}: " in checked.output
    assert "recover --salvage" in checked.output
    shutil.rmtree(made.chain / "db")
    refused = invoke("recover", "-C", str(made.config.root))
    assert refused.exit_code == FAILURE
    assert "lead to 9-0x" in refused.output
    assert "Nothing was changed" in refused.output
    assert path.read_bytes() == raw
    made.command("recover", "--salvage")
    assert tip_of(made.config) == 9
    (aside,) = made.chain.glob("blocks.before-*")
    assert (aside / path.name).read_bytes() == raw
    made.store = ChainStore.open(made.chain)
    made.writer.store = made.store
    made.add(mined()[9:])
    made.store.close()
    assert tip_of(made.config) == BLOCKS
    assert (aside / path.name).read_bytes() == raw
    assert "the data equals the replay" in made.command("check")


def test_a_damaged_genesis_block_is_put_back(made: Made) -> None:
    made.add(mined()[:5])
    kept = made.close()
    path = bodies_of(made)[0][0]
    raw = bytearray(path.read_bytes())
    raw[50_000] ^= 1
    path.write_bytes(raw)
    refused = invoke("recover", "-C", str(made.config.root))
    assert refused.exit_code == FAILURE
    made.command("recover", "--salvage")
    assert_same(made, kept)
    assert path.read_bytes() != raw
    assert "the data equals the replay" in made.command("check")


def test_without_any_body_the_chain_begins_anew(made: Made) -> None:
    """On request only, and with the old database kept."""
    made.add(mined()[:5])
    made.store.close()
    shutil.rmtree(made.chain / "blocks")
    assert invoke("recover", "-C", str(made.config.root)).exit_code == FAILURE
    made.command("recover", "--salvage")
    assert tip_of(made.config) == 0
    assert len(list(made.chain.glob("db.before-*"))) == 1
    assert "the data equals the replay" in made.command("check")


def test_a_damaged_table_is_named_by_check(made: Made) -> None:
    made.add(mined())
    made.store.close()
    ChainStore.open(made.chain).close()  # its log becomes a table
    (table,) = (made.chain / "db").glob("*.ldb")
    raw = bytearray(table.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 4096] = bytes(4096)
    table.write_bytes(raw)
    checked = invoke("check", "-C", str(made.config.root))
    assert checked.exit_code == 1
    assert f"FAULT: {table}: its block at " in checked.output
    assert "`ckb-node recover` builds the database anew" in checked.output
    made.command("recover")
    assert "the data equals the replay" in made.command("check")


def test_recover_refuses_what_it_cannot_do(made: Made, tmp_path: Path) -> None:
    made.add(mined()[:2])
    made.store.close()
    empty = make_node(tmp_path / "empty")
    result = invoke("recover", "-C", str(empty.root))
    assert result.exit_code == FAILURE
    assert "holds no blocks" in result.output
    (segment,) = (made.chain / "blocks").iterdir()
    segment.write_bytes(segment.read_bytes()[100:])
    result = invoke("recover", "-C", str(made.config.root))
    assert result.exit_code == FAILURE
    assert "does not begin with the genesis block" in result.output
    assert "recover --salvage" in result.output
    segment.unlink()
    with pytest.raises(ArchiveBehindDatabase):
        ChainStore.open(made.chain)


# ---------------------------------------------------------------- parts that do not belong together


def test_a_chain_that_the_old_database_knew_longer_is_not_given_up_without_a_word(made: Made) -> None:
    """The archive was put back from an older copy: only the database knows of what came later."""
    blocks = mined()
    made.add(blocks[:5])
    shutil.copytree(made.chain / "blocks", made.chain.parent / "older")
    made.add(blocks[5:9])
    made.store.close()
    shutil.rmtree(made.chain / "blocks")
    shutil.copytree(made.chain.parent / "older", made.chain / "blocks")
    with pytest.raises(ArchiveBehindDatabase):
        ChainStore.open(made.chain)
    refused = invoke("recover", "-C", str(made.config.root))
    assert refused.exit_code == FAILURE
    assert "lead to 5-0x" in refused.output
    assert "the old database of one at block 9" in refused.output
    assert not list(made.chain.glob("trial-*"))
    made.command("recover", "--salvage")
    assert tip_of(made.config) == 5


def test_an_archive_of_another_history_is_refused(made: Made) -> None:
    """Its bodies have the same sizes, so whole records stand where the database points."""
    blocks = mined()
    made.add(blocks[:5])
    shutil.copytree(made.chain, made.chain.parent / "other")
    made.add(run_branch(b"these", 3, blocks[:5]))
    made.store.close()
    other = ChainStore.open(made.chain.parent / "other")
    made.writer.store = other
    made.add(run_branch(b"those", 3, blocks[:5]))
    other.close()
    shutil.rmtree(made.chain / "blocks")
    shutil.copytree(made.chain.parent / "other" / "blocks", made.chain / "blocks")
    started = invoke("check", "-C", str(made.config.root))
    assert started.exit_code == IO
    assert f"{made.chain / 'blocks'}: where the database {made.chain / 'db'} has its tip, block 8," in started.output
    assert "ckb-node recover" in started.output
    made.command("recover", "--salvage")
    assert "the data equals the replay" in made.command("check")
    assert tip_of(made.config) == 8


def test_a_cut_that_no_mark_tells_of_is_made_again(made: Made) -> None:
    """Older versions wrote no marks; the first start of this one notes where their chain was."""
    blocks = mined()
    made.add(blocks[:9])
    made.writer.truncate(blocks[4].hash)
    made.add(run_branch(b"shorter", 2, blocks[:5]))
    made.store.close()
    (segment,) = (made.chain / "blocks").iterdir()
    raw = segment.read_bytes()
    segment.write_bytes(
        b"".join(raw[each.location.offset : each.location.end] for each in scan(segment.parent) if each.kind == BODY)
    )
    recovered = invoke("recover", "--skip-all-verify", "-C", str(made.config.root))
    assert recovered.exit_code == FAILURE, "the old database tells of another tip"
    last = run_branch(b"shorter", 2, blocks[:5])[-1]
    mark = CommitMark(12, last.number, last.hash, is_at_rest=True).pack()
    with segment.open("ab") as file:
        file.write(record_head(MARK, mark) + mark)
    made.command("recover")
    with stored(made.config) as view:
        assert view.tip_header().hash == last.hash
        assert view.header(blocks[8].hash) is None
    assert "the data equals the replay" in made.command("check")


def test_data_of_another_chain_are_left_alone(made: Made, tmp_path: Path) -> None:
    made.add(mined()[:2])
    made.store.close()
    other = make_node(tmp_path / "other", message="another")
    shutil.copytree(made.chain, other.data_dir / "chain")
    for command in ("check", "recover"):
        refused = invoke(command, "-C", str(other.root))
        assert refused.exit_code in (IO, FAILURE)
        assert "chain spec" in refused.output
        assert "--salvage" not in refused.output


def test_damage_that_hits_no_block_is_no_fault(made: Made) -> None:
    made.add(mined()[:9])
    made.store.close()
    path = bodies_of(made)[0][0]
    marks = [found.location for found in scan(made.chain / "blocks") if found.kind == MARK]
    raw = bytearray(path.read_bytes())
    raw[marks[4].offset + 20] ^= 1
    path.write_bytes(raw)
    assert "the data equals the replay" in made.command("check")


# ---------------------------------------------------------------- invalid bodies take no room


def test_invalid_blocks_take_no_room_in_the_archive(made: Made) -> None:
    blocks = mined()
    made.add(blocks[:6])
    size = sum(file.stat().st_size for file in (made.chain / "blocks").iterdir())
    for spoilt in range(1, 20):
        header = blocks[6].header
        bad = blocks[6].replace(header=header.with_fields(dao=header.dao[:16] + bytes([spoilt]) * 16))
        for _ in range(2):
            with pytest.raises(CkbError):
                made.writer.process(bad)
    grown = sum(file.stat().st_size for file in (made.chain / "blocks").iterdir()) - size
    assert grown == 19 * 61, "a mark for each commit that remembers one"
    made.add(blocks[6:8])
    root = with_wrong_dao((run_branch(b"theirs", 1))[0])
    heavier = run_branch_on_bad(b"theirs", 9, [root])
    made.add([root, *heavier[:7]])
    with pytest.raises(CkbError):
        made.writer.process(heavier[7])
    with made.store.view() as view:
        assert view.header(root.hash) is None
        assert [view.raw_block(block.hash) for block in heavier] == [None] * 9
        ext = view.block_ext(heavier[3].hash)
        assert ext is not None
        assert ext.verified is False
    made.store.close()


def test_bodies_of_forgotten_blocks_are_given_up_at_the_next_start(made: Made) -> None:
    """Of a branch that was found invalid, and of a truncated one; what is stored again meanwhile stays."""
    blocks = mined()
    made.add(blocks[:8])
    root = with_wrong_dao(run_branch(b"theirs", 1)[0])
    heavier = run_branch_on_bad(b"theirs", 9, [root])
    made.add([root, *heavier[:7]])
    with pytest.raises(CkbError):
        made.writer.process(heavier[7])
    made.writer.truncate(blocks[4].hash)
    made.add(blocks[5:7])
    kept = made.close()
    size = sum(end - offset for _, offset, end in bodies_of(made))
    for _ in range(2):
        with stored(made.config) as view:
            for block in blocks[:7]:
                assert view.raw_block(block.hash) == block.raw
        assert len(bodies_of(made)) == 1 + 7
    freed = [found for found in scan(made.chain / "blocks") if found.kind == FREED]
    assert len(freed) == 8 + 3
    assert sum(end - offset for _, offset, end in bodies_of(made)) < size
    assert_same(made, kept)
    shutil.rmtree(made.chain / "db")
    assert "FAULT" not in made.command("recover")
    assert_same(made, kept)
    assert "the data equals the replay" in made.command("check")


def test_the_room_of_a_forgotten_body_is_given_back(tmp_path: Path) -> None:
    archive = BlockArchive(tmp_path, None)
    first, big, last = (archive.append(bytes([number]) * size) for number, size in ((1, 10), (2, 1 << 20), (3, 10)))
    archive.sync()
    (segment,) = tmp_path.iterdir()
    before = segment.stat()
    for _ in range(2):
        free_body(tmp_path, big)
    archive.close()
    after = segment.stat()
    assert after.st_size == before.st_size
    assert after.st_blocks * 512 < before.st_blocks * 512 - (900 << 10)
    archive = BlockArchive(tmp_path, last)
    assert [location for location, _ in archive.records()] == [first, last]
    with pytest.raises(StorageCorrupt):
        archive.read(big)
    archive.close()
    free_body(tmp_path, last)
    BlockArchive(tmp_path, last).close()  # the last body that the database knows may be one that was forgotten
    with pytest.raises(StorageCorrupt):
        free_body(tmp_path, last._replace(offset=last.offset + 1))
