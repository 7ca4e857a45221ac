"""Whoever gave a block, orphan or not, learns what became of it, and by which error; in bulk as one by one."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

import ckb_node
from ckb_node.chain.bulk import BulkImport, BulkLimits, RefusedBlockError
from ckb_node.chain.checks import all_rules, scripts_later
from ckb_node.chain.errors import InvalidBranchError, InvalidParentError, KnownInvalidBlockError
from ckb_node.chain.events import MAX_SOURCES, BlockDecided, ChainChanged, Verdict
from ckb_node.chain.orphans import EXPIRE_EPOCHS, OrphanPool
from ckb_node.chain.side_sources import SideSources
from consensus.errors import CkbError
from consensus.rules.block_contextual import DaoFieldMismatchError
from consensus.rules.header import UnknownParentError
from consensus.types.blockchain import Block
from storage.compare import state_differences
from tests.support.chains.branches import branch, branch_on_bad, submit_all, tip_of, with_wrong_dao
from tests.support.chains.devchain import DevChain, dev_chain


def decisions(dev: DevChain) -> list[tuple[Block, Verdict, tuple[object, ...], type[CkbError] | None]]:
    """What is told from now on."""
    heard: list[tuple[Block, Verdict, tuple[object, ...], type[CkbError] | None]] = []

    def note(event: BlockDecided) -> None:
        error = None if event.error is None else type(event.error)
        heard.append((event.block, event.verdict, tuple(event.sources), error))

    dev.chain.listen_decided(note)
    return heard


async def test_all_givers_of_an_orphan_that_is_refused_later_are_told() -> None:
    made = await branch(b"other", 2)
    bad = with_wrong_dao(made[1])
    children = await branch_on_bad(b"other", 2, [made[0], bad])
    async with dev_chain() as dev:
        heard = decisions(dev)
        for block, source in ((children[1], "carol"), (children[0], "bob"), (bad, "alice"), (bad, "bob"), (bad, "bob")):
            assert await dev.chain.process(block, source) is Verdict.ORPHAN
        assert heard == []
        assert await dev.chain.process(made[0], "dave") is Verdict.BEST, "the parent's giver did nothing wrong"
        assert heard == [
            (bad, Verdict.REFUSED, ("alice", "bob"), DaoFieldMismatchError),
            (children[0], Verdict.REFUSED, ("bob",), InvalidParentError),
            (children[1], Verdict.REFUSED, ("carol",), InvalidParentError),
        ]
        assert dev.chain.orphan_count == 0


async def test_givers_of_a_side_block_that_is_refused_later_are_told() -> None:
    """Its transactions are verified when its branch wins. Who built on it is told, too, but not who gave good ones."""
    ours, theirs = await branch(b"ours", 3), await branch(b"theirs", 2)
    bad = with_wrong_dao(theirs[1])
    above = await branch_on_bad(b"above", 2, [theirs[0], bad])
    async with dev_chain() as dev:
        await submit_all(dev, ours)
        heard = decisions(dev)
        for block, source in ((theirs[0], "good"), (bad, "alice"), (above[0], "carol")):
            assert await dev.chain.process(block, source) is Verdict.SIDE
        assert await dev.chain.process(bad, "bob") is Verdict.KNOWN
        together = await asyncio.gather(*(dev.chain.process(bad, source) for source in ("bob", "dora")))
        assert together == [Verdict.KNOWN] * 2
        with pytest.raises(InvalidBranchError):
            await dev.chain.process(above[1], "erik")
        assert heard == [
            (bad, Verdict.REFUSED, ("alice", "bob", "dora"), DaoFieldMismatchError),
            (above[0], Verdict.REFUSED, ("carol",), InvalidParentError),
            (above[1], Verdict.REFUSED, ("erik",), InvalidBranchError),
        ]
        assert tip_of(dev) == ours[-1].hash


async def test_all_givers_of_one_side_block_in_the_queue_are_noted() -> None:
    ours, theirs = await branch(b"ours", 1), await branch(b"theirs", 1)
    bad = with_wrong_dao(theirs[0])
    above = (await branch_on_bad(b"above", 1, [bad]))[0]
    async with dev_chain() as dev:
        await submit_all(dev, ours)
        heard = decisions(dev)
        together = await asyncio.gather(*(dev.chain.process(bad, source) for source in ("alice", "bob", None, "carol")))
        assert together == [Verdict.SIDE] * 4
        with pytest.raises(InvalidBranchError):
            await dev.chain.process(above)
        assert heard[0] == (bad, Verdict.REFUSED, ("alice", "bob", "carol"), DaoFieldMismatchError)
        dev.writer.note_side_source(bad, "late")
        await asyncio.sleep(0.01)
        assert heard[-1] == (bad, Verdict.REFUSED, ("late",), KnownInvalidBlockError)


async def test_a_branch_that_has_won_has_no_givers_any_more() -> None:
    ours, theirs = await branch(b"ours", 1), await branch(b"theirs", 2)
    async with dev_chain() as dev:
        await submit_all(dev, ours)
        heard = decisions(dev)
        assert await dev.chain.process(theirs[0], "alice") is Verdict.SIDE
        assert len(dev.writer._side_sources) == 1
        assert await dev.chain.process(theirs[1], "bob") is Verdict.BEST
        assert len(dev.writer._side_sources) == 0
        assert await dev.chain.process(theirs[0], "carol") is Verdict.KNOWN
        assert len(dev.writer._side_sources) == 0
        assert heard == []


async def test_sources_of_side_blocks_are_bounded() -> None:
    made = await branch(b"ours", 3)
    few = SideSources(max_blocks=2)
    for block in made:
        few.add(block, ["alice"])
        few.add(block, ["bob", "alice"])
    assert [tuple(few.take(block.hash)) for block in made] == [(), ("alice", "bob"), ("alice", "bob")]
    small = SideSources(max_bytes=len(made[0].raw) + len(made[1].raw))
    for block in made:
        small.add(block, range(1000))
        small.add(block, range(1000, 2000))
    assert len(small) == 2
    assert len(small.take(made[2].hash)) == MAX_SOURCES
    small.add(made[2], [])
    assert len(small) == 1


async def test_givers_of_orphans_that_are_taken_are_told() -> None:
    made = await branch(b"other", 3)
    async with dev_chain() as dev:
        heard = decisions(dev)
        for block in made[:0:-1]:
            await dev.chain.process(block, "alice")
        await dev.chain.submit_block(made[0])
        assert heard == [(block, Verdict.BEST, ("alice",), None) for block in made[1:]]


async def test_a_copy_in_the_queue_is_noted_with_its_own_source() -> None:
    made = await branch(b"other", 2)
    bad = with_wrong_dao(made[1])
    async with dev_chain() as dev:
        heard = decisions(dev)
        copies = (dev.chain.process(Block.parse(bad.raw), source) for source in ("alice", "bob", "carol"))
        assert await asyncio.gather(*copies) == [Verdict.ORPHAN] * 3
        await dev.chain.submit_block(made[0])
        [(_, verdict, sources, _)] = heard
        assert (verdict, set(sources)) == (Verdict.REFUSED, {"alice", "bob", "carol"})
        assert dev.chain.queue_limit.blocks == 0


async def test_a_refused_block_is_told_with_its_source() -> None:
    made = await branch(b"other", 1)
    bad = with_wrong_dao(made[0])
    async with dev_chain() as dev:
        heard = decisions(dev)
        with pytest.raises(DaoFieldMismatchError):
            await dev.chain.process(bad, "alice")
        assert heard == [(bad, Verdict.REFUSED, ("alice",), DaoFieldMismatchError)]


async def test_orphans_that_leave_undecided_are_told_without_an_error() -> None:
    made = await branch(b"other", 3)
    async with dev_chain() as dev:
        heard = decisions(dev)
        dev.writer.orphans = OrphanPool(max_blocks=1)
        await dev.chain.process(made[2], "alice")
        await dev.chain.process(made[1], "bob")
        assert heard == [(made[2], Verdict.DROPPED, ("alice",), None)]
        epoch_blocks = dev.consensus.genesis_epoch.length
        while dev.chain.view().tip_epoch().number <= EXPIRE_EPOCHS:
            await dev.mine(epoch_blocks)
        assert heard[1:] == [(made[1], Verdict.DROPPED, ("bob",), None)]


# ---------------------------------------------------------------- bulk


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_bulk_tells_what_single_blocks_tell(size: int) -> None:
    """After each group as many blocks as are durable, in one event; together they are the chain."""
    made = await branch(b"ours", 7)
    async with dev_chain() as dev:
        events: list[ChainChanged] = []
        dev.writer.listen(lambda event: events.append(event) if isinstance(event, ChainChanged) else None)
        tips: list[int] = []
        check = all_rules(dev.consensus, scripts_later, dev.clock.now_ms)
        with BulkImport(dev.writer, check, BulkLimits(blocks=size)) as bulk:
            for block in made:
                assert bulk.take(block) is Verdict.BEST
                with dev.store.view() as view:
                    tips.append(view.tip_header().number)
                    assert not events or events[-1].new_tip.number <= tips[-1]
        assert [block for event in events for block in event.attached] == made
        assert all(not event.detached for event in events)
        links = [(event.old_tip.hash, event.new_tip.hash) for event in events]
        assert [old for old, _ in links] == [dev.consensus.genesis_hash, *(new for _, new in links[:-1])]
        groups = -(-len(made) // size)
        assert (groups + 1) // 2 <= len(events) <= groups


async def test_bulk_tells_who_gave_a_bad_block() -> None:
    made = await branch(b"ours", 3)
    bad = with_wrong_dao(made[1])
    async with dev_chain() as dev:
        heard, attached = decisions(dev), list[int]()
        dev.chain.listen(lambda change: attached.extend(block.number for block in change.attached))
        with pytest.raises(RefusedBlockError) as caught:
            await dev.chain.process_in_bulk([made[0], bad, made[2]], "alice")
        assert isinstance(caught.value.cause, DaoFieldMismatchError)
        assert heard == [(bad, Verdict.REFUSED, ("alice",), DaoFieldMismatchError)]
        assert attached == [1]
        assert await dev.chain.process_in_bulk(made[:2]) == [Verdict.KNOWN, Verdict.BEST]


async def test_a_node_takes_in_bulk_what_it_takes_one_by_one() -> None:
    made = await branch(b"ours", 6)
    side = await branch(b"side", 2, made[:2])
    orphan = (await branch(b"ours", 1, made))[0]
    async with dev_chain() as dev, dev_chain() as single:
        heard = decisions(dev)
        await dev.chain.process(orphan, "bob")
        verdicts = await dev.chain.process_in_bulk([*made, side[0], made[3], side[1]], "alice")
        assert verdicts == [*[Verdict.BEST] * 6, Verdict.SIDE, Verdict.KNOWN, Verdict.SIDE]
        assert heard == [(orphan, Verdict.BEST, ("bob",), None)]
        assert tip_of(dev) == orphan.hash
        assert dev.chain.queue_limit.blocks == 0
        await submit_all(single, [*made, *side, orphan])
        with dev.store.view() as view, single.store.view() as expected:
            assert state_differences(view, expected) == []
        with pytest.raises(UnknownParentError):
            await dev.chain.process_in_bulk(await unknown())


async def unknown() -> Sequence[Block]:
    return (await branch(b"unknown", 2))[1:]


# ---------------------------------------------------------------- one writer of BlockExt


def test_nobody_else_writes_what_is_known_of_a_block() -> None:
    """`write_ext` is the one way: other rooms neither make a BlockExt nor insert one."""
    makers = []
    for path in Path(ckb_node.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in ("BlockExt", "valid_block_ext", "insert_ext", "note_invalid"):
                    makers.append((path.name, name))
    assert sorted(makers) == [
        ("attach.py", name) for name in ("BlockExt", "insert_ext", "note_invalid", "valid_block_ext")
    ]


async def test_a_block_that_is_known_to_be_invalid_is_refused_in_bulk_too() -> None:
    made = await branch(b"other", 3)
    bad = with_wrong_dao(made[1])
    async with dev_chain() as dev:
        await dev.chain.process(made[0])
        with pytest.raises(DaoFieldMismatchError):
            await dev.chain.process(bad)
        await dev.chain.process(made[1])
        heard = decisions(dev)
        with pytest.raises(KnownInvalidBlockError):
            await dev.chain.process_in_bulk([bad], "carol")
        assert heard == [(bad, Verdict.REFUSED, ("carol",), KnownInvalidBlockError)]
