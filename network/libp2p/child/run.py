"""The libp2p process at work: it hears the node and its peers until the node says stop, or is gone."""

from __future__ import annotations

import os
import resource
import socket
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import trio
from libp2p.peer.id import ID

from network.libp2p.child.connections import Connections
from network.libp2p.child.gossip import Topics
from network.libp2p.child.host import DIAL_TIMEOUT, HANDSHAKE_TIMEOUT, Admission, make_host, parse
from network.libp2p.child.pipe import Pipe
from network.libp2p.messages import (
    CONTROL,
    TO_CONNECTION,
    TO_PROCESS,
    VERSION,
    Dial,
    DialEnded,
    Failed,
    Hello,
    Publish,
    Ready,
    Stats,
    Stop,
    Verdict,
    decode,
)

HELLO_TIMEOUT: Final = 30.0
STATS_INTERVAL: Final = 1.0
LOOKS: Final = 4
"""At memory and greedy peers, in that time."""
RESERVE: Final = 8
"""The process ends when less than this part of the memory that it may have is left: what the library makes of a
MemoryError in any of its tasks nobody knows."""
EXIT_MEMORY: Final = 4
MAX_REASON: Final = 200
_PAGE: Final = 4096


class CannotListen(Exception):  # noqa: N818 - the condition is its name, as in network.framing
    """An address is taken, or not of this machine."""


def run(end: socket.socket) -> None:
    """Until the node stops it. Raises what the library raises."""
    trio.run(_run, end)


async def _run(end: socket.socket) -> None:
    pipe = Pipe(end)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.write_forever)
        records = pipe.records()
        with trio.fail_after(HELLO_TIMEOUT):
            _, body = await anext(records)
        hello = decode(TO_PROCESS, body)
        if not isinstance(hello, Hello) or hello.version != VERSION:
            pipe.send(CONTROL, Failed(f"the node speaks another version than {VERSION}"))
        else:
            await Process(hello, pipe).serve(records)
        with trio.move_on_after(1.0):
            await pipe.flushed()
        nursery.cancel_scope.cancel()


class Process:
    """With one host."""

    def __init__(self, hello: Hello, pipe: Pipe) -> None:
        self._hello, self._pipe = hello, pipe
        self._host: Final = make_host(hello)
        self._network: Final = self._host.get_network()
        self._admission: Final = Admission(self._network, hello)

    async def serve(self, records: Any) -> None:
        """Until Stop."""
        try:
            for address in self._hello.listen:
                probe(address)
        except CannotListen as error:
            self._pipe.send(CONTROL, Failed(str(error)))
            return
        async with self._host.run(listen_addrs=[]), trio.open_nursery() as nursery:
            connections = Connections(self._host, self._pipe, dict(self._hello.protocols), nursery)
            topics = Topics(self._host, self._pipe, dict(self._hello.topics), connections.of_peer)
            connections.moved = topics.moved
            async with topics.running(nursery):
                await self._listen()
                nursery.start_soon(self._watch, connections)
                await self._hear(records, connections, topics, nursery)
                with trio.move_on_after(3.0):
                    await connections.end_all()
                nursery.cancel_scope.cancel()

    async def _listen(self) -> None:
        addresses = [parse(text) for text in self._hello.listen]
        if addresses:
            await self._network.listen(*addresses)
        bound = [str(each) for listener in self._network.listeners.values() for each in listener.get_addrs()]
        if len(self._network.listeners) < len(addresses):
            raise CannotListen("cannot listen on all of " + ", ".join(self._hello.listen))
        peer = self._host.get_id().to_bytes()
        self._pipe.send(CONTROL, Ready(VERSION, f"py-libp2p {version('libp2p')}", peer, bound))

    async def _hear(self, records: Any, connections: Connections, topics: Topics, nursery: trio.Nursery) -> None:
        async for conn, body in records:
            if conn != CONTROL:
                connections.take(conn, decode(TO_CONNECTION, body))
                continue
            message = decode(TO_PROCESS, body)
            match message:
                case Stop():
                    return
                case Dial():
                    nursery.start_soon(self._dial, message)
                case Publish(topic, data):
                    nursery.start_soon(topics.publish, topic, data)
                case Verdict(number, is_good):
                    topics.verdict(number, is_good=is_good)

    async def _dial(self, dial: Dial) -> None:
        reason: str | None = None
        try:
            address = parse(dial.address)
            peer = address.get_peer_id()
            with trio.fail_after(DIAL_TIMEOUT + HANDSHAKE_TIMEOUT):
                await self._network.dial_addr(address, id_of(peer))
        except Exception as error:  # noqa: BLE001 - whatever the other end has caused
            cause = error.__cause__ or error
            reason = f"{error}: {cause}"[:MAX_REASON] if cause is not error else str(error)[:MAX_REASON]
        self._pipe.send(CONTROL, DialEnded(dial.ticket, reason))

    async def _watch(self, connections: Connections) -> None:
        while True:
            dropped = self._admission.dropped + connections.dropped
            self._pipe.send(CONTROL, Stats(memory(), len(connections), self._admission.handshakes, dropped))
            for _ in range(LOOKS):
                connections.drop_greedy()
                await self._end_without_memory()
                await trio.sleep(STATS_INTERVAL / LOOKS)

    async def _end_without_memory(self) -> None:
        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most == resource.RLIM_INFINITY or pages(0) * _PAGE < most - most // RESERVE:
            return
        self._pipe.send(CONTROL, Failed(f"its memory is used up: {most} bytes"))
        with trio.move_on_after(1.0):
            await self._pipe.flushed()
        os._exit(EXIT_MEMORY)  # there may be too little left to end in order


def id_of(text: str) -> Any:
    """A peer id of the library."""
    return ID.from_string(text)


def memory() -> int:
    """Bytes that this process has resident; 0 where the system does not tell."""
    return pages(1) * _PAGE


def pages(field: int) -> int:
    """Of the process' address space (0), or of its resident memory (1); 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[field])
    except OSError:
        return 0


def probe(address: str) -> None:
    """The library shares ports, so it would not notice that one is taken. Raises CannotListen."""
    words = address.split("/")
    family = socket.AF_INET6 if words[1] == "ip6" else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as test:
        test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            test.bind((words[2], int(words[4])))
            test.listen(1)
        except OSError as error:
            raise CannotListen(f"cannot listen on {address}: {error.strerror}") from None
