"""How a pool splits the nonce, writes targets and wants shares: told by what it answers to `mining.subscribe`.

Pools differ, and name no version. Four forms are known:

- the common one, also of the Antminer K7: `[null, nonce1, nonce2 size]`, big-endian targets, shares of three fields;
- Goldshell's: `[[subscriptions…], session, 4]`, little-endian targets, shares of five with the nonce last, of which
  bytes that are left out in front are zero;
- NiceHash's EthereumStratum: `[[method, session, "EthereumStratum/1.0.0"], nonce1]`, else like the common one;
- the one before `mining.*` (`ckb_submitLogin`): an error, and then another way to log in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from ckb_node.miner.work import NONCE_SIZE

GOLDSHELL_PREFIX: Final = bytes(8)
"""A nonce of eight bytes is what such devices have."""
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_NICEHASH: Final = "EthereumStratum/"
_UNUSED_FIELD: Final = "00000000"


class PoolError(Exception):
    """A pool's message cannot be understood, or asks for what cannot be done."""


class PoolForm(Enum):
    """See above."""

    COMMON = "common"
    GOLDSHELL = "Goldshell"
    NICEHASH = "NiceHash"
    GET_WORK = "ckb_submitLogin"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A pool's form, and the nonce's first bytes."""

    form: PoolForm
    prefix: bytes

    @property
    def has_little_endian_targets(self) -> bool:
        return self.form is PoolForm.GOLDSHELL

    def with_prefix(self, prefix: bytes) -> Subscription:
        """The same with other first bytes, where the form has any."""
        return self if self.form is PoolForm.GOLDSHELL else Subscription(self.form, prefix)

    def share(self, user: str, job: str, nonce: bytes) -> Sequence[str]:
        """The parameters of `mining.submit`."""
        tail = nonce[len(self.prefix) :].hex()
        if self.form is PoolForm.GOLDSHELL:
            return [user, job, _UNUSED_FIELD, _UNUSED_FIELD, tail]
        return [user, job, tail]


def read_subscription(result: Any) -> Subscription:
    """From the answer to `mining.subscribe`. Raises PoolError."""
    match result:
        case [[_, _, str(name), *_], str(nonce1), *_] if name.startswith(_NICEHASH):
            return Subscription(PoolForm.NICEHASH, read_prefix(nonce1, None))
        case [list(), str(), int() | None, *_]:
            return Subscription(PoolForm.GOLDSHELL, GOLDSHELL_PREFIX)
        case [_, str(nonce1), int(size), *_]:
            return Subscription(PoolForm.COMMON, read_prefix(nonce1, size))
    raise PoolError("the answer to mining.subscribe has no known form")


def read_prefix(nonce1: Any, size: Any) -> bytes:
    """nonce1's bytes, which with `size` bytes of nonce2 must make a nonce; None leaves the rest to us. PoolError."""
    if not isinstance(nonce1, str) or len(nonce1) > 2 * NONCE_SIZE or not _HEX.fullmatch(nonce1.removeprefix("0x")):
        raise PoolError("nonce1 is no text of hexadecimal bytes")
    prefix = bytes.fromhex(nonce1.removeprefix("0x"))
    rest = NONCE_SIZE - len(prefix)
    if rest < 1 or (size is not None and size != rest):
        raise PoolError(f"nonce1 has {len(prefix)} bytes and nonce2 {size}: together they must be {NONCE_SIZE}")
    return prefix
