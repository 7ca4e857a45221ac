"""Methods of our own beside those of module Miner: the miners of the stratum server, their shares and blocks."""

from __future__ import annotations

from itertools import islice
from typing import Final

from ckb_node.rpc.errors import Code, RpcError
from ckb_node.rpc.params import Uint32
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import Services
from ckb_node.rpc.stratum_results import (
    FoundBlockJson,
    StratumStatusJson,
    WorkerJson,
    found_json,
    status_json,
    worker_json,
)
from ckb_node.stratum.service import StratumService

METHODS = Methods(Module.MINER)

DEFAULT_LIMIT: Final = 100
MOST_WORKERS: Final = 1000


def _stratum_of(services: Services) -> StratumService:
    if services.stratum is None:
        raise RpcError(Code.InvalidRequest, "there is no stratum server: set listen_address in [stratum]")
    return services.stratum


@METHODS.method(name="stratum.status")
async def stratum_status(services: Services) -> StratumStatusJson:
    """The stratum server at a glance: miners, hashrate, shares, the job at hand, blocks.

    Counts are of all time since the node's start, `outcomes` of the last 256 blocks that miners found. Error -32600:
    there is no stratum server.
    """
    return status_json(_stratum_of(services))


@METHODS.method(name="stratum.workers")
async def stratum_workers(services: Services, limit: Uint32 | None = None) -> list[WorkerJson]:
    """Workers, those first that did something last; 100 of them, or up to 1000. Error -32600: there is no stratum
    server."""
    stratum = _stratum_of(services)
    now_s, desk = stratum.desk.monotonic_s(), stratum.desk
    count = min(DEFAULT_LIMIT if limit is None else limit, MOST_WORKERS)
    return [worker_json(each, now_s) for each in islice(desk.workers.newest_first(), count)]


@METHODS.method(name="stratum.blocks")
async def stratum_blocks(services: Services, limit: Uint32 | None = None) -> list[FoundBlockJson]:
    """The last blocks that miners found, newest first; 100 of them, or up to 256.

    `outcome` is main (on the main chain), uncle (a block of the main chain embeds it), orphaned, refused (`error` says
    why), or under way. Error -32600: there is no stratum server.
    """
    found = _stratum_of(services).desk.found.newest_first()
    with services.chain.view() as view:
        return [found_json(each, view) for each in islice(found, DEFAULT_LIMIT if limit is None else limit)]
