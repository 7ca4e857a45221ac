"""What an attack is: a lie, and what it costs the liar; and what many lies are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from network.limits import RELAY, SYNC, ProtocolSpec
from network.peer import Peer
from tests.simulation.sync.impostor import Impostor, Message

SHORT: Final = 300
LONGER: Final = 600
THREE_DAYS: Final = 3 * 24 * 3600

Strike = Callable[[Impostor, Peer], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """`strike` is called when all `protocols` are open. The victim bans for `ban` seconds, or not at all with 0; the
    reason begins with `reason`. `patience`: seconds until then."""

    name: str
    strike: Strike
    ban: int = SHORT
    reason: str = ""
    patience: float = 20.0
    protocols: Sequence[ProtocolSpec] = (SYNC, RELAY)

    def __str__(self) -> str:
        return self.name


def attacks(
    rows: Sequence[tuple[str, Strike, str]], protocols: Sequence[ProtocolSpec] = (SYNC, RELAY)
) -> Sequence[Attack]:
    """Of name, strike and begin of the reason; an empty one: it costs nothing."""
    return [
        Attack(name=name, strike=strike, reason=reason, ban=SHORT if reason else 0, protocols=protocols)
        for name, strike, reason in rows
    ]


def says(*make: Callable[[Impostor], Message]) -> Strike:
    """Messages, one after the other."""

    def strike(evil: Impostor, peer: Peer) -> None:
        for each in make:
            evil.say(peer, each(evil))

    return strike


def sends_raw(protocol: ProtocolSpec, payload: bytes) -> Strike:
    """Bytes that may be no message."""

    def strike(_: Impostor, peer: Peer) -> None:
        peer.send(protocol, payload)

    return strike


def floods(count: int, every: float, make: Callable[[int], Message]) -> Strike:
    """So many messages, one each so many seconds."""

    def strike(evil: Impostor, peer: Peer) -> None:
        for number in range(count):
            evil.say_later(number * every, peer, make(number))

    return strike


def hashes(count: int) -> list[bytes]:
    """Of nothing; all different."""
    return [number.to_bytes(32, "big") for number in range(1, count + 1)]


def short_ids(count: int) -> list[bytes]:
    """Of nothing; all different."""
    return [number.to_bytes(10, "big") for number in range(1, count + 1)]
