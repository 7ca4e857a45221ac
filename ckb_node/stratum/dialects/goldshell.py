"""Goldshell (intminer) and NerdMiner: a nested answer to subscribe, little-endian targets, set_difficulty beside
set_target, shares of five fields whose last is the whole nonce, filled up with zeros in front.

Nothing of ours is in that nonce, so that each of these miners gets headers with a time of its own.
"""

from __future__ import annotations

from typing import Final

from ckb_node.stratum.dialects.dialect import (
    POOL_CODES,
    BadMessageError,
    Dialect,
    Hello,
    Request,
    Submitted,
    Task,
    hex_bytes,
    push,
)
from ckb_node.stratum.nonces import NONCE_BYTES
from ckb_node.stratum.vardiff import shown_difficulty

NONCE2_BYTES: Final = 4
_AGENTS: Final = ("intminer", "goldshell", "nerdminer")
_SESSION_BYTES: Final = 4


def _little_endian(target: int) -> str:
    return target.to_bytes(32, "little").hex()


class Goldshell(Dialect):
    """Agents with intminer, Goldshell or NerdMiner in them."""

    name = "goldshell"
    nonce1_size = 0
    has_target_in_job = True
    codes = POOL_CODES

    def is_spoken_by(self, hello: Hello) -> bool:
        agent = hello.agent.lower()
        return any(each in agent for each in _AGENTS)

    def subscribed(self, hello: Hello, nonce1: bytes) -> object:
        """A session that the miner names goes on."""
        session = "00" * _SESSION_BYTES
        if len(hello.params) > 1 and isinstance(hello.params[1], str):
            session = _session(hello.params[1]) or session
        topics = [["mining.set_difficulty", session], ["mining.notify", session]]
        return [topics, session, NONCE2_BYTES]

    def read_share(self, request: Request, nonce1: bytes) -> Submitted:
        user, key = self.user_of_share(request), request.text(1, "the job", 64)
        if len(request.items) < 5:
            raise BadMessageError("a share has five fields")
        nonce = hex_bytes(request.items[4], "the nonce", NONCE_BYTES)
        return Submitted(user, key, nonce.rjust(NONCE_BYTES, b"\0"))

    def target(self, target: int) -> bytes:
        told = push("mining.set_target", [_little_endian(target)])
        return told + push("mining.set_difficulty", [shown_difficulty(target)])

    def fourth(self, task: Task) -> str:
        return _little_endian(task.target)


def _session(text: str) -> str | None:
    try:
        return hex_bytes(text, "the session", _SESSION_BYTES).hex()
    except BadMessageError:
        return None
