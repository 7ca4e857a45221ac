"""`ckb-node miner`: what it takes from directory, reference's file and options, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ckb_node.config import load_miner_config
from ckb_node.runtime.settings import ConfigError
from consensus.params import PowFunc
from tests.support.nodes.directories import CLI, CONFIG, FAILURE, OK, invoke
from tests.support.nodes.process import free_port

START_S = 60.0
CKB_MINER_TOML = """
data_dir = "data"

[chain]
spec = { bundled = "specs/testnet.toml" }

[logger]
filter = "info"
color = true
log_to_file = true
log_to_stdout = true

[sentry]
dsn = ""

[miner.client]
rpc_url = "http://127.0.0.1:8214/"
block_on_submit = true
poll_interval = 250
listen = "127.0.0.1:8888"

[[miner.workers]]
worker_type = "EaglesongSimple"
threads = 1
extra_hash_function = "Blake2b"
"""


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    root = tmp_path / "node"
    assert invoke("init", "-C", str(root), "-c", "dev", "--genesis-message", "hello").exit_code == OK
    return root


# ---------------------------------------------------------------- the reference's file


def test_the_references_file_is_understood(tmp_path: Path) -> None:
    (tmp_path / "ckb-miner.toml").write_text(CKB_MINER_TOML)
    config = load_miner_config(tmp_path)
    section = config.file.miner
    assert (section.rpc_url, section.poll_interval_millis, section.listen) == (
        "http://127.0.0.1:8214/",
        250,
        "127.0.0.1:8888",
    )
    assert [worker.threads for worker in section.workers] == [1]
    assert config.load_spec()[0].pow_func is PowFunc.EAGLESONG_BLAKE2B
    assert not config.unused


def test_our_file_counts_more(dev: Path) -> None:
    (dev / "ckb-miner.toml").write_text(CKB_MINER_TOML)
    assert load_miner_config(dev).file.miner.rpc_url == "http://127.0.0.1:8114/"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("poll_interval = 250", "poll = 250", r"miner\.client\.poll: unknown key"),
        ("poll_interval = 250", "poll_interval = 0", r"miner\.poll_interval_millis"),
        ("[miner.client]", "[miner.server]", r"miner\.client: expected a section"),
        ("[[miner.workers]]", "[miner.workers]", r"miner\.workers: expected a list"),
        ("[sentry]", "[other]\n[sentry]", "other: unknown key"),
        ('listen = "127.0.0.1:8888"', 'listen = "8888"', r"miner\.listen"),
        ('worker_type = "EaglesongSimple"', 'worker_type = "Gpu"', r"miner\.workers"),
        ("[[miner.workers]]", "[miner.other]\n[[miner.workers]]", r"miner\.other: unknown key"),
    ],
)
def test_faults_of_the_references_file(old: str, new: str, fault: str, tmp_path: Path) -> None:
    assert CKB_MINER_TOML.count(old) == 1
    (tmp_path / "ckb-miner.toml").write_text(CKB_MINER_TOML.replace(old, new))
    with pytest.raises(ConfigError, match=fault) as caught:
        load_miner_config(tmp_path)
    assert "ckb-miner.toml" in str(caught.value)


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    "arguments",
    [
        ("--limit", "x"),
        ("--threads", "0"),
        ("--pow", "sha256"),
        ("--stratum", "127.0.0.1:1"),
        ("--stratum", "127.0.0.1:1", "--user", "u", "--rpc-url", "http://127.0.0.1:1/"),
        ("--user", "u\udcff"),
        ("bench", "--seconds", "nan"),
        ("other",),
    ],
)
def test_a_wrong_command_line_is_64(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert invoke("miner", "-C", str(tmp_path), *arguments).exit_code == CLI


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--rpc-url", "ftp://x"), FAILURE, "miner.rpc_url"),
        (("--stratum", "nowhere", "--user", "u"), FAILURE, "--stratum"),
        (("--stratum", "127.0.0.1:1", "--user", "u"), FAILURE, "Dummy"),
        (("--listen", "8888"), CONFIG, "miner.listen"),
        (("--listen-token-file", "no such file"), 66, "no such file"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: tuple[str, ...], code: int, said: str, dev: Path) -> None:
    result = invoke("miner", "-C", str(dev), *arguments)
    assert result.exit_code == code
    assert said in result.stderr


def test_a_password_file_without_a_password(dev: Path, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("\nsecond line\n")
    result = invoke(
        "miner", "-C", str(dev), "--pow", "eaglesong", "--stratum", "a:1", "--user", "u", "--password-file", str(path)
    )
    assert result.exit_code == FAILURE
    assert "no password" in result.stderr


def test_bench_shows_both_functions() -> None:
    result = invoke("miner", "bench", "--threads", "2", "--seconds", "0.1")
    assert result.exit_code == OK
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["Eaglesong"] * 2 + ["EaglesongBlake2b"] * 2
    assert all("nonces/s" in line for line in lines)


# ---------------------------------------------------------------- as a process


class Node(BaseHTTPRequestHandler):
    """Has one template for ever, and takes blocks."""

    submitted: list[Any]

    def do_POST(self) -> None:
        from ckb_node.rpc.examples import EXAMPLES

        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        result: Any = EXAMPLES["get_block_template"].result
        if call["method"] == "submit_block":
            self.submitted.append(call["params"])
            result = "0x" + "00" * 32
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def node() -> Iterator[tuple[str, list[Any]]]:
    submitted: list[Any] = []
    handler = type("Handler", (Node,), {"submitted": submitted})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", submitted
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_mines_to_its_limit_without_a_directory(node: tuple[str, list[Any]], tmp_path: Path) -> None:
    url, submitted = node
    command = [sys.executable, "-m", "ckb_node", "miner", "-C", str(tmp_path), "--rpc-url", url, "--limit", "1"]
    done = subprocess.run([*command, "--pow", "dummy"], capture_output=True, text=True, timeout=START_S, check=False)
    assert done.returncode == OK, done.stdout + done.stderr
    assert "1 blocks accepted" in done.stdout
    assert len(submitted) == 1
    work_id, block = submitted[0]
    assert (work_id, block["header"]["number"]) == ("0x0", "0x401")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(number: signal.Signals, tmp_path: Path) -> None:
    """While it waits for a source that is not there."""
    arguments = ["--stratum", f"127.0.0.1:{free_port()}", "--user", "u"]
    command = [sys.executable, "-m", "ckb_node", "miner", "-C", str(tmp_path), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "gives no work" in line:
            break
    process.send_signal(number)
    rest, _ = process.communicate(timeout=START_S)
    assert process.returncode == OK, rest
    assert "0 shares accepted" in rest
