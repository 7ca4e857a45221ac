"""Hosts behind routers: from outside only that gets in to which the host has sent something lately."""

from __future__ import annotations

import random
from typing import Final

from network.transport import Dialling
from tests.simulation.clock import Clock, SimTimer
from tests.simulation.wires import CONNECT_TIMEOUT, Cable, End, Wires

HOLE_SECONDS: Final = 60.0
"""A router remembers for so long to whom its host has sent something."""

Way = tuple[str, int, str, int]
"""From a host and its port to a host and its port. Routers keep ports as they are."""


class NatDial(SimTimer):
    """An attempt to connect to or from a host behind a router."""

    def __init__(self, wires: NatWires, way: Way, dialling: Dialling) -> None:
        super().__init__(lambda: None)
        self.way, self.dialling = way, dialling
        self._wires = wires

    def cancel(self) -> None:
        self._wires.forget(self)


class NatWires(Wires):
    """Cables, and routers in front of some hosts."""

    def __init__(self, clock: Clock, rng: random.Random, cable: Cable | None = None) -> None:
        super().__init__(clock, rng, cable)
        self._behind: Final = set[str]()
        self._holes: Final = dict[Way, float]()
        self._dials: Final = dict[Way, NatDial]()

    def put_behind_router(self, ip: str) -> None:
        self._behind.add(ip)

    def connect(self, host: str, ip: str, port: int, dialling: Dialling, source_port: int | None = None) -> SimTimer:
        if host not in self._behind and ip not in self._behind:
            return super().connect(host, ip, port, dialling, source_port)
        dial = NatDial(self, (host, self._port(host) if source_port is None else source_port, ip, port), dialling)
        self._dials[dial.way] = dial
        self._holes[dial.way] = self.clock.now()
        self.clock.call_later(self.cable.latency + self.cable.jitter * self.rng.random(), lambda: self._arrive(dial))
        self.clock.call_later(CONNECT_TIMEOUT, lambda: self._give_up(dial))
        return dial

    def forget(self, dial: NatDial) -> bool:
        """Whether the attempt went on."""
        if self._dials.get(dial.way) is not dial:
            return False
        del self._dials[dial.way]
        return True

    def _give_up(self, dial: NatDial) -> None:
        if self.forget(dial):
            dial.dialling.failed("timed out")

    def _arrive(self, dial: NatDial) -> None:
        """The first packet of an attempt has come to the other end, or to its router."""
        host, source_port, ip, port = dial.way
        back = (ip, port, host, source_port)
        other = self._dials.get(back)
        is_let_in = ip not in self._behind or self.clock.now() - self._holes.get(back, -HOLE_SECONDS) < HOLE_SECONDS
        if not is_let_in or not self.forget(dial):
            return
        if other is None:
            self._connected(host, source_port, ip, port, dial.dialling)
        elif self.forget(other):
            self._join(dial, other)

    def _join(self, dial: NatDial, other: NatDial) -> None:
        """Both have dialled each other: one connection."""
        near, far = End(self, dial.way[0]), End(self, dial.way[2])
        near.other, far.other = far, near
        self.ends[near] = self.ends[far] = None
        far.take(other.dialling.connected(far))
        near.take(dial.dialling.connected(near))
