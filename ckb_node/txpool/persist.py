"""The pool on disk between runs: a bare molecule TransactionVec, as other nodes write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog

from consensus.errors import MoleculeError
from consensus.types.blockchain import TRANSACTION_VEC, Transaction

log = structlog.get_logger("txpool")

MAX_FILE_BYTES = 1 << 29


def save_transactions(path: Path, transactions: Sequence[Transaction]) -> None:
    """Write the file anew; a crash leaves the old one or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(TRANSACTION_VEC.pack(transactions))
    temporary.replace(path)


def load_transactions(path: Path) -> Sequence[Transaction]:
    """What the file holds; nothing when it is missing, too large or not what it should be: a pool is no treasure."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            log.warning("the saved pool is too large", path=str(path), limit=MAX_FILE_BYTES)
            return []
        return TRANSACTION_VEC.parse(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, MoleculeError) as error:
        log.warning("the saved pool cannot be read", path=str(path), reason=str(error))
        return []
