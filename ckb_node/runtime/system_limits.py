"""What the operating system grants this process: open files (descriptors) and address space."""

from __future__ import annotations

import os
import resource
from typing import Final

import structlog

from ckb_node.runtime.errors import CommandError

log = structlog.get_logger("node")

MAX_DESCRIPTORS: Final = 1 << 16
"""A node needs no more; some systems allow 10⁹."""
MIN_DESCRIPTORS: Final = 96
_DATABASES: Final = 3 * 8
"""Logs, locks and tables under way of chain, indexer and filters."""
_DATABASE_SHARE: Final = 5
"""LevelDB keeps tables open in up to a fifth of the limit, when there are more of them than it maps into memory."""
_SEGMENTS: Final = 64
"""Of the block archive, see storage.archive."""
_PER_PROCESS: Final = 6
"""Pipes and sockets of a child process."""
_OTHERS: Final = 64
"""Standard streams, logs, the event loop, listeners, files that are read or saved."""

PEER_RESERVE: Final = 768
"""Connections besides those of peers and of as many newcomers: not yet judged, or being dialled."""

MIN_ADDRESS_SPACE: Final = 64 << 30
"""Each machine that runs a script reserves 4 GiB of addresses, not memory, and several run at a time."""


class SystemLimitError(CommandError):
    """The system grants this process less than a node needs; the message says what to raise."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files as far as the system allows; how many there may be. SystemLimitError."""
    soft, hard = (_finite(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    wanted = min(hard, MAX_DESCRIPTORS)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            soft = wanted
        except (OSError, ValueError) as error:
            log.warning("the limit of open files cannot be raised", limit=soft, reason=str(error))
    if soft < MIN_DESCRIPTORS:
        raise SystemLimitError(f"{soft} open files are allowed, the node needs {MIN_DESCRIPTORS}; see `ulimit -n`")
    return min(soft, MAX_DESCRIPTORS)


def connections_within(limit: int, processes: int | None = None) -> int:
    """How many connections there may be at a time when `limit` files may be open: what the node itself needs is left
    over. `processes` run scripts, None: one for each processor."""
    count = (processes or os.cpu_count() or 1) + 2
    own = _OTHERS + _DATABASES + _SEGMENTS + _PER_PROCESS * count + limit // _DATABASE_SHARE
    return max(limit - own, limit // 4)


def peers_share(connections: int, max_peers: int) -> int:
    """Of all connections those for peers: what is configured, newcomers, and some to look at addresses; at most half,
    since the rest is RPC's."""
    return min(2 * max_peers + PEER_RESERVE, connections // 2)


def require_address_space() -> None:
    """Raise the soft limit as far as the system allows. Raises SystemLimitError when scripts could not run within."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY and hard < MIN_ADDRESS_SPACE:
        raise SystemLimitError(
            f"the address space is limited to {hard >> 20} MiB, and machines for scripts reserve "
            f"{MIN_ADDRESS_SPACE >> 20} MiB of it (not memory); see `ulimit -v`"
        )
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _finite(limit: int) -> int:
    return MAX_DESCRIPTORS if limit == resource.RLIM_INFINITY else limit
