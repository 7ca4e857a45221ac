"""What the pool publishes, see ckb_node.runtime.events. A listener reads entries and does not change the pool."""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class TransactionAccepted:
    """A transaction was verified and is in the pool, so peers may be told of it. `giver` is the session of the peer
    that gave it, None if it came from elsewhere; a transaction that RPC submits again is told again."""

    tx_hash: bytes
    giver: int | None


@dataclass(frozen=True, slots=True)
class RemoteRefused:
    """A peer's transaction was refused, or did not get its turn. With no `giver` nobody answers for it: a block
    proposed it, or it was in the pool and has left it without being committed. `is_of_size`: the
    reason may be that somebody made its witnesses larger."""

    tx_hash: bytes
    giver: int | None
    reason: Reject
    is_of_size: bool = False


@dataclass(frozen=True, slots=True)
class ParentsMissing:
    """A peer's transaction waits for others, of which neither chain nor pool knows."""

    tx_hash: bytes
    giver: int
    parents: Sequence[bytes]


RelayNews = TransactionAccepted | RemoteRefused | ParentsMissing
"""What became of transactions, for those who relay them."""
