"""The README's recipes for JavaScript SDKs, run as they are printed: only the port is another.

npm installs the versions that the README names into a temporary directory; where it cannot get them, nothing is run.
The programs themselves can connect to loopback only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.nodes.javascript import REFUSED_EXIT, need_node_js, npm, run_program, shell
from tests.support.nodes.process import ROOT, NodeProcess, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

NPM_S = 50
README_PORT = "8114"
UNCHECKED = "THE README'S JAVASCRIPT RECIPES ARE NOT RUN"


def recipe(program: str) -> tuple[list[str], str]:
    """Of the README: the shell lines that end with running this program, and the program."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (shell,) = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if f"node {program}\n" in block]
    (code,) = re.findall(rf"```js\n// {re.escape(program)}\n(.*?)```", text, re.DOTALL)
    return shell.splitlines(), code


@pytest.fixture(scope="module", autouse=True)
def node_js() -> None:
    need_node_js(UNCHECKED)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A dev chain that mines, in the directory of the recipe."""
    port = free_port()
    directory = tmp_path_factory.mktemp("javascript") / "devnet"
    (directory.parent / ".venv").symlink_to(sys.prefix)
    node = NodeProcess(directory, "dev", "--interval", "1", "--rpc-port", str(port), "--p2p-port", "0", port=port)
    try:
        node.wait_until_ready()
        yield node
    finally:
        if node.process.poll() is None:
            node.stop()


@pytest.mark.parametrize("program", ["ccc.mjs", "lumos.mjs"])
def test_recipe(node: NodeProcess, program: str) -> None:
    (hashes, install, run), code = recipe(program)
    directory = node.directory.parent
    written = shell(hashes, directory)
    assert written.returncode == 0, written.stderr
    npm(install, directory, NPM_S, UNCHECKED)
    assert README_PORT in code
    (directory / program).write_text(code.replace(README_PORT, str(node.rpc.port)))
    assert run == f"node {program}"
    done = run_program(program, directory)
    assert done.returncode == 0, done.stderr
    transaction = node.rpc.call("get_transaction", done.stdout.split()[-1])
    assert transaction["tx_status"]["status"] == "committed"
    assert transaction["transaction"]["outputs"][0]["capacity"] == hex(100 * 10**8)


@pytest.mark.parametrize("call", ["fetch('http://192.0.2.1/')", "require('tls').connect(443, 'a.invalid')"])
def test_programs_cannot_leave_loopback(tmp_path: Path, call: str) -> None:
    (tmp_path / "leave.cjs").write_text(call)
    done = run_program("leave.cjs", tmp_path)
    assert done.returncode == REFUSED_EXIT
    assert "refused: a connection to" in done.stderr
