"""Yamux: many streams on one connection, each with windows of its own."""

from network.ckb_wire.yamux.errors import YamuxError, YamuxFault
from network.ckb_wire.yamux.frames import GoAwayCode
from network.ckb_wire.yamux.session import Session, YamuxLimits
from network.ckb_wire.yamux.stream import Stream, StreamConsumer

__all__ = ["GoAwayCode", "Session", "Stream", "StreamConsumer", "YamuxError", "YamuxFault", "YamuxLimits"]
