"""Sections of the configuration that this package reads."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ckb_node.runtime.settings import Section

MAX_INTERVAL_MS = 3_600_000


class AssemblerSection(Section, frozen=True):
    """[block_assembler]: who is paid for blocks that are made from this node's templates."""

    code_hash: str
    args: str
    hash_type: str
    message: str = "0x"
    use_binary_version_as_message_prefix: bool = True


class MinerSection(Section, frozen=True):
    """[miner]: milliseconds between blocks of a dev chain; the node that `ckb-node miner` works for."""

    interval_millis: Annotated[int, Meta(ge=1, le=MAX_INTERVAL_MS)] = 3000
    rpc_url: str = "http://127.0.0.1:8114/"
    poll_interval_millis: Annotated[int, Meta(ge=1, le=MAX_INTERVAL_MS)] = 1000
