"""`ckb-node miner`: works for a node by RPC. Knows the Dummy proof of work, whose work is a pause."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from ckb_node.config import Config
from ckb_node.jsonrpc_types.chain import block_json
from ckb_node.jsonrpc_types.hex_text import BadTextError, bytes_text
from ckb_node.mining.template_json import BlockTemplateJson, read_template
from ckb_node.runtime.errors import CommandError
from ckb_node.runtime.rpc_client import RpcCallError, RpcClient, split_url
from consensus.params import PowFunc

log = structlog.get_logger("miner")

TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 64 << 20


class MinerError(CommandError):
    """The node cannot be worked for."""


class NodeClient:
    """A node's JSON-RPC, one connection per call."""

    def __init__(self, url: str) -> None:
        try:
            split_url(url)
        except ValueError as error:
            raise MinerError(f"miner.rpc_url: {url[:200]}: {error}") from error
        self._client: Final = RpcClient(url, MAX_ANSWER_BYTES, TIMEOUT_S)

    def call(self, method: str, *params: Any) -> Any:
        """The result. MinerError when the node cannot be reached or answers an error."""
        try:
            return json.loads(self._client.call(method, *params))
        except (RpcCallError, ValueError, RecursionError) as error:
            raise MinerError(f"{method}: {error}") from error


def run_miner(config: Config, limit: int = 0, sleep: Callable[[float], None] = time.sleep) -> int:
    """Mine until `limit` blocks were taken (0: for ever); the exit code. Raises MinerError, ConfigError."""
    spec, _ = config.load_spec()
    if spec.pow_func is not PowFunc.DUMMY:
        raise MinerError(f"this chain's proof of work is {spec.pow_func.value}; this miner only knows Dummy")
    section = config.file.miner
    client = NodeClient(section.rpc_url)
    taken = 0
    while limit == 0 or taken < limit:
        try:
            taken += _mine_one(client, section.interval_millis / 1000, sleep)
        except MinerError as error:
            log.warning("the node gives no work", reason=str(error))
            sleep(section.poll_interval_millis / 1000)
    return 0


def _mine_one(client: NodeClient, pause_s: float, sleep: Callable[[float], None]) -> bool:
    """One block from template to submission; whether the node took it."""
    try:
        raw = msgspec.convert(client.call("get_block_template"), BlockTemplateJson)
        template = read_template(raw)
    except (msgspec.ValidationError, BadTextError) as error:
        raise MinerError(f"get_block_template: {error}") from error
    sleep(pause_s)
    block = template.to_block()
    try:
        client.call("submit_block", raw.work_id, msgspec.to_builtins(block_json(block)))
    except MinerError as error:
        log.warning("a block was refused", number=block.number, reason=str(error))
        return False
    log.info("mined", number=block.number, hash=bytes_text(block.hash))
    return True
