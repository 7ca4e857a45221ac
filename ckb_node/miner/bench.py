"""`ckb-node miner bench`: how many nonces a second this machine tries."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final

from ckb_node.miner.figures import rate_text
from ckb_node.miner.search_threads import SearchThreads
from ckb_node.miner.work import Work
from consensus.crypto.hashing import HASH_SIZE
from consensus.params import PowFunc

FUNCTIONS: Final = (PowFunc.EAGLESONG, PowFunc.EAGLESONG_BLAKE2B)
_HARDEST: Final = 1
"""A target that nothing meets."""
_WARM_UP_S: Final = 0.3


async def measure(function: PowFunc, threads: int, seconds: float) -> float:
    """Nonces a second of so many threads."""
    workers = SearchThreads(function, threads, lambda _work, _nonce: None)
    workers.assign(Work(secrets.token_bytes(HASH_SIZE), _HARDEST, b"", "bench"))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(workers.run())
        await asyncio.sleep(_WARM_UP_S)  # the kernel is compiled meanwhile
        before, begun = workers.tally().nonces, time.perf_counter()
        await asyncio.sleep(seconds)
        rate = (workers.tally().nonces - before) / (time.perf_counter() - begun)
        running.cancel()
    return rate


def bench(threads: int, seconds: float, echo: Callable[[str], None]) -> None:
    """A table of both functions, one thread and all."""
    for function in FUNCTIONS:
        one = asyncio.run(measure(function, 1, seconds))
        echo(f"{function.value:18} 1 thread    {rate_text(one)}")
        if threads > 1:
            rate = asyncio.run(measure(function, threads, seconds))
            echo(f"{function.value:18} {threads} threads   {rate_text(rate)}, {rate / one:.2f} times one")
