"""What an attack is: a lie, and what it costs the liar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from network.peer import Peer
from tests.simulation.sync.impostor import Impostor

SHORT: Final = 300
LONGER: Final = 600
THREE_DAYS: Final = 3 * 24 * 3600

Strike = Callable[[Impostor, Peer], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """`strike` is called when both protocols are open. The victim bans for `ban` seconds, or not at all with 0; the
    reason begins with `reason`. `patience`: seconds until then."""

    name: str
    strike: Strike
    ban: int = SHORT
    reason: str = ""
    patience: float = 20.0

    def __str__(self) -> str:
        return self.name
