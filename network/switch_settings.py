"""What the switch may hold in all."""

from __future__ import annotations

from dataclasses import dataclass, field

from network.ckb_wire.connection import MAX_SEND_BUFFER
from network.gate import GateLimits
from network.intake import IntakeLimits
from network.limits import MIB

__all__ = ["SwitchSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchSettings:
    """Connections of all kinds; bytes that may wait to be sent to one peer, and to all together; and bytes of messages
    of all peers that are unfinished or put off."""

    max_connections: int = 1024
    max_send_buffer: int = MAX_SEND_BUFFER
    max_send_total: int = 256 * MIB
    max_held_total: int = 256 * MIB
    gate: GateLimits = field(default_factory=GateLimits)
    intake: IntakeLimits = field(default_factory=IntakeLimits)
