"""The official Rust crates with the public chains' system cells and specs, fetched by cargo for one test run.

Nothing that is fetched stays: it goes to a temporary directory. Only where there is no cargo, or cargo cannot reach the
crates, are the tests that ask for them skipped.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FETCH_S = 300
UNREACHABLE = (
    "download",
    "could not resolve",
    "couldn't resolve",
    "couldn't connect",
    "failed to connect",
    "failed to query",
    "failed to fetch",
    "failed to get",
    "network",
    "timed out",
    "timeout",
    "offline",
)
"""What cargo says, in lower case, when the registry cannot be reached."""

# Versions of the reference node 0.206. Of ckb-resource only the files are wanted, so the one dependency of it that
# would bring a hundred crates along is replaced by an empty one.
MANIFEST = """\
[package]
name = "genesis-files"
version = "0.0.0"
edition = "2018"
[lib]
path = "lib.rs"
[dependencies]
ckb-system-scripts = "=0.5.4"
ckb-resource = "=1.1.0"
[patch.crates-io]
ckb-types = { path = "ckb-types" }
"""
EMPTY_CRATE = """\
[package]
name = "ckb-types"
version = "1.1.0"
edition = "2018"
[lib]
path = "lib.rs"
"""


def fetch_crates(project: Path, unchecked: str) -> Path:
    """A directory with the unpacked crates, below the empty directory `project`.

    Skips the test if cargo cannot get them; `unchecked` says what is not checked then.
    """
    if shutil.which("cargo") is None:
        pytest.skip(f"no cargo: {unchecked}")
    for directory, manifest in ((project, MANIFEST), (project / "ckb-types", EMPTY_CRATE)):
        directory.mkdir(exist_ok=True)
        (directory / "Cargo.toml").write_text(manifest)
        (directory / "lib.rs").write_text("")
    try:
        fetched = subprocess.run(
            ["cargo", "vendor", "--quiet", "vendor"],
            cwd=project,
            capture_output=True,
            text=True,
            timeout=FETCH_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"cargo did not get the crates within {FETCH_S} s: {unchecked}")
    if fetched.returncode != 0:
        if any(word in fetched.stderr.lower() for word in UNREACHABLE):
            pytest.skip(f"cargo cannot reach the crates: {unchecked}")
        pytest.fail(f"cargo vendor: {fetched.stderr}")
    return project / "vendor"
