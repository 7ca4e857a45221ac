"""Ten thousand random questions to both programs, half of them to either indexer, on a chain with a fork, deposits and
many cells.

CKB_INTEROP_ROUNDS makes it longer. In the rich indexer cursors are each program's own, and the order within a
transaction is not defined.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.kit_answers import assert_equal_answers
from tests.interop.kit_chain import COUNTS, mirror_of
from tests.interop.kit_indexer_scene import Scene, has_high_prefix, sorted_objects, unequal_answers
from tests.interop.kit_json import Json, ask
from tests.interop.kit_random_reads import RandomReads
from tests.support.nodes.process import RpcClient
from tests.support.nodes.reference import CELLS, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(3600)

CALLS = 2500 * int(os.environ.get("CKB_INTEROP_ROUNDS", "1"))


@pytest.fixture(scope="module", params=["Indexer", "RichIndexer"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, bool]]:
    rich = request.param == "RichIndexer"
    with pair_of_nodes(tmp_path_factory.mktemp("indexers"), spec_text(Path(CELLS)), rich=rich) as pair:
        made = Scene(mirror_of(pair, "reference"))
        made.settle()
        yield made, rich


def test_random_questions(scene: tuple[Scene, bool]) -> None:
    made, rich = scene
    found, objects = unequal_answers(made, CALLS, rich=rich)
    assert objects > 10 * CALLS
    assert not found, "\n".join(found[:40])


def test_random_reads(scene: tuple[Scene, bool]) -> None:
    """Of all that the other modules tell of this chain."""
    made, _ = scene
    assert_equal_answers(made.mirror.pair, RandomReads(made, "reads").requests(CALLS))


def test_pages(scene: tuple[Scene, bool]) -> None:
    made, rich = scene
    pair = made.mirror.pair
    for _ in range(40):
        key = made.search_key(rich=False)
        if rich and has_high_prefix(key):
            continue
        key["script_search_mode"] = made.random.choice(("prefix", "exact"))
        order, method = made.random.choice(("asc", "desc")), made.random.choice(("get_cells", "get_transactions"))
        limit = hex(200 if method == "get_transactions" else 40 if rich else made.random.choice((3, 40)))
        theirs, ours = (list(_pages(rpc, method, [key, order, limit])) for rpc in (pair.reference.rpc, pair.ours.rpc))
        if rich:
            theirs, ours = ([sorted_objects([each for page in pages for each in page])] for pages in (theirs, ours))
        assert theirs == ours, (method, key, order, limit)
        COUNTS["pages of indexers"] += len(ours)


def _pages(rpc: RpcClient, method: str, params: list[Any]) -> Iterator[list[Json]]:
    cursor = None
    while True:
        answer = ask(rpc, method, [*params, cursor])
        if "error" in answer or not answer["result"]["objects"]:
            return
        yield answer["result"]["objects"]
        cursor = answer["result"]["last_cursor"]
