"""A chain for each module, and the clients' packages: they are kept between runs, outside the tree."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.kit_served import PROGRAMS, Run, Served, served
from tests.support.builders.wallet import BOB_KEY
from tests.support.nodes.javascript import packages_of, run_program

HERE = Path(__file__).parent
PROGRAM_S = 120
UNCHECKED = "THE JAVASCRIPT CLIENTS ARE NOT RUN"


@pytest.fixture(scope="module", params=PROGRAMS)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(request.param, tmp_path_factory.mktemp("clients")) as chain:
        yield chain


@pytest.fixture(scope="session")
def packages() -> Path:
    """A directory with `node_modules`."""
    return packages_of(HERE, UNCHECKED)


@pytest.fixture
def run(node: Served, packages: Path, tmp_path: Path) -> Run:
    """Run a program of this directory, "ccc/transfer.mjs", with what it is given; its answer."""
    for name in ("kit.mjs", "ccc", "lumos"):
        (shutil.copytree if (HERE / name).is_dir() else shutil.copy)(HERE / name, tmp_path / name)
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")

    def run(program: str, **given: Any) -> Any:
        url, ws = f"http://127.0.0.1:{node.rpc.port}", f"ws://127.0.0.1:{node.ws_port}"
        scripts = node.scripts(Path(program).parent.name)
        given |= {"url": url, "ws": ws, "tcp": node.tcp_port, "scripts": scripts, "key": f"0x{BOB_KEY.hex()}"}
        done = run_program(program, tmp_path, json.dumps(given), seconds=PROGRAM_S)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
