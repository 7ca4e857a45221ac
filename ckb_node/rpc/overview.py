"""The parts of module Terminal's answer, each kept for some seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ckb_node.jsonrpc_types.hex_text import uint_text
from ckb_node.rpc.system_info import SystemInfo
from ckb_node.rpc.terminal_results import (
    CellsInfoJson,
    MiningInfoJson,
    NetworkInfoJson,
    OverviewJson,
    SysInfoJson,
    TerminalPoolInfoJson,
    network_info_json,
    terminal_pool_json,
)
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.rules.dao import DaoField

if TYPE_CHECKING:
    from ckb_node.rpc.services import Services

T = TypeVar("T")

SYS, MINING, POOL, CELLS, NETWORK = 1, 2, 4, 8, 16
ALL: Final = 31
"""Bits of `refresh`. Others together with them make it count as 0."""


class _Kept(Generic[T]):
    """A part of the answer, looked at anew when it is older than `seconds`."""

    def __init__(self, bit: int, seconds: float, look: Callable[[Services], Awaitable[T]]) -> None:
        self._bit, self._seconds, self._look = bit, seconds, look
        self._value: T | None = None
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def get(self, services: Services, refresh: int) -> T:
        async with self._lock:  # who comes meanwhile gets the same
            now = asyncio.get_running_loop().time()
            if self._value is None or refresh & self._bit or now > self._until:
                self._value = await self._look(services)
                self._until = now + self._seconds
            return self._value


class Overview:
    """The parts as they were last seen."""

    def __init__(self) -> None:
        self._system: Final = SystemInfo()
        self._sys: Final = _Kept(SYS, 5.0, self._look_at_system)
        self._mining: Final = _Kept(MINING, 10.0, _mining)
        self._pool: Final = _Kept(POOL, 2.0, _pool)
        self._cells: Final = _Kept(CELLS, 30.0, _cells)
        self._network: Final = _Kept(NETWORK, 10.0, _network)

    async def _look_at_system(self, services: Services) -> SysInfoJson:
        return await services.lane.run(self._system.look)

    async def get(self, services: Services, refresh: int) -> OverviewJson:
        """All of it."""
        return OverviewJson(
            await self._sys.get(services, refresh),
            await self._mining.get(services, refresh),
            await self._pool.get(services, refresh),
            await self._cells.get(services, refresh),
            await self._network.get(services, refresh),
            services.version,
        )


async def _mining(services: Services) -> MiningInfoJson:
    with services.chain.view() as view:
        epoch = view.tip_epoch()
    difficulty = compact_to_difficulty(epoch.compact_target)
    return MiningInfoJson(uint_text(difficulty), uint_text(epoch.previous_epoch_hash_rate))


async def _pool(services: Services) -> TerminalPoolInfoJson:
    info = services.pool.info()
    committing = 0 if services.miner is None else len((await services.miner.block_template()).transactions)
    return terminal_pool_json(info, committing, services.rejected_count())


async def _cells(services: Services) -> CellsInfoJson:
    view = services.chain.view()  # the lane may still read it when the caller has left
    occupied = DaoField.unpack(view.tip_header().dao).occupied
    return CellsInfoJson(uint_text(await services.lane.run(view.estimated_live_cells)), uint_text(occupied))


async def _network(services: Services) -> NetworkInfoJson:
    return network_info_json(services.net.peers())
