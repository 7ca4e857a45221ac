"""The compiled interpreters, made once for each test process: a test that begins with an empty directory would wait a
second for them, and so would the processes that it starts."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from vm import Engines

VERSIONS = (0, 1, 2)


@cache
def _interpreters() -> list[Path]:
    directory = Path(tempfile.mkdtemp(prefix="interpreters-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    with Engines(directory) as engines:
        for version in VERSIONS:
            engines.runtime.instantiate(version)
    return sorted(directory.glob("*.cwasm"))


def with_interpreters(directory: Path) -> Path:
    """The directory of Engines, which has the interpreters now, and no program that was translated."""
    for kept in _interpreters():
        shutil.copy(kept, directory)
    return directory
