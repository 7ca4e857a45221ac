"""What the pool publishes, see ckb_node.runtime.events. A listener reads entries and does not change the pool."""

from __future__ import annotations

from dataclasses import dataclass

from ckb_node.txpool.entry import PoolEntry
from ckb_node.txpool.rejects import Reject
from consensus.types.blockchain import Transaction


@dataclass(frozen=True, slots=True)
class TransactionAdmitted:
    """A transaction has come into the pool, new or after a reorganisation; its status says whether it is proposed."""

    entry: PoolEntry


@dataclass(frozen=True, slots=True)
class TransactionProposed:
    """An entry has got the status PROPOSED at this tip, or came into the pool with it: a block may commit it now."""

    entry: PoolEntry


@dataclass(frozen=True, slots=True)
class TransactionRejected:
    """A transaction was refused or has left the pool without being committed. `entry` if it was in the pool; taken out
    by hand it is no news."""

    transaction: Transaction
    reason: Reject
    entry: PoolEntry | None
