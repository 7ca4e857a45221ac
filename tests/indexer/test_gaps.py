"""Searches that leap over gaps find what plain ones do, whatever the index has become meanwhile."""

from __future__ import annotations

import random

import pytest

from ckb_node.indexer import gaps
from ckb_node.indexer.gaps import MAX_GAPS, MAX_KEY_BYTES, Gaps, IndexSnapshot, State
from ckb_node.indexer.index import Index
from ckb_node.indexer.query import FoundCell, Page, ScriptType, Search, SearchMode, find_cells
from storage.kv import Reader
from storage.memory import MemoryStore
from tests.indexer.kit_index import SCRIPTS, a_chain

KEY, LATER = b"key", b"later"
BEGIN = KEY, b""


def found(reader: Reader, page: Page) -> list[FoundCell]:
    return [cell for step in find_cells(reader, page) for cell in step]


def pages(rng: random.Random, reader: Reader) -> list[Page]:
    """Searches for each script, from the beginning and from behind a cell that may be spent later."""
    asked = []
    for script in SCRIPTS:
        search = Search(script=script, script_type=rng.choice(list(ScriptType)), mode=SearchMode.EXACT)
        asked.append(Page(search=search, limit=rng.choice((1, 2, 100))))
        cells = found(reader, Page(search=search))
        if cells:
            asked.append(Page(search=search, after=rng.choice(cells).cursor))
    return asked


@pytest.mark.parametrize("seed", range(8))
def test_over_all_gaps_and_through_reorganisations(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row is taken for the end of a gap."""
    monkeypatch.setattr(gaps, "LONG_S", -1.0)
    rng, kept = random.Random(seed), Gaps()
    store = MemoryStore()
    index, history = Index(store), object()
    chain = a_chain(rng, 6)
    asked: list[Page] = []
    older: list[tuple[Reader, IndexSnapshot]] = []
    has_leapt = False
    for _ in range(12):
        while (tip := index.tip()) is not None and chain[tip[0]].hash != tip[1]:
            index.rollback()
            history = object()
        for block in chain[0 if tip is None else tip[0] + 1 :]:
            index.append(block)
        plain = store.snapshot()
        older.append((plain, IndexSnapshot(plain, kept, State(history, chain[-1].number))))
        asked = rng.sample(asked, min(len(asked), 60)) + pages(rng, plain)
        for page in asked:
            for reader, leaping in (older[-1], rng.choice(older)):
                assert found(leaping, page) == found(reader, page)
        has_leapt |= any(kept.end(gap, State(history, chain[-1].number)) for gap in kept._gaps)
        keeps = len(chain) if rng.random() < 0.6 else rng.randint(1, len(chain))
        chain = a_chain(rng, len(chain) - keeps + rng.randint(1, 3), chain[:keeps])
    assert has_leapt


def test_a_gap_is_of_its_history_and_of_states_from_its_own_on() -> None:
    history, kept = object(), Gaps()
    kept.note(BEGIN, LATER, State(history, 5))
    assert kept.end(BEGIN, State(history, 4)) is None
    assert kept.end(BEGIN, State(object(), 6)) is None
    assert kept.end((LATER, b""), State(history, 6)) is None, "another script has gaps of its own"
    assert kept.end(BEGIN, State(history, 6)) == LATER
    kept.note((KEY, LATER), KEY, State(history, 5))
    assert kept.end((KEY, LATER), State(history, 5)) is None, "a cursor may be behind all that there will be for long"


def test_short_gaps_are_not_remembered() -> None:
    store, kept = MemoryStore(), Gaps()
    store.put(KEY + LATER, b"")
    snapshot = IndexSnapshot(store.snapshot(), kept, State(None, 0))
    assert [key for key, _ in snapshot.live_rows(KEY, None)] == [KEY + LATER]
    assert not kept._gaps


def test_gaps_are_bounded() -> None:
    kept, state = Gaps(), State(None, 0)
    for number in range(2 * MAX_GAPS):
        kept.note((KEY, b"%d" % number), LATER, state)
    assert kept.end((KEY, b"%d" % (2 * MAX_GAPS - 1)), state) == LATER
    assert len(kept._gaps) <= MAX_GAPS
    long = bytes(MAX_KEY_BYTES) + LATER
    for begin, end in (((KEY, long), long + b"1"), ((long, b""), long), ((KEY, b""), long)):
        kept.note(begin, end, state)
        assert kept.end(begin, state) is None
