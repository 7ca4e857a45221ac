"""What is left of a process that a fault ended (SIGABRT, SIGBUS, SIGSEGV), for the next start.

LevelDB may end the process at damage that it did not expect, and the system does where a mapped file cannot be read.
After such an end the files of the databases are verified before they are opened, and what is damaged is named. A stop,
a kill and a power cut leave nothing here, so that the next start is as quick as ever.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import structlog

from ckb_node.commands.check import check_databases
from ckb_node.config import Config
from storage.errors import StorageCorrupt, from_os_error

log = structlog.get_logger("node")

TRACE_FILE: Final = "crash.txt"
"""In the data directory; empty while the node runs, gone when it has stopped."""


@contextmanager
def crash_trace(config: Config) -> Iterator[None]:
    """Look at the last end, and have the system's faults write theirs while the context lasts.

    To be entered before WebAssembly is used, whose own handlers come before this one then. Raises StorageCorrupt,
    StorageError.
    """
    path = config.data_dir / TRACE_FILE
    _judge_last_end(config)
    if faulthandler.is_enabled():  # the caller has enabled it already
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise from_os_error(path, error) from error
    faulthandler.enable(file)  # and not taken back: what WebAssembly has set up since would go with it
    yield
    with suppress(OSError):
        path.unlink()


def _judge_last_end(config: Config) -> None:
    path = config.data_dir / TRACE_FILE
    if not path.exists() or not path.stat().st_size:
        return
    log.warning("a fault ended the last run: the databases' files are verified", trace=str(path))
    if faults := check_databases(config):
        raise StorageCorrupt(config.data_dir, f"after a fault ended the last run: {'; '.join(faults)}")
    aside = path.with_name(f"{TRACE_FILE}.1")
    path.replace(aside)
    log.warning("the databases' files are sound", trace=str(aside))
