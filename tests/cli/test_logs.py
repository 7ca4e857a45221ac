"""Logs of a process: where they go, and what the filter lets pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
from ckb_node.logs import set_up_logs
set_up_logs(load_config(pathlib.Path(sys.argv[1])), "run")
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
