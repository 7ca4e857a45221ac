"""Transactions whose scripts failed, kept as files that `ckb-node debug --tx-file` takes: as many as have room."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from pathlib import Path
from typing import Final

import msgspec
import structlog

from ckb_node.jsonrpc_types.chain import transaction_json
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.txpool.limits import MAX_REFUSED_FILE_BYTES, MAX_REFUSED_FILES
from ckb_node.txpool.rejects import Reject, VerificationFailed
from ckb_node.verification import script_log
from consensus.errors import ScriptError
from consensus.types.blockchain import Transaction

log = structlog.get_logger("txpool")


class RefusedTransactions:
    """Files in one directory, named by hash; the oldest leave. `url`: where the node answers RPC."""

    def __init__(
        self, directory: Path, url: str, max_files: int = MAX_REFUSED_FILES, max_bytes: int = MAX_REFUSED_FILE_BYTES
    ) -> None:
        self._directory: Final = directory
        self._url: Final = url
        self._max_files: Final = max_files
        self._max_bytes: Final = max_bytes

    def keep(self, transaction: Transaction) -> Path:
        """Write a transaction as RPC has it. OSError."""
        data = msgspec.json.encode(transaction_json(transaction))
        path = self._directory / f"{bytes_text(transaction.hash)}.json"
        self._directory.mkdir(parents=True, exist_ok=True)
        self._make_room(len(data))
        partial = path.with_suffix(".part")
        partial.write_bytes(data)
        partial.replace(path)
        return path

    def command(self, path: Path) -> str:
        """What a person types to run the scripts once more."""
        return shlex.join(["ckb-node", "debug", "--rpc", self._url, "--tx-file", str(path)])

    def _make_room(self, size: int) -> None:
        files = sorted((_facts(entry), entry.path) for entry in os.scandir(self._directory) if entry.is_file())
        total = size + sum(length for (_, length), _ in files)
        count = 1 + len(files)
        for (_, length), oldest in files:
            if count <= self._max_files and total <= self._max_bytes:
                return
            with contextlib.suppress(FileNotFoundError):
                Path(oldest).unlink()
            count, total = count - 1, total - length


def _facts(entry: os.DirEntry[str]) -> tuple[int, int]:
    """When it was written, and its bytes."""
    with contextlib.suppress(FileNotFoundError):
        stat = entry.stat()
        return stat.st_mtime_ns, stat.st_size
    return 0, 0


async def log_refusal(transaction: Transaction, reason: Reject, kept: RefusedTransactions | None) -> None:
    """At level debug. With `ckb-script=debug` the transaction is kept in a file, and the log says how to run it."""
    log.debug("transaction rejected", hash=bytes_text(transaction.hash), kind=reason.kind, reason=str(reason))
    is_script = isinstance(reason, VerificationFailed) and isinstance(reason.cause, ScriptError)
    if kept is None or not is_script or not script_log.is_enabled():
        return
    try:
        path = await asyncio.to_thread(kept.keep, transaction)
    except OSError as error:
        log.warning("a refused transaction cannot be kept", reason=str(error))
        return
    script_log.log.debug("its scripts can be run again", command=kept.command(path))
