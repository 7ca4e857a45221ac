"""Rejects of numbered transactions."""

from __future__ import annotations

from pathlib import Path

from ckb_node.txpool.recent_rejects import RecentRejects, RejectLimits, open_rejects
from ckb_node.txpool.views import RejectedTransaction
from consensus.crypto.hashing import ckb_hash
from tests.support.chains.devchain import ManualClock

LOW = RejectedTransaction("LowFeeRate", "too little")


def tx_hash(serial: int) -> bytes:
    return ckb_hash(serial.to_bytes(4, "little"))


def opened(path: Path, clock: ManualClock, *, days: int = 7, count: int = 1000) -> RecentRejects:
    return open_rejects(path / "rejects", RejectLimits(days, count), clock.now_ms)


def put(rejects: RecentRejects, *serials: int) -> None:
    for serial in serials:
        rejects.put(tx_hash(serial), LOW.kind, LOW.description)
