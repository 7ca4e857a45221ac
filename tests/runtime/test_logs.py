"""Logs of a process: where they go, and what the filter lets pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ckb_node.runtime.log_control import part_of

CONFIG = """
[chain]
spec = { bundled = "dev" }
[logger]
filter = "warn,rpc=debug"
log_to_file = true
log_to_stdout = true
"""
PROGRAM = """
import sys, pathlib, logging, structlog
from ckb_node.config import load_config
from ckb_node.runtime.logs import set_up_logs
config = load_config(pathlib.Path(sys.argv[1]))
set_up_logs(config.file.logger, config.log_dir, "run")
structlog.get_logger("rpc").debug("small talk", value=1)
structlog.get_logger("chain").info("not heard")
structlog.get_logger("chain").warning("heard")
logging.getLogger("other").warning("of a library")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger("chain").exception("a fault")
"""


def test_lines_go_to_the_terminal_and_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    root = Path(__file__).parents[2]
    program = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(program, cwd=root, capture_output=True, text=True, timeout=60, check=True)
    written = (tmp_path / "data/logs/run.log").read_text()
    assert len(written.splitlines()) == len(done.stdout.splitlines())
    assert done.stderr == ""
    for text in ("small talk", "value=1", "heard", "of a library", "a fault", "ZeroDivisionError"):
        assert text in written
    assert "not heard" not in written
    assert "\x1b" not in written, "no colours where nobody sees them"


def test_parts_have_the_names_of_the_reference_too() -> None:
    assert [part_of(name) for name in ("ckb-script", "ckb-tx-pool", "ckb-rpc", "rpc", "ckb_node.indexer")] == [
        "script", "txpool", "rpc", "rpc", "ckb_node.indexer"
    ]  # fmt: skip


HOSTILE = """
import sys, pathlib, logging, structlog
from ckb_node.config import load_config
from ckb_node.runtime.logs import set_up_logs
config = load_config(pathlib.Path(sys.argv[1]))
set_up_logs(config.file.logger, config.log_dir, "run")
log = structlog.get_logger("rpc")
bad = "x\\n2026-11-29 00:00:00.000000 [error    ] forged\\x1b[2J\\u2028\\u202e\\ud800"
log.warning(bad, work_id=bad, short="\\x1b[2J", number=1 << 100_000, size="A" * 9_000_000)
logging.getLogger("other").warning("of a library: %s", bad)
try:
    raise ValueError(bad)
except ValueError:
    log.exception("a fault")
"""


def test_what_clients_write_is_escaped_and_bounded(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    root = Path(__file__).parents[2]
    program = [sys.executable, "-c", HOSTILE.replace("\\\\", "\\"), str(tmp_path)]
    done = subprocess.run(program, cwd=root, capture_output=True, timeout=60, check=True)
    assert done.stderr == b""
    for text in ((tmp_path / "data/logs/run.log").read_bytes().decode(), done.stdout.decode()):
        lines = text.split("\n")
        assert sum("forged" in line and line.startswith("2026-11-29 00:00:00") for line in lines) == 0
        assert all(char.isprintable() for line in lines for char in line)
        assert len(text) < 20_000
        assert len([line for line in lines if line and not line.startswith("    ")]) == 3


def logger(*options: str) -> str:
    return "\n".join(("[chain]", 'spec = { bundled = "dev" }', "[logger]", "log_to_stdout = false", *options))


FLOOD = """
import sys, pathlib, structlog
from ckb_node.config import load_config
from ckb_node.runtime.logs import set_up_logs
config = load_config(pathlib.Path(sys.argv[1]))
set_up_logs(config.file.logger, config.log_dir, "run")
for number in range(2000):
    structlog.get_logger("rpc").info("one of many", number=number, text="x" * 200)
"""


def flooded(directory: Path, *options: str) -> list[Path]:
    """The log files, newest first, after 2,000 lines of some 260 bytes."""
    (directory / "config.toml").write_text(logger(*options))
    program = [sys.executable, "-c", FLOOD, str(directory)]
    done = subprocess.run(program, cwd=Path(__file__).parents[2], capture_output=True, timeout=60, check=True)
    assert done.stderr == b""
    return sorted((directory / "data/logs").iterdir(), key=lambda path: (len(path.name), path.name))


def test_log_files_are_bounded_in_size_and_number(tmp_path: Path) -> None:
    files = flooded(tmp_path, "max_file_size = 50000", "max_files = 3")
    assert [path.name for path in files] == ["run.log", "run.log.1", "run.log.2"]
    assert sum(path.stat().st_size for path in files) < 3 * 51_000
    numbers = [
        int(line.split("number=")[1].split()[0]) for path in reversed(files) for line in path.read_text().splitlines()
    ]
    assert numbers == list(range(numbers[0], 2000)), "the newest lines, none lost between two files"
    files = flooded(tmp_path, "max_file_size = 50000", "max_files = 2")
    assert [path.name for path in files] == ["run.log", "run.log.1"], "what was kept before is removed"
    files = flooded(tmp_path, "max_file_size = 50000", "max_files = 1")
    assert [path.name for path in files] == ["run.log"]
    assert files[0].stat().st_size < 51_000


def test_a_log_that_cannot_be_written_does_not_end_the_process(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(logger("max_file_size = 50000"))
    (tmp_path / "data/logs").mkdir(parents=True)
    (tmp_path / "data/logs/run.log").symlink_to("/dev/full")
    program = [sys.executable, "-c", FLOOD, str(tmp_path)]
    done = subprocess.run(
        program, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.count("lines of the log are lost") == 1
    assert "Traceback" not in done.stderr
