"""Sections of the configuration that this package reads."""

from __future__ import annotations

from ckb_node.runtime.settings import Section


class FiltersSection(Section, frozen=True):
    """[block_filters]: whether filters of blocks are built, for light clients. By default where they may be asked for
    on the network: where `network.support_protocols` has Filter, and that is where it is unless configured."""

    enabled: bool | None = None
