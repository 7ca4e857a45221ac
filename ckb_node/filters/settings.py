"""Sections of the configuration that this package reads."""

from __future__ import annotations

from ckb_node.runtime.settings import Section


class FiltersSection(Section, frozen=True):
    """[block_filters]: whether filters of blocks are built and answered, for light clients."""

    enabled: bool = True
