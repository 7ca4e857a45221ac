"""Sections of the configuration that this package reads."""

from __future__ import annotations

from ckb_node.runtime.settings import Section

MAX_INTERVAL_MS = 3_600_000


class AssemblerSection(Section, frozen=True):
    """[block_assembler]: who is paid for blocks that are made from this node's templates."""

    code_hash: str
    args: str
    hash_type: str
    message: str = "0x"
    use_binary_version_as_message_prefix: bool = True
