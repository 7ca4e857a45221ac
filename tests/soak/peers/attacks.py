"""Attacks on one node, in a process of their own: many connections that each do what no honest peer does."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from network.ckb_wire.secio import SecioHandshake
from network.identity import new_identity
from network.limits import DISCOVERY, PING, SYNC
from network.messages.protocols import SYNC_MESSAGE, GetHeaders
from tests.support.nodes.talker import Over, Target, connect, ping, talking

AGAIN_S = 1.0
"""Before a connection that was refused or lost is made anew."""
TELL_S = 1.0
CHUNK = os.urandom(32 << 10)
HEADERS_ASKED = SYNC_MESSAGE.pack(GetHeaders(hash_stop=bytes(32), block_locator_hashes=[bytes(32)] * 100))

Behaviour = Callable[[Target, socket.socket, Counter[str]], Awaitable[None]]


async def silent(target: Target, connected: socket.socket, counts: Counter[str]) -> None:
    """Says nothing until the node has enough of it."""
    loop = asyncio.get_running_loop()
    while await loop.sock_recv(connected, 4096):
        counts["answers"] += 1


async def stalled(target: Target, connected: socket.socket, counts: Counter[str]) -> None:
    """Begins a handshake, stops at some byte, then sends a byte now and then."""
    loop = asyncio.get_running_loop()
    handshake = SecioHandshake(new_identity(), entropy=os.urandom, expected_peer=target.peer_id)
    start = handshake.data_to_send()
    await loop.sock_sendall(connected, start[: random.randrange(1, len(start))])
    while True:
        await asyncio.sleep(0.5)
        await loop.sock_sendall(connected, b"\0")
        counts["bytes"] += 1


async def garbage(target: Target, connected: socket.socket, counts: Counter[str]) -> None:
    """Random bytes at full speed: half of the connections from the first byte on, half behind a true handshake."""
    loop = asyncio.get_running_loop()
    if random.random() < 0.5:
        handshake = SecioHandshake(new_identity(), entropy=os.urandom, expected_peer=target.peer_id)
        while not handshake.is_done:
            data = handshake.data_to_send()
            if data:
                await loop.sock_sendall(connected, data)
            got = await loop.sock_recv(connected, 4096)
            if not got:
                raise Over("closed")
            handshake.receive(got)
        counts["handshakes"] += 1
    while True:
        await loop.sock_sendall(connected, CHUNK)
        counts["bytes"] += len(CHUNK)


async def deaf(target: Target, connected: socket.socket, counts: Counter[str]) -> None:
    """A peer in order that asks without end and never reads the answers."""
    async with talking(target, connected, (PING, SYNC, DISCOVERY)) as talker:
        counts["sessions"] += 1
        while True:
            for _ in range(16):
                await talker.send(SYNC, HEADERS_ASKED)
            await talker.send(PING, ping(1))
            counts["messages"] += 17
            await asyncio.sleep(0)


async def crowd(target: Target, connected: socket.socket, counts: Counter[str]) -> None:
    """A peer in order, of which there are too many."""
    async with talking(target, connected, (PING, SYNC)) as talker:
        counts["sessions"] += 1
        while True:
            await talker.read()


ATTACKS: dict[str, Behaviour] = {
    "silent": silent,
    "stalled": stalled,
    "garbage": garbage,
    "deaf": deaf,
    "crowd": crowd,
}


async def hold(behaviour: Behaviour, target: Target, source: str, counts: Counter[str]) -> None:
    """One of many connections, again and again."""
    await asyncio.sleep(random.random() * AGAIN_S)
    while True:
        try:
            with await connect(target, source) as connected:
                counts["connections"] += 1
                counts["open"] += 1
                try:
                    await behaviour(target, connected, counts)
                finally:
                    counts["open"] -= 1
        except (OSError, TimeoutError):
            counts["refused"] += 1
        except Over:
            counts["ended"] += 1
        await asyncio.sleep(AGAIN_S)


async def tell(counts: Counter[str]) -> None:
    """A line of figures each second."""
    while True:
        await asyncio.sleep(TELL_S)
        print(json.dumps({"at": time.monotonic(), **counts}), flush=True)


async def attack(name: str, target: Target, sources: Sequence[str], connections: int) -> None:
    """Until killed."""
    counts: Counter[str] = Counter()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(tell(counts))
        for number in range(connections):
            tasks.create_task(hold(ATTACKS[name], target, sources[number % len(sources)], counts))


def spread(first: int, count: int) -> list[str]:
    """Addresses within `first`.0.0.0/8, in as many networks of 16 bits as there are."""
    return [f"{first}.{number % 256}.{number // 256 % 256}.{1 + number % 250}" for number in range(count)]


def main() -> None:
    """Until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=ATTACKS)
    parser.add_argument("target", help="Target as JSON")
    parser.add_argument("first", type=int, help="connections come from this network of 8 bits")
    parser.add_argument("addresses", type=int)
    parser.add_argument("connections", type=int)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    target = Target(**json.loads(options.target))
    sources = spread(options.first, options.addresses)
    asyncio.run(attack(options.name, target, sources, options.connections))


if __name__ == "__main__":
    main()
