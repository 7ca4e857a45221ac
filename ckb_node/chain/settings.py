"""Sections of the configuration that this package reads."""

from __future__ import annotations

from ckb_node.runtime.settings import Section


class SyncSection(Section, frozen=True):
    """[network.sync]: block hashes whose ancestors' scripts need not be run, lowest first; by default those of the
    release, none when it is empty. Least total difficulty of headers before their blocks are fetched, 0x-prefixed."""

    assume_valid_targets: list[str] | None = None
    min_chain_work: str | None = None
