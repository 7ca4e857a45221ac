"""Module Terminal: the node and its machine at a glance, for programs that show them on a terminal."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from ckb_node.rpc.overview import ALL
from ckb_node.rpc.params import Codec
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import Services
from ckb_node.rpc.terminal_results import OverviewJson

METHODS = Methods(Module.TERMINAL)

MAX_REFRESH: Final = (1 << 32) - 1


def _read_refresh(value: int) -> int:
    return value if value <= ALL else 0


RefreshParam = Annotated[int, Codec("RefreshKind", Annotated[int, Meta(ge=0, le=MAX_REFRESH)], _read_refresh)]


@METHODS.method
async def get_overview(services: Services, refresh: RefreshParam | None = None) -> OverviewJson:
    """System, mining, pool, cells and peers in one answer.

    Each part is kept for some seconds (5, 10, 2, 30, 10). `refresh` is a plain number whose bits ask for parts anew:
    1 system, 2 mining, 4 pool, 8 cells, 16 peers.
    """
    return await services.overview.get(services, refresh or 0)
