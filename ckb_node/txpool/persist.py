"""The pool on disk between runs: a bare molecule TransactionVec, as other nodes write it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog

from ckb_node.txpool.limits import MAX_SAVED_BYTES
from consensus.errors import MoleculeError
from consensus.types.blockchain import TRANSACTION_VEC, Transaction
from storage.files import set_aside, write_whole

log = structlog.get_logger("txpool")


def save_transactions(path: Path, transactions: Sequence[Transaction]) -> None:
    """Write the file anew; whatever happens, the old or the new one is there. Raises OSError."""
    write_whole(path, TRANSACTION_VEC.pack(transactions))


def load_transactions(path: Path) -> Sequence[Transaction]:
    """What the file holds. One that is not what it should be is kept aside, and counts as empty. Raises OSError."""
    try:
        return _read(path)
    except FileNotFoundError:
        return []
    except (MoleculeError, ValueError) as error:
        reason = str(error)
    kept = set_aside(path)
    log.error("the saved pool is damaged; the node begins with an empty one", kept_as=str(kept), reason=reason)
    return []


def _read(path: Path) -> Sequence[Transaction]:
    """Raises MoleculeError, or ValueError for what is no file or too large."""
    status = path.stat()
    if not path.is_file():
        raise ValueError("it is no file")
    if status.st_size > MAX_SAVED_BYTES:
        raise ValueError(f"it is larger than {MAX_SAVED_BYTES} bytes")
    return TRANSACTION_VEC.parse(path.read_bytes())


class SavedPool:
    """What a former run kept in a file, until this run has taken it. Belongs to the event loop."""

    def __init__(self) -> None:
        self._transactions: Sequence[Transaction] | None = None
        self._taken = 0

    async def read(self, path: Path) -> None:
        """Raises OSError."""
        transactions = await asyncio.to_thread(load_transactions, path)
        if self._transactions is None:  # the pool was not cleared meanwhile
            self._transactions = transactions

    def take(self, count: int) -> list[Transaction]:
        """The next ones; none when all are taken."""
        taken = list((self._transactions or ())[self._taken : self._taken + count])
        self._taken += len(taken)
        return taken

    def rest(self, path: Path) -> Sequence[Transaction]:
        """What was not taken yet; the whole file when it was not read yet. Raises OSError."""
        if self._transactions is None:
            self._transactions = load_transactions(path)
        return self._transactions[self._taken :]

    def clear(self) -> None:
        """Forget the rest, read or not."""
        self._transactions, self._taken = (), 0
