"""The node's indexer, if it has one: key-value or SQL, as `rpc.modules` says."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ckb_node.chain.service import ChainService
from ckb_node.config import Config
from ckb_node.indexer.query import Terms
from ckb_node.indexer.service import INDEXER_DIRECTORY, IndexerOptions, IndexerService, open_index
from ckb_node.rpc.registry import Module
from ckb_node.runtime.settings import ConfigError
from ckb_node.txpool.service import PoolService

if TYPE_CHECKING:
    from ckb_node.rich_indexer.service import RichIndexerService


def open_indexer(config: Config, chain: ChainService, pool: PoolService, stack: ExitStack) -> IndexerService | None:
    """The key-value indexer, if its module is on."""
    if Module.INDEXER not in config.file.rpc.modules:
        return None
    index = open_index(config.data_dir / INDEXER_DIRECTORY)
    indexer = IndexerService(chain, index, index.reopen, _options(config, pool))
    stack.callback(indexer.close)
    return indexer


def open_rich_indexer(
    config: Config, chain: ChainService, pool: PoolService, stack: ExitStack
) -> RichIndexerService | None:
    """The rich indexer, if its module is on. Its database is opened when it begins to follow. Raises ConfigError."""
    if Module.RICH_INDEXER not in config.file.rpc.modules:
        return None
    section = config.file.indexer_v2.rich_indexer
    try:
        from ckb_node.rich_indexer.database import database_url
        from ckb_node.rich_indexer.service import RichIndexerService

        if section.db_type == "postgres":
            import psycopg  # noqa: F401 - SQLAlchemy loads it late
    except ImportError as error:
        extra = "postgres" if section.db_type == "postgres" else "rich-indexer"
        raise ConfigError(f"rpc.modules: RichIndexer needs pip install 'ckb-node[{extra}]' ({error})") from None
    indexer = RichIndexerService(chain, database_url(section, config.data_dir), _options(config, pool))
    stack.callback(indexer.close)
    return indexer


def _options(config: Config, pool: PoolService) -> IndexerOptions:
    section = config.file.indexer_v2
    is_spent = pool.pool.is_spent if section.index_tx_pool else None
    return IndexerOptions(
        section.filters(), section.init_tip(), section.request_limit, Terms(section.timeout_limit, is_spent)
    )
