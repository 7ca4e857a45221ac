"""Programs of Node.js beside a node: npm gets their packages, and they can connect to loopback only.

Where there is no Node.js, or npm cannot get the packages, the test is skipped, and says what was not run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

NODE_JS = 20
LINE_S = 90
NPM_S = 120
LOOPBACK_ONLY = Path(__file__).with_name("loopback_only.cjs")
REFUSED_EXIT = 97
UNREACHABLE = re.compile(
    r"ENOTFOUND|ECONN(REFUSED|RESET)|ETIMEDOUT|EAI_AGAIN|E(NET|HOST)UNREACH|SOCKET_TIMEOUT|CERT"
    r"|code E(403|407|429|5\d\d)\b"
)
"""What npm says when it cannot reach its registry, or gets nothing from it."""
NPM_SETTINGS = {"audit": "false", "fund": "false", "ignore_scripts": "true", "fetch_retries": "0"}


def need_node_js(unchecked: str) -> None:
    """Skip the test where Node.js or npm is missing or too old; `unchecked` says what is not run then."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip(f"no Node.js: {unchecked}")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    if int(version.removeprefix("v").split(".")[0]) < NODE_JS:
        pytest.skip(f"Node.js {version.strip()} is too old: {unchecked}")


def shell(line: str, directory: Path, seconds: float = LINE_S, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run by `sh`, which becomes the command itself, so that a time-out leaves no process."""
    return _run(["sh", "-c", f"exec {line}"], directory, seconds, variables)


def npm(line: str, directory: Path, seconds: float, unchecked: str) -> None:
    """An npm command; a skip when the packages cannot be had."""
    settings = {f"npm_config_{name}": value for name, value in NPM_SETTINGS.items()}
    try:
        done = shell(line, directory, seconds, **settings)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not get the packages within {seconds} s: {unchecked}")
    if done.returncode != 0 and UNREACHABLE.search(done.stderr):
        pytest.skip(f"npm cannot reach its registry: {unchecked}")
    assert done.returncode == 0, done.stderr


def packages_of(manifest: Path, unchecked: str) -> Path:
    """A directory with the `node_modules` of a lock file, below CKB_CLIENTS or the user's cache. npm makes it once,
    whoever else runs such a test; a skip when it cannot."""
    need_node_js(unchecked)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = Path(os.environ.get("CKB_CLIENTS") or cache / "ckb-node" / "clients")
    place = root / hashlib.sha256((manifest / "package-lock.json").read_bytes()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(manifest / name, place)
            npm("npm ci", place, NPM_S, unchecked)
            (place / "complete").touch()
    return place


def run_program(
    program: str, directory: Path, *arguments: str, seconds: float = LINE_S
) -> subprocess.CompletedProcess[str]:
    """`node PROGRAM ARGUMENTS`, which can connect to loopback only."""
    variables = {"NODE_OPTIONS": f'--require="{LOOPBACK_ONLY}"'}
    return _run(["node", program, *arguments], directory, seconds, variables)


def _run(
    command: list[str], directory: Path, seconds: float, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
