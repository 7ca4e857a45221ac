"""Both indexers of both programs with each option of `[indexer_v2]`: the same random questions, the same answers.

Three things of the reference's rich indexer are avoided, since it is wrong there: of a transaction's inputs it spends
none behind one that the cell filter left out; it shows the filter a spent cell without a type script otherwise than
when it was made, and then forgets the input; and with cells that the pool spends it finds nothing where the filter of
a search has bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.kit_chain import mirror_of, wait_until
from tests.interop.kit_indexer_scene import CODES, Scene, unequal_answers
from tests.interop.kit_json import Json, script_json
from tests.support.nodes.process import RpcClient
from tests.support.nodes.reference import CELLS, OurNode, Pair, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(3600)

CALLS = 400 * int(os.environ.get("CKB_INTEROP_ROUNDS", "1"))

CELL_FILTERS = (
    "output.type != ()",
    f'output.lock.code_hash == "0x{CODES[0].hex()}" && output.lock.args != "0x"',
)
KEY_VALUE_CELL_FILTERS = (
    'output_data.len() > 10 || output.capacity.to_uint() >= "0x1bf08eb000".to_uint()',
    'output_data == "0x00000000" || output_data.starts_with("0x0100000001")',
    'let script = output.type; script == () || script.args == "0x07"',
    'output.type?.args == "0x07"',
)
BLOCK_FILTERS = (
    'block.header.number.to_uint() >= "0x10".to_uint()',
    "block.transactions.len() > 1",
    'block.header.number.to_uint() % "0x2".to_uint() == "0x0".to_uint()',
)


@pytest.fixture(scope="module", params=["Indexer", "RichIndexer"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, bool]]:
    rich = request.param == "RichIndexer"
    with pair_of_nodes(tmp_path_factory.mktemp("options"), spec_text(Path(CELLS)), rich=rich) as pair:
        made = Scene(mirror_of(pair, "reference"))
        made.settle()
        yield made, rich


@contextmanager
def configured(pair: Pair, options: str, *, rich: bool) -> Iterator[None]:
    """Both nodes start again with empty indexes and these lines in `[indexer_v2]`."""
    files = {pair.reference.directory / "ckb.toml": "", pair.ours.directory / "config.toml": ""}
    for path in files:
        files[path] = text = path.read_text(encoding="utf-8")
        head = "\n[indexer_v2]\n"
        path.write_text(text.replace(head, head + options) if head in text else text + head + options, encoding="utf-8")
    _restart(pair, rich=rich)
    yield
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")


def _restart(pair: Pair, *, rich: bool) -> None:
    pair.reference.stop()
    pair.ours.stop()
    for directory in (pair.reference.directory, pair.ours.directory):
        for name in ("indexer", "rich_indexer"):
            shutil.rmtree(directory / "data" / name, ignore_errors=True)
    pair.reference.start()
    pair.ours = OurNode(pair.ours.directory, pair.ours.rpc.port, *(["--rich-indexer"] if rich else []))
    pair.ours.wait_until_ready()


@pytest.mark.parametrize(
    "options",
    [
        *(f"cell_filter = '{each}'\n" for each in CELL_FILTERS),
        *(f"cell_filter = '{each}'\n" for each in KEY_VALUE_CELL_FILTERS),
        *(f"block_filter = '{each}'\n" for each in BLOCK_FILTERS),
        f"block_filter = '{BLOCK_FILTERS[1]}'\ncell_filter = '{CELL_FILTERS[1]}'\n",
    ],
)
def test_filters(scene: tuple[Scene, bool], options: str) -> None:
    made, rich = scene
    if rich and any(each in options for each in KEY_VALUE_CELL_FILTERS):
        pytest.skip("the reference's rich indexer is wrong with this filter, as is said above")
    with configured(made.mirror.pair, options, rich=rich):
        made.settle()
        found, objects = unequal_answers(made, CALLS, rich=rich)
    assert objects > CALLS
    assert not found, "\n".join(found[:20])


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_indexing_begins_behind_a_block(scene: tuple[Scene, bool], part: float) -> None:
    made, rich = scene
    source = made.mirror.source
    block_hash = source.call("get_block_hash", hex(int(source.tip() * part)))
    with configured(made.mirror.pair, f'init_tip_hash = "{block_hash}"\n', rich=rich):
        made.settle()
        found, objects = unequal_answers(made, CALLS, rich=rich)
    assert objects > CALLS // 10
    assert not found, "\n".join(found[:20])


def test_cells_that_the_pool_spends(scene: tuple[Scene, bool]) -> None:
    made, rich = scene
    pair = made.mirror.pair
    lock = {"script": script_json(made.locks[0]), "script_type": "lock", "script_search_mode": "exact"}
    with configured(pair, "index_tx_pool = true\n", rich=rich):
        made.settle()
        before = _capacity(pair.ours.rpc, lock)
        for _ in range(3):
            made.mirror.send(made.paying())
        wait_until(lambda: _capacity(pair.reference.rpc, lock) == _capacity(pair.ours.rpc, lock) != before)
        found, objects = unequal_answers(made, CALLS, rich=rich, takes=_has_no_bytes if rich else None)
    assert objects > CALLS
    assert not found, "\n".join(found[:20])


def _has_no_bytes(key: Json) -> bool:
    return not {"script", "output_data"} & key.get("filter", {}).keys()


def _capacity(rpc: RpcClient, key: Json) -> str:
    text: str = rpc.call("get_cells_capacity", key)["capacity"]
    return text
