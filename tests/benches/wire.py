"""The wires on loopback: two processes, each with the node's sockets, switch and state machines.

First the CKB wire, then libp2p, where that is installed, with the same messages on Sync.

`python -m tests.benches.wire` (or `make bench-wire`). Rates are the median of several turns; figures named cpu_ are of
both processes together, and say more on a busy machine. The wire alone, both ends in one process: names with core_.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil

from network.ckb_wire.connection import WireConnection
from network.ckb_wire.events import Ended, Established, Opened, Received
from network.ckb_wire.secio import SecioHandshake
from network.identity import Identity, new_identity
from network.io.stream import Stream, receive_buffer
from network.libp2p.names import Libp2pAddress, parse_address
from network.libp2p.service import INSTALL, is_installed
from network.limits import ALL_PROTOCOLS, DISCOVERY, SYNC, ProtocolSpec
from network.multiaddr import Multiaddr
from network.peer import Direction, Peer
from tests.benches.wire_node import COUNT_SIZE, Idle, make_layer, make_libp2p
from tests.support.report import Report

TURNS = 5
IN_FLIGHT_BYTES = 8 << 20
MAX_IN_FLIGHT = 4000
BATCH = 100
HALF_WINDOW = 512 << 10
IDLE_SESSIONS = 200
HANDSHAKES = 400
AT_ONCE = 8
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def noise(size: int) -> bytes:
    """What does not compress."""
    return Random(size).randbytes(size)


def like_blocks(size: int) -> bytes:
    """What compresses to six tenths, as blocks of transactions do."""
    source = Random(size)
    return b"".join(source.randbytes(90) + bytes(40) + b"\4\0\0\0" * 8 for _ in range(size // 162 + 1))[:size]


@dataclass(frozen=True)
class Load:
    """Messages of one kind; `name` ends the names of its figures."""

    name: str
    protocol: ProtocolSpec
    payload: bytes
    count: int
    is_small: bool

    def with_count(self) -> bytes:
        return self.count.to_bytes(COUNT_SIZE, "little") + self.payload[COUNT_SIZE:]


LOADS = (
    Load("300b", DISCOVERY, noise(300), 60_000, True),
    Load("30k", DISCOVERY, noise(30_000), 8_000, True),
    Load("500k", DISCOVERY, noise(500_000), 600, False),
    Load("500k_noise_flagged", SYNC, noise(500_000), 600, False),
    Load("500k_compressed", SYNC, like_blocks(500_000), 400, False),
)


LIBP2P_LOADS = (
    Load("300b_libp2p", SYNC, noise(300), 20_000, True),
    Load("30k_libp2p", SYNC, noise(30_000), 1_500, True),
    Load("500k_libp2p", SYNC, noise(500_000), 100, False),
)


def main() -> None:
    report = Report("wire")
    with node_process(DISCOVERY, SYNC) as node:
        rates = asyncio.run(measure_loopback(report, node))
    if is_installed():
        with libp2p_process() as (node, address):
            over_libp2p = asyncio.run(measure_libp2p(report, node, address))
        share = over_libp2p["500k_libp2p"] / rates["500k_noise_flagged"]
        report.add("libp2p_share_500k", share, "sync over libp2p as a part of that over the CKB wire")
    else:
        print(f"libp2p is not measured: {INSTALL}")
    with node_process() as node:
        asyncio.run(measure_connections(report, node))
    measure_core(report)
    report.write()


@dataclass(frozen=True)
class Node:
    """The other process."""

    pid: int
    address: Multiaddr

    def cpu_seconds(self) -> float:
        """With the processes that it has started, which it keeps."""
        return sum(
            cpu_seconds(each) for each in (self.pid, *(child.pid for child in psutil.Process(self.pid).children()))
        )

    def memory(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


@contextmanager
def libp2p_process() -> Iterator[tuple[Node, Libp2pAddress]]:
    """It counts what comes on Sync."""
    command = [sys.executable, "-m", "tests.benches.wire_node", str(SYNC.id), "libp2p"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        address = parse_address(process.stdout.readline().strip())
        yield Node(process.pid, address.address), address
        process.stdin.close()


@contextmanager
def node_process(*counting: ProtocolSpec) -> Iterator[Node]:
    command = [sys.executable, "-m", "tests.benches.wire_node", *(str(protocol.id) for protocol in counting)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port, peer_id = process.stdout.readline().split()
        yield Node(process.pid, Multiaddr.parse(f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id}"))
        process.stdin.close()


# --- messages ---


class Pump(Idle):
    """Sends as fast as the other node takes."""

    def __init__(self, protocol: ProtocolSpec) -> None:
        super().__init__(protocol)
        self.peer: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._payload = b""
        self._total = self._sent = self._taken = 0
        self._window = 0

    def opened(self, peer: Peer) -> None:
        self.peer.set_result(peer)

    def closed(self, peer: Peer) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError("the session has ended"))

    def received(self, peer: Peer, payload: bytes) -> None:
        self._taken = int.from_bytes(payload, "little")
        if self._taken == self._total:
            self._done.set_result(None)
        else:
            self._send_more(peer)

    async def run(self, load: Load) -> None:
        peer = await self.peer
        self._done = asyncio.get_running_loop().create_future()
        self._payload, self._total, self._sent, self._taken = load.with_count(), load.count, 0, 0
        self._window = min(MAX_IN_FLIGHT, max(4, IN_FLIGHT_BYTES // len(load.payload)))
        self._send_more(peer)
        await self._done

    def _send_more(self, peer: Peer) -> None:
        end = min(self._total, self._taken + self._window, self._sent + BATCH)
        while self._sent < end:
            peer.send(self.protocol, self._payload)
            self._sent += 1
        if self._sent < min(self._total, self._taken + self._window):
            asyncio.get_running_loop().call_soon(self._send_more, peer)


async def measure_loopback(report: Report, node: Node) -> dict[str, float]:
    """Messages a second, by the name of the load."""
    async with asyncio.TaskGroup() as tasks:
        pumps = {protocol: Pump(protocol) for protocol in (DISCOVERY, SYNC)}
        switch = make_layer(new_identity(), tasks, receive_buffer(), list(pumps.values())).switch
        proven: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        assert switch.dial(node.address, on_end=proven.set_result) is None
        assert await proven is None
        (session,) = switch.peers()
        for protocol in pumps:
            session.open(protocol)

        def cpu() -> float:
            return time.process_time() + node.cpu_seconds()

        rates = {load.name: await measure_load(report, cpu, pumps[load.protocol], load) for load in LOADS}
        switch.close()
    return rates


async def measure_libp2p(report: Report, node: Node, address: Libp2pAddress) -> dict[str, float]:
    """As above, with the libp2p process of each side between."""
    identity, pump = new_identity(), Pump(SYNC)
    async with asyncio.TaskGroup() as tasks:
        layer = make_layer(identity, tasks, receive_buffer(), [pump])
        libp2p = make_libp2p(identity)
        running = tasks.create_task(libp2p.run(layer))
        libp2p.add(address)
        await pump.peer
        assert libp2p.process is not None
        pid = libp2p.process.pid

        def cpu() -> float:
            return time.process_time() + cpu_seconds(pid) + node.cpu_seconds()

        rates = {load.name: await measure_load(report, cpu, pump, load) for load in LIBP2P_LOADS}
        layer.switch.close()
        running.cancel()
    return rates


async def measure_load(report: Report, cpu_of_all: Callable[[], float], pump: Pump, load: Load) -> float:
    """Messages a second."""
    walls, cpus = list[float](), list[float]()
    for _ in range(TURNS):
        wall, cpu = time.perf_counter(), cpu_of_all()
        await pump.run(load)
        walls.append(time.perf_counter() - wall)
        cpus.append(cpu_of_all() - cpu)
    each, cpu_each = statistics.median(walls) / load.count, statistics.median(cpus) / load.count
    size = f"{len(load.payload):,} bytes"
    if load.is_small:
        report.add(f"messages_per_s_{load.name}", 1 / each, f"messages of {size}, one connection")
    else:
        report.add(
            f"mb_per_s_{load.name}", len(load.payload) / each / 1e6, f"messages of {size} on {load.protocol.name}"
        )
    report.add(f"cpu_us_{load.name}", cpu_each * 1e6, "CPU of all processes for each of them")
    return 1 / each


# --- connections ---


class Dialler:
    """The wire of one connection on a socket, without a switch. It opens all protocols if it is to stay."""

    def __init__(self, identity: Identity, *, stays: bool) -> None:
        loop = asyncio.get_running_loop()
        self.is_ready: asyncio.Future[None] = loop.create_future()
        self.is_gone: asyncio.Future[None] = loop.create_future()
        self._stays = stays
        self._opened = 0
        self._stream: Stream | None = None
        handshake = SecioHandshake(identity, entropy=os.urandom)
        self._wire = WireConnection(handshake, Direction.OUTBOUND, ALL_PROTOCOLS, now=loop.time())

    def start(self, stream: Stream) -> Dialler:
        self._stream = stream
        self._write()
        return self

    def receive(self, data: memoryview) -> None:
        now = asyncio.get_running_loop().time()
        for event in self._wire.receive(data, now):
            if isinstance(event, Established):
                for protocol in ALL_PROTOCOLS if self._stays else ():
                    self._wire.open(protocol, now)
            self._opened += isinstance(event, Opened)
            assert not isinstance(event, Ended), event
            if not self.is_ready.done() and (not self._stays or self._opened == len(ALL_PROTOCOLS)):
                self.is_ready.set_result(None)
        self._write()

    def end_of_stream(self) -> None:
        self.close()

    def lost(self, reason: str) -> None:
        self.is_gone.set_result(None)

    def close(self) -> None:
        assert self._stream is not None
        self._stream.close()

    def _write(self) -> None:
        assert self._stream is not None
        self._stream.write(self._wire.data_to_send())


async def dialled(node: Node, buffer: memoryview, *, stays: bool) -> Dialler:
    dialler = Dialler(new_identity(), stays=stays)
    loop = asyncio.get_running_loop()
    assert node.address.port is not None
    await loop.create_connection(lambda: Stream(buffer, dialler.start), str(node.address.ip), node.address.port)
    await dialler.is_ready
    return dialler


async def measure_connections(report: Report, node: Node) -> None:
    buffer = receive_buffer()

    async def come_and_go() -> None:
        for _ in range(HANDSHAKES // AT_ONCE):
            dialler = await dialled(node, buffer, stays=False)
            dialler.close()
            await dialler.is_gone

    async def at_once() -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(come_and_go())

    await at_once()
    walls = list[float]()
    for _ in range(TURNS):
        start = time.perf_counter()
        await at_once()
        walls.append(time.perf_counter() - start)
    rate = HANDSHAKES / statistics.median(walls)
    report.add("handshakes_per_s", rate, f"connections with a new key each, {AT_ONCE} at once: dial, prove, close")
    before = node.memory()
    diallers = [await dialled(node, buffer, stays=True) for _ in range(IDLE_SESSIONS)]
    grown = node.memory() - before
    report.add("idle_session_kib", grown / IDLE_SESSIONS / 1024, "memory of a session with all protocols open")
    for dialler in diallers:
        dialler.close()


# --- the wire alone ---


def measure_core(report: Report) -> None:
    """CPU time of each end for a message, without sockets."""
    ends = [
        WireConnection(SecioHandshake(new_identity(), entropy=os.urandom), direction, ALL_PROTOCOLS, now=0.0)
        for direction in (Direction.OUTBOUND, Direction.INBOUND)
    ]
    sender, receiver = ends
    carry_all(sender, receiver)
    for protocol in (DISCOVERY, SYNC):
        sender.open(protocol, 0.0)
    carry_all(sender, receiver)
    for load in LOADS:
        batch = max(1, min(BATCH, HALF_WINDOW // len(load.payload)))
        sent, received = core_times(sender, receiver, load, batch)
        report.add(f"core_send_us_{load.name}", sent * 1e6, f"CPU to frame and seal one, {batch} at once")
        report.add(f"core_receive_us_{load.name}", received * 1e6, "CPU to open one")


def core_times(sender: WireConnection, receiver: WireConnection, load: Load, batch: int) -> tuple[float, float]:
    sending, receiving = list[float](), list[float]()
    for _ in range(TURNS):
        spent = [0.0, 0.0]
        rounds = load.count // batch // 4
        for _ in range(rounds):
            start = time.process_time()
            for _ in range(batch):
                sender.send(load.protocol, load.payload, 0.0)
            records = sender.data_to_send()
            middle = time.process_time()
            events = [event for record in records for event in receiver.receive(memoryview(record), 0.0)]
            end = time.process_time()
            assert len(events) == batch
            assert all(isinstance(event, Received) for event in events)
            spent[0] += middle - start
            spent[1] += end - middle
            carry_all(sender, receiver)
        sending.append(spent[0] / rounds / batch)
        receiving.append(spent[1] / rounds / batch)
    return statistics.median(sending), statistics.median(receiving)


def carry_all(one: WireConnection, other: WireConnection) -> None:
    """Until neither has anything to send."""

    def carry(source: WireConnection, target: WireConnection) -> int:
        data = b"".join(source.data_to_send())
        target.receive(memoryview(data), 0.0)
        return len(data)

    ways: tuple[Callable[[], int], ...] = (lambda: carry(one, other), lambda: carry(other, one))
    while sum(way() for way in ways):
        pass


if __name__ == "__main__":
    main()
