"""The protocols of the CKB wire, one row each: names, ids, sizes. All numbers are the reference's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import Final

__all__ = [
    "ALERT",
    "ALL_PROTOCOLS",
    "DISCONNECT_MESSAGE",
    "DISCOVERY",
    "FEELER",
    "FILTER",
    "HOLE_PUNCHING",
    "IDENTIFY",
    "LIGHT_CLIENT",
    "MAX_UNCOMPRESSED",
    "PING",
    "RELAY",
    "SYNC",
    "TIME",
    "VERSION",
    "Flags",
    "ProtocolSpec",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB

VERSION: Final = "3"
"""The only version that each protocol offers."""

MAX_UNCOMPRESSED: Final = 8 * MIB
"""Bytes that a compressed message may have after decompression, on any protocol."""


@dataclass(frozen=True, slots=True)
class ProtocolSpec:
    """A protocol: `id` appears in RPC only, `name` on the wire. `max_frame` bytes may stand behind a length, before
    decompression. With `has_flag_byte` a byte before the payload says whether it is compressed; `compresses`: long ones
    of ours are. `config_name` is how `network.support_protocols` calls it.

    `max_unpacked` bytes may come of a compressed message. The reference permits MAX_UNCOMPRESSED everywhere; where no
    honest message is larger than a frame, and what comes is decoded whole, that is the limit here.
    """

    id: int
    name: str
    config_name: str
    max_frame: int
    has_flag_byte: bool
    compresses: bool = True
    max_unpacked: int = MAX_UNCOMPRESSED

    def __hash__(self) -> int:
        """Looked up several times for each message; the dataclass's own costs five times as much."""
        return self.id


PING: Final = ProtocolSpec(0, "/ckb/ping", "Ping", KIB, False)
DISCOVERY: Final = ProtocolSpec(1, "/ckb/discovery", "Discovery", 512 * KIB, False)
IDENTIFY: Final = ProtocolSpec(2, "/ckb/identify", "Identify", 2 * KIB, False)
FEELER: Final = ProtocolSpec(3, "/ckb/flr", "Feeler", KIB, False)
DISCONNECT_MESSAGE: Final = ProtocolSpec(4, "/ckb/disconnectmsg", "DisconnectMessage", KIB, False)
SYNC: Final = ProtocolSpec(100, "/ckb/syn", "Sync", 2 * MIB, True)
RELAY: Final = ProtocolSpec(101, "/ckb/relay3", "Relay", 4 * MIB, True)
TIME: Final = ProtocolSpec(102, "/ckb/tim", "Time", KIB, True, max_unpacked=KIB)
ALERT: Final = ProtocolSpec(110, "/ckb/alt", "Alert", 128 * KIB, True, max_unpacked=128 * KIB)
LIGHT_CLIENT: Final = ProtocolSpec(120, "/ckb/lightclient", "LightClient", 2 * MIB, True)
FILTER: Final = ProtocolSpec(121, "/ckb/filter", "Filter", 2 * MIB, True, compresses=False, max_unpacked=2 * MIB)
HOLE_PUNCHING: Final = ProtocolSpec(130, "/ckb/holepunching", "HolePunching", 512 * KIB, False)

ALL_PROTOCOLS: Final = (
    PING,
    DISCOVERY,
    IDENTIFY,
    FEELER,
    DISCONNECT_MESSAGE,
    SYNC,
    RELAY,
    TIME,
    ALERT,
    LIGHT_CLIENT,
    FILTER,
    HOLE_PUNCHING,
)


class Flags(IntFlag):
    """What a node serves, as Identify and Discovery tell it. A node that tells none serves COMPATIBILITY."""

    COMPATIBILITY = 1
    DISCOVERY = 2
    SYNC = 4
    RELAY = 8
    LIGHT_CLIENT = 16
    BLOCK_FILTER = 32

    @classmethod
    def known(cls, bits: int) -> Flags:
        """Of what a peer sent, without the bits that nobody has a meaning for yet."""
        return cls(bits & _KNOWN_FLAGS)


_KNOWN_FLAGS: Final = (1 << len(Flags)) - 1
