"""Which nonces a thread tries: behind the bytes that the source hands out, and never another thread's."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Final

from ckb_node.miner.work import NONCE_SIZE

COUNTER_SIZE: Final = 8
"""Last bytes of a nonce that the kernel counts up."""
SLICE: Final = 1 << 16
"""Nonces of one call of the kernel, some 20 ms: so late new work is seen."""
_ALWAYS_ENOUGH: Final = 5
"""Bytes of a counter that no CPU gets to the end of while there is one job."""


def slices(
    prefix: bytes, index: int, count: int, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> Iterator[tuple[bytes, int]]:
    """First nonces and how many, for thread `index` of `count`. Bytes between the prefix and the counter are random,
    and so is a long counter's start: several miners of one node do not repeat each other's work."""
    size = min(COUNTER_SIZE, NONCE_SIZE - len(prefix))
    head = prefix + random_bytes(NONCE_SIZE - size - len(prefix))
    span = (1 << 8 * size) // count
    at, end = index * span, (index + 1) * span
    if size >= _ALWAYS_ENOUGH:
        at += int.from_bytes(random_bytes(size), "big") % (span // 2)
    while at < end:
        wanted = min(SLICE, end - at)
        yield head + at.to_bytes(size, "big"), wanted
        at += wanted


def behind(nonce: bytes) -> bytes:
    """The next one; the counter must not be at its end."""
    at = NONCE_SIZE - COUNTER_SIZE
    return nonce[:at] + (int.from_bytes(nonce[at:], "big") + 1).to_bytes(COUNTER_SIZE, "big")


def tried(first: bytes, found: bytes) -> int:
    """Nonces from `first` to `found`, both counted."""
    at = NONCE_SIZE - COUNTER_SIZE
    return int.from_bytes(found[at:], "big") - int.from_bytes(first[at:], "big") + 1
