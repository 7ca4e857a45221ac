"""Which of CKB's protocols are spoken over libp2p, and how their streams are called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from network.limits import (
    ALERT,
    DISCONNECT_MESSAGE,
    DISCOVERY,
    FILTER,
    LIGHT_CLIENT,
    PING,
    RELAY,
    SYNC,
    TIME,
    Flags,
    ProtocolSpec,
)

__all__ = ["STREAM_VERSION", "flags_of", "plain", "stream_names"]

STREAM_VERSION: Final = "1"
"""The only version of each protocol on libp2p."""

NAMES: Final = {
    SYNC: "sync",
    RELAY: "relay",
    FILTER: "filter",
    LIGHT_CLIENT: "lightclient",
    TIME: "time",
    ALERT: "alert",
    PING: "ping",
    DISCONNECT_MESSAGE: "disconnect",
    DISCOVERY: "discovery",
}
"""Identify, feelers and hole punching are about addresses and keys of the CKB wire. Discovery is about addresses of
libp2p here, see `network/libp2p/exchange.py`."""

_SERVES: Final = {
    SYNC: Flags.SYNC | Flags.COMPATIBILITY,
    RELAY: Flags.RELAY,
    LIGHT_CLIENT: Flags.LIGHT_CLIENT,
    FILTER: Flags.BLOCK_FILTER,
}


def stream_names(network_name: str, spoken: Iterable[ProtocolSpec]) -> dict[ProtocolSpec, str]:
    """`/ckb/92b197aa/sync/1` and kin; `network_name` is `/ckb/92b197aa`."""
    return {spec: f"{network_name}/{NAMES[spec]}/{STREAM_VERSION}" for spec in spoken if spec in NAMES}


def flags_of(protocols: Iterable[ProtocolSpec]) -> Flags:
    """What a node serves that speaks these."""
    flags = Flags(0)
    for spec in protocols:
        flags |= _SERVES.get(spec, Flags(0))
    return flags


def plain(spec: ProtocolSpec) -> ProtocolSpec:
    """How its messages are framed here: behind a length, without a flag byte and never compressed."""
    return replace(spec, has_flag_byte=False, compresses=False)
