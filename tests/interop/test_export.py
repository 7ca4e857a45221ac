"""Files of blocks: what one program exports, the other imports with all checks; both write the same blocks."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.interop.kit_chain import COUNTS, mirror_of
from tests.interop.kit_json import Json, differences
from tests.interop.kit_mirror import assert_same_chain
from tests.interop.kit_scenes import SCENES
from tests.support.nodes.process import run_command
from tests.support.nodes.reference import (
    CELLS,
    REFERENCE,
    OurNode,
    Pair,
    ReferenceNode,
    init_ours,
    pair_of_nodes,
    spec_text,
)

pytestmark = pytest.mark.timeout(900)


def reference_command(*arguments: str) -> None:
    done = subprocess.run([REFERENCE, *arguments], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def our_command(*arguments: str) -> None:
    done = run_command(*arguments, timeout_s=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def exported(directory: Path) -> list[Json]:
    """The blocks of the one file in a directory."""
    (file,) = directory.iterdir()
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("scene", SCENES)
def test_exports_are_imported_crosswise(tmp_path: Path, scene: str) -> None:
    make, params = SCENES[scene]
    (tmp_path / "first").mkdir()
    with pair_of_nodes(tmp_path / "first", spec_text(Path(CELLS), **params)) as pair:
        make(mirror_of(pair, "reference"))
        export_and_import(pair, tmp_path)


def export_and_import(pair: Pair, tmp_path: Path) -> None:
    """Stop both, export from both, import crosswise into new directories, and compare."""
    tip = pair.reference.rpc.call("get_tip_header")
    pair.reference.stop()
    pair.ours.stop()
    by_reference, by_ours = tmp_path / "by_reference", tmp_path / "by_ours"
    by_reference.mkdir()
    by_ours.mkdir()
    reference_command("export", "-C", str(pair.reference.directory), "-t", str(by_reference))
    our_command("export", "-C", str(pair.ours.directory), "-t", str(by_ours))
    theirs, ours = exported(by_reference), exported(by_ours)
    assert len(theirs) == len(ours) == int(tip["number"], 16) + 1
    assert not list(differences(theirs, ours))

    fresh_reference = ReferenceNode(Path(REFERENCE), tmp_path / "fresh_reference", pair.spec_path)
    reference_command("import", "-C", str(fresh_reference.directory), str(next(by_ours.iterdir())))
    directory = tmp_path / "fresh_ours"
    port = init_ours(directory, pair.spec_path)
    our_command("import", "-C", str(directory), str(next(by_reference.iterdir())))
    fresh_ours = OurNode(directory, port)
    try:
        fresh_reference.start()
        fresh_ours.wait_until_ready()
        fresh = Pair(fresh_reference, fresh_ours, pair.spec_path)
        assert fresh_ours.rpc.call("get_tip_header") == tip
        assert assert_same_chain(fresh) > 0
        COUNTS["imported blocks"] += 2 * len(ours)
    finally:
        fresh_reference.stop()
        if fresh_ours.process.poll() is None:
            fresh_ours.kill()
