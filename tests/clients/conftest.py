"""A chain for each module, and the clients' packages: they are kept between runs, outside the tree."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.kit_served import PROGRAMS, Run, Served, served
from tests.support.builders.wallet import BOB_KEY
from tests.support.nodes.javascript import need_node_js, npm, run_program

HERE = Path(__file__).parent
MANIFEST = ("package.json", "package-lock.json")
NPM_S, PROGRAM_S = 120, 120
UNCHECKED = "THE JAVASCRIPT CLIENTS ARE NOT RUN"


@pytest.fixture(scope="module", params=PROGRAMS)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(request.param, tmp_path_factory.mktemp("clients")) as chain:
        yield chain


def kept_packages() -> Path:
    """Where the packages of this lock file are: CKB_CLIENTS, or the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(os.environ.get("CKB_CLIENTS") or Path(cache) / "ckb-node" / "clients")
    return root / hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]


@pytest.fixture(scope="session")
def packages() -> Path:
    """A directory with `node_modules`; npm makes it once, whoever else runs this test."""
    need_node_js(UNCHECKED)
    place = kept_packages()
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            for name in MANIFEST:
                shutil.copy(HERE / name, place)
            npm("npm ci", place, NPM_S, UNCHECKED)
            (place / "complete").touch()
    return place


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
