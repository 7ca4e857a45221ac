"""What scripts print and why they fail, in the log: `ckb-script=debug` in `[logger] filter`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

import structlog

from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.verification.debug_output import Print

LOGGER: Final = "script"
log = structlog.get_logger(LOGGER)


def is_enabled() -> bool:
    """Whether the log takes what scripts print; otherwise it is not kept."""
    return logging.getLogger(LOGGER).isEnabledFor(logging.DEBUG)


def log_run(tx_hash: bytes, prints: Iterable[Print], left_out: int, error: Exception | None = None) -> None:
    """Log what the scripts of a transaction printed, and how they failed."""
    transaction = bytes_text(tx_hash)
    for script_hash, text in prints:
        log.debug("a script printed", text=text, script=bytes_text(script_hash), transaction=transaction)
    if left_out:
        log.debug("scripts printed more", left_out=left_out, transaction=transaction)
    if error is not None:
        log.debug("a script failed", reason=str(error), transaction=transaction)
