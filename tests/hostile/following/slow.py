"""Peers that are slow, deaf, or gone in the middle of something; by hand on the wire, many of them in one process."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from network.limits import ALL_PROTOCOLS, DISCOVERY, FEELER, FILTER, LIGHT_CLIENT, PING, RELAY, SYNC
from network.messages.protocols import (
    RELAY_MESSAGE,
    SYNC_MESSAGE,
    GetBlocks,
    GetHeaders,
    RelayTransactionHashes,
    SendHeaders,
)
from tests.hostile.following.lab import Lab, address_of
from tests.support.nodes.asker import tcp_address
from tests.support.nodes.talker import Over, Talker, Target, connect, talking

AGAIN_S: Final = 0.2
"""Before a connection that was refused or lost is made anew."""
CONNECTIONS: Final = 80

Behaviour = Callable[[Lab, Talker], Awaitable[None]]


async def drip(lab: Lab, talker: Talker) -> None:
    """Half of a message of two megabytes, then a byte a second."""
    del lab
    message = SYNC_MESSAGE.pack(SendHeaders(headers=[])) + os.urandom(1_900_000)
    whole = talker.encoded(SYNC, message)
    half = len(whole) // 2
    await talker.send_raw(whole[:half])
    for at in range(half, len(whole)):
        await talker.send_raw(whole[at : at + 1])
        await asyncio.sleep(1.0)


async def drip_records(lab: Lab, talker: Talker) -> None:
    """Hashes of transactions, each record of the wire byte by byte, a few a second."""
    del lab
    while True:
        hashes = [random.randbytes(32) for _ in range(2)]
        whole = talker.encoded(RELAY, RELAY_MESSAGE.pack(RelayTransactionHashes(tx_hashes=hashes)))
        for at in range(len(whole)):
            await talker.send_raw(whole[at : at + 1])
            await asyncio.sleep(0.02)


async def deaf(lab: Lab, talker: Talker) -> None:
    """Asks for blocks and headers without end and reads nothing."""
    hashes = [each.hash for each in lab.blocks[:32]]
    asked = SYNC_MESSAGE.pack(GetBlocks(block_hashes=hashes))
    genesis = lab.consensus.genesis_hash
    headers = SYNC_MESSAGE.pack(GetHeaders(hash_stop=bytes(32), block_locator_hashes=[genesis]))
    while True:
        await talker.send(SYNC, asked)
        await talker.send(SYNC, headers)
        await asyncio.sleep(0)


async def dies(lab: Lab, talker: Talker) -> None:
    """Gone in the middle of a message, without a word."""
    del lab
    whole = talker.encoded(SYNC, SYNC_MESSAGE.pack(SendHeaders(headers=[])) + os.urandom(1_000_000))
    await talker.send_raw(whole[: random.randrange(1, len(whole))])
    raise Over("dead")


async def toggles(lab: Lab, talker: Talker) -> None:
    """Closes protocols and opens them again."""
    del lab
    choice = [each for each in ALL_PROTOCOLS if each not in (FEELER, SYNC)]
    while True:
        for protocol in random.sample(choice, 4):
            await talker.reopen(protocol)
        await talker.read_for(0.01)


async def floods_and_closes(lab: Lab, talker: Talker) -> None:
    """Announces transactions, then closes Relay and keeps Sync: it is to be asked for nothing."""
    del lab
    await talker.send(
        RELAY, RELAY_MESSAGE.pack(RelayTransactionHashes(tx_hashes=[os.urandom(32) for _ in range(9000)]))
    )
    await talker.close(RELAY)
    await talker.read_for(5.0)


async def idles(lab: Lab, talker: Talker) -> None:
    """Answers no question."""
    del lab
    while True:
        await talker.read()


SLOW: Final[dict[str, Behaviour]] = {
    "Drip": drip,
    "DripRecords": drip_records,
    "Deaf": deaf,
    "DiesInMessage": dies,
    "Toggles": toggles,
    "FloodsAndCloses": floods_and_closes,
    "Idles": idles,
}

OPENED: Final = (PING, DISCOVERY, SYNC, RELAY, LIGHT_CLIENT, FILTER)


def run_slow(lab: Lab, name: str, told: Callable[[int, int], None]) -> None:
    """The process of such peers; never returns. `told` as in `run_peers`: sessions and sessions so far."""
    os.nice(10)  # they are on machines of their own
    assert lab.blocks
    asyncio.run(_run(lab, SLOW[name], told))


async def _run(lab: Lab, behaviour: Behaviour, told: Callable[[int, int], None]) -> None:
    node = tcp_address(lab.victim)
    target = Target(str(node.ip), node.port or 0, node.peer_id or "", lab.consensus.network_name)
    counts = [0, 0]
    async with asyncio.TaskGroup() as tasks:
        for number in range(CONNECTIONS):
            tasks.create_task(_hold(lab, behaviour, target, number, counts))
        while True:
            await asyncio.sleep(1.0)
            told(*counts)


async def _hold(lab: Lab, behaviour: Behaviour, target: Target, number: int, counts: list[int]) -> None:
    """One of many connections, again and again."""
    await asyncio.sleep(number * 0.01)
    while True:
        try:
            with await connect(target, address_of(number)) as connected:
                async with talking(target, connected, OPENED) as talker:
                    counts[0] += 1
                    counts[1] += 1
                    try:
                        await behaviour(lab, talker)
                    finally:
                        counts[0] -= 1
        except (OSError, TimeoutError, Over):
            pass
        await asyncio.sleep(AGAIN_S * (1 + time.monotonic() % 1))
