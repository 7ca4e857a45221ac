"""The README's recipes for JavaScript SDKs, run as they are printed: only the port is another.

npm installs the versions that the README names into a temporary directory; where it cannot get them, nothing is run.
The programs themselves can connect to loopback only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.nodes.process import ROOT, NodeProcess, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

NPM_S, LINE_S = 50, 90
README_PORT = "8114"
NODE_JS = 20
LOOPBACK_ONLY = Path(__file__).with_name("loopback_only.cjs")
REFUSED_EXIT = 97
UNREACHABLE = re.compile(
    r"ENOTFOUND|ECONN(REFUSED|RESET)|ETIMEDOUT|EAI_AGAIN|E(NET|HOST)UNREACH|SOCKET_TIMEOUT|CERT"
    r"|code E(403|407|429|5\d\d)\b"
)
"""What npm says when it cannot reach its registry, or gets nothing from it."""
NPM_SETTINGS = {"audit": "false", "fund": "false", "ignore_scripts": "true", "fetch_retries": "0"}


def recipe(program: str) -> tuple[list[str], str]:
    """Of the README: the shell lines that end with running this program, and the program."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (shell,) = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if f"node {program}\n" in block]
    (code,) = re.findall(rf"```js\n// {re.escape(program)}\n(.*?)```", text, re.DOTALL)
    return shell.splitlines(), code


@pytest.fixture(scope="module", autouse=True)
def node_js() -> None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("no Node.js: THE README'S JAVASCRIPT RECIPES ARE NOT RUN")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    if int(version.removeprefix("v").split(".")[0]) < NODE_JS:
        pytest.skip(f"Node.js {version.strip()} is too old: THE README'S JAVASCRIPT RECIPES ARE NOT RUN")


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


def shell(line: str, directory: Path, seconds: float, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run by `sh`, which becomes the command itself, so that a time-out leaves no process."""
    environment = os.environ | variables
    command = ["sh", "-c", f"exec {line}"]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


def npm_install(line: str, directory: Path) -> None:
    """A skip when the packages cannot be had."""
    settings = {f"npm_config_{name}": value for name, value in NPM_SETTINGS.items()}
    try:
        done = shell(line, directory, NPM_S, **settings)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not get the packages within {NPM_S} s: THE RECIPE IS NOT RUN")
    if done.returncode != 0 and UNREACHABLE.search(done.stderr):
        pytest.skip("npm cannot reach its registry: THE RECIPE IS NOT RUN")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", ["ccc.mjs", "lumos.mjs"])
def test_recipe(node: NodeProcess, program: str) -> None:
    (hashes, npm, run), code = recipe(program)
    directory = node.directory.parent
    written = shell(hashes, directory, LINE_S)
    assert written.returncode == 0, written.stderr
    npm_install(npm, directory)
    assert README_PORT in code
    (directory / program).write_text(code.replace(README_PORT, str(node.rpc.port)))
    done = shell(run, directory, LINE_S, NODE_OPTIONS=f'--require="{LOOPBACK_ONLY}"')
    assert done.returncode == 0, done.stderr
    transaction = node.rpc.call("get_transaction", done.stdout.split()[-1])
    assert transaction["tx_status"]["status"] == "committed"
    assert transaction["transaction"]["outputs"][0]["capacity"] == hex(100 * 10**8)


@pytest.mark.parametrize("call", ["fetch('http://192.0.2.1/')", "require('tls').connect(443, 'a.invalid')"])
def test_programs_cannot_leave_loopback(tmp_path: Path, call: str) -> None:
    done = shell(f'node -e "{call}"', tmp_path, LINE_S, NODE_OPTIONS=f'--require="{LOOPBACK_ONLY}"')
    assert done.returncode == REFUSED_EXIT
    assert "refused: a connection to" in done.stderr
