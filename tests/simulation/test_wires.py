"""The simulated cables carry bytes as TCP does."""

from __future__ import annotations

from random import Random

import pytest

from network.multiaddr import Multiaddr
from network.transport import Link
from tests.simulation.clock import Clock
from tests.simulation.wires import RECEIVE_WINDOW, Cable, Wires

ONE, TWO = "80.1.1.1", "80.2.1.1"


class Ear:
    """Notes what a connection brings. Satisfies network.transport.Receiver and Dialling."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.link: Link | None = None
        self.got: list[tuple[float, bytes]] = []
        self.ends: list[str] = []

    def connected(self, link: Link) -> Ear:
        self.link = link
        return self

    def failed(self, reason: str) -> None:
        self.ends.append(f"failed: {reason}")

    def receive(self, data: memoryview) -> None:
        self.got.append((self._clock.now(), bytes(data)))

    def end_of_stream(self) -> None:
        self.ends.append("end of stream")

    def lost(self, reason: str) -> None:
        self.ends.append(f"lost: {reason}")

    @property
    def bytes_got(self) -> bytes:
        return b"".join(data for _, data in self.got)

    @property
    def line(self) -> Link:
        assert self.link is not None
        return self.link


class Host:
    """Accepts everything."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ears: list[Ear] = []
        self.addresses: list[Multiaddr] = []

    def accepted(self, link: Link, address: Multiaddr) -> Ear:
        self.ears.append(Ear(self._clock).connected(link))
        self.addresses.append(address)
        return self.ears[-1]


class Kit:
    def __init__(self, cable: Cable | None = None, seed: int = 1) -> None:
        self.clock = Clock()
        self.wires = Wires(self.clock, Random(seed), cable)
        self.host = Host(self.clock)
        self.wires.listen(TWO, 8115, self.host)

    def dial(self) -> Ear:
        ear = Ear(self.clock)
        self.wires.connect(ONE, TWO, 8115, ear)
        return ear

    def pair(self) -> tuple[Ear, Ear]:
        near = self.dial()
        self.clock.run_for(5)
        return near, self.host.ears[-1]


def test_bytes_stay_in_order_and_take_their_time() -> None:
    kit = Kit(Cable(latency=0.1, jitter=0.1, bandwidth=1000.0))
    near, far = kit.pair()
    begin = kit.clock.now()
    pieces = [bytes([number]) * 10 for number in range(100)]
    for piece in pieces:
        near.line.write([piece])
    kit.clock.run_for(10)
    assert far.bytes_got == b"".join(pieces)
    times = [at - begin for at, _ in far.got]
    assert times == sorted(times)
    assert 0.1 < times[0] < 0.22
    assert 1.0 < times[-1] < 1.5


def test_bytes_of_two_connections_overtake_each_other() -> None:
    kit = Kit(Cable(latency=0.1, jitter=0.5))
    first, second = kit.pair(), kit.pair()
    order: list[int] = []
    for turn in range(50):
        for number, (near, _) in enumerate((first, second)):
            near.line.write([b"x"])
            kit.clock.run_for(0.001 if number == 0 else 2.0)
        times = [far.got[turn][0] for _, far in (first, second)]
        order.append(times.index(min(times)))
    assert 0 < sum(order) < 50


def test_what_is_not_read_stays_with_the_sender() -> None:
    kit = Kit()
    near, far = kit.pair()
    far.line.pause_reading()
    near.line.write([bytes(1_000_000)])
    kit.clock.run_for(10)
    assert far.got == []
    assert near.line.buffered_bytes >= 1_000_000 - RECEIVE_WINDOW - 65_536
    far.line.resume_reading()
    kit.clock.run_for(10)
    assert len(far.bytes_got) == 1_000_000
    assert near.line.buffered_bytes == 0


def test_an_end_in_order() -> None:
    kit = Kit()
    near, far = kit.pair()
    near.line.write([b"goodbye"])
    near.line.close()
    near.line.write([b"too late"])
    kit.clock.run_for(1)
    assert far.bytes_got == b"goodbye"
    assert far.ends == ["end of stream"]
    far.line.write([b"and you"])
    far.line.close()
    kit.clock.run_for(1)
    assert near.bytes_got == b"and you"
    assert near.ends == ["end of stream", "lost: closed"]
    assert far.ends == ["end of stream", "lost: closed"]
    assert not kit.wires.ends


def test_an_end_by_force() -> None:
    kit = Kit()
    near, far = kit.pair()
    near.line.write([b"lost"])
    near.line.abort()
    assert near.ends == [], "never within the call"
    kit.clock.run_for(1)
    assert near.ends == ["lost: aborted"]
    assert far.ends == ["lost: reset by peer"]


def test_a_dial_that_nobody_takes() -> None:
    kit = Kit()
    ear = Ear(kit.clock)
    kit.wires.connect(ONE, TWO, 9000, ear)
    assert ear.ends == []
    kit.clock.run_for(1)
    assert ear.ends == ["failed: refused"]


def test_a_dial_that_is_given_up() -> None:
    kit = Kit()
    ear = Ear(kit.clock)
    kit.wires.connect(ONE, TWO, 8115, ear).cancel()
    kit.clock.run_for(10)
    assert ear.ends == []
    assert kit.host.ears == []


def test_parted_hosts_do_not_reach_each_other_until_it_is_mended() -> None:
    kit = Kit()
    near, far = kit.pair()
    kit.wires.part([[ONE], [TWO]])
    near.line.write([b"late"])
    dialled = kit.dial()
    kit.clock.run_for(10)
    assert far.got == []
    assert dialled.ends == ["failed: timed out"]
    kit.wires.mend()
    kit.clock.run_for(1)
    assert far.bytes_got == b"late"


def test_a_host_that_is_unplugged_says_nothing_and_forgets() -> None:
    kit = Kit()
    near, _ = kit.pair()
    kit.wires.unplug(TWO)
    near.line.write([b"is anybody there"])
    kit.clock.run_for(60)
    assert near.ends == []
    kit.wires.listen(TWO, 8115, kit.host)
    kit.clock.run_for(1)
    assert near.ends == ["lost: reset by peer"]


@pytest.mark.parametrize(("cut", "refuse"), [(0.5, 0.0), (0.0, 0.5)])
def test_shares_of_connections_break(cut: float, refuse: float) -> None:
    kit = Kit(Cable(cut=cut, cut_within=10.0, refuse=refuse))
    ears = [kit.dial() for _ in range(200)]
    kit.clock.run_for(20)
    broken = sum(bool(ear.ends) for ear in ears)
    assert 70 < broken < 130


def test_a_lost_packet_is_a_pause() -> None:
    kit = Kit(Cable(latency=0.1, jitter=0.0, loss=0.3))
    near, far = kit.pair()
    begin = kit.clock.now()
    delays = []
    for turn in range(100):
        near.line.write([b"x"])
        sent = kit.clock.now()
        kit.clock.run_for(1)
        delays.append(round(far.got[turn][0] - sent, 2))
    assert kit.clock.now() > begin
    assert set(delays) == {0.1, 0.3}
    assert 15 < delays.count(0.3) < 45


def test_calls_of_one_moment_are_made_in_the_order_of_asking() -> None:
    clock = Clock()
    made: list[int] = []
    for number in range(10):
        clock.call_later(1.0, lambda number=number: made.append(number))  # type: ignore[misc]
    clock.call_later(0.5, lambda: made.append(-1)).cancel()
    clock.run_for(0.9)
    assert made == []
    clock.run_for(0.1)
    assert made == list(range(10))
    assert clock.now() == 1.0


def test_a_clock_runs_while_a_condition_holds() -> None:
    clock = Clock()
    made: list[int] = []
    for number in range(10):
        clock.call_later(float(number), lambda number=number: made.append(number))  # type: ignore[misc]
    assert clock.run_while(lambda: len(made) < 4, limit=100)
    assert clock.now() == 3.0
    assert not clock.run_while(lambda: len(made) < 100, limit=50)
    assert clock.now() == 53.0
