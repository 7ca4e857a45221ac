"""Sections of the configuration that this package reads."""

from __future__ import annotations

from typing import Literal

from ckb_node.indexer.custom_filters import CustomFilters
from ckb_node.indexer.filter_language import FilterError
from ckb_node.jsonrpc_types.hex_text import BadTextError, parse_hash
from ckb_node.runtime.settings import ConfigError, Positive, Section


class RichIndexerSection(Section, frozen=True):
    """[indexer_v2.rich_indexer]: SQLite in the file `store`, by default in the data directory, or a PostgreSQL server.
    The keys are the reference's."""

    db_type: Literal["sqlite", "postgres"] = "sqlite"
    store: str = ""
    db_name: str = "ckb-rich-indexer"
    db_host: str = "127.0.0.1"
    db_port: Positive = 8532
    db_user: str = "postgres"
    db_password: str = "123456"  # noqa: S105 - the reference's default


class IndexerSection(Section, frozen=True):
    """[indexer_v2], of both indexers. `timeout_limit` in seconds of a search's own work; no `request_limit`: any."""

    index_tx_pool: bool = False
    block_filter: str | None = None
    cell_filter: str | None = None
    init_tip_hash: str | None = None
    request_limit: Positive | None = None
    timeout_limit: Positive = 10
    rich_indexer: RichIndexerSection = RichIndexerSection()

    def filters(self) -> CustomFilters:
        """Raises ConfigError."""
        try:
            return CustomFilters(self.block_filter, self.cell_filter)
        except FilterError as error:
            raise ConfigError(f"indexer_v2.{error}") from None

    def init_tip(self) -> bytes | None:
        """The block that indexing begins behind. Raises ConfigError."""
        try:
            return None if self.init_tip_hash is None else parse_hash(self.init_tip_hash)
        except BadTextError as error:
            raise ConfigError(f"indexer_v2.init_tip_hash: {error}") from None
