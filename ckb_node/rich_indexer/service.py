"""The rich indexer as a task of the node: its tables follow the chain in a thread, searches read them in others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

import structlog
from sqlalchemy import URL, Connection

from ckb_node.chain.follower import ChainFollower, FollowedChain
from ckb_node.indexer.query import QueryError
from ckb_node.indexer.service import FAR_BEHIND, WAIT_S, IndexBehindError, IndexerOptions, blocks_of_step
from ckb_node.rich_indexer import load
from ckb_node.rich_indexer.database import READERS, Database, DatabaseError
from ckb_node.rich_indexer.reader import TablesReader
from ckb_node.rich_indexer.schema import migrate
from consensus.lookup import require
from storage.chain_store import ChainView

log = structlog.get_logger(__name__)

T = TypeVar("T")

BATCH = 1024
"""Blocks of one step, which is one transaction of the database."""
BATCH_BYTES = 8 << 20
"""Bytes of blocks after which a step ends earlier."""


class RichIndexerService:
    """Owns the tables. A search sees all changes of the chain before it."""

    def __init__(self, chain: FollowedChain, url: URL, options: IndexerOptions | None = None) -> None:
        self.options: Final = options or IndexerOptions()
        self._chain: Final = chain
        self._tables: Final = _Tables(url, self.options)
        self._readers: Final = ThreadPoolExecutor(READERS, thread_name_prefix="rich indexer searches")
        self.follower: Final = ChainFollower(chain, self._tables, "rich indexer tables")

    async def run(self) -> None:
        """Follow the main chain until cancelled. See ChainFollower.run."""
        await self.follower.run()

    def tip(self) -> tuple[int, bytes] | None:
        """Height and hash of the last indexed block."""
        return self._tables.tip

    def blocks_behind(self) -> int:
        """Blocks between the last indexed one and the chain's tip; negative while the chain was cut back further."""
        with self._chain.view() as view:
            tip = self.tip()
            return view.tip_header().number - (-1 if tip is None else tip[0])

    async def follow(self) -> None:
        """Wait a moment until the tables have followed the chain; `tip` says how far they came."""
        with suppress(IndexBehindError):
            await self._be_current()

    async def search(self, read: Callable[[TablesReader], T]) -> T:
        """What `read` makes of the tables at the chain's tip, in a thread. Raises QueryError, IndexBehindError."""
        await self._be_current()
        terms = self.options.terms

        def work() -> T:
            try:
                with self._tables.opened().reading(terms.timeout_s) as connection:
                    return read(TablesReader(connection, terms))
            except DatabaseError as error:
                log.warning("a search of the rich indexer failed", reason=str(error))
                raise QueryError("the database of the rich indexer does not answer") from error

        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def _be_current(self) -> None:
        """Raises IndexBehindError."""
        if not self.follower.is_current and self.blocks_behind() > FAR_BEHIND:
            raise self._behind_error()
        try:
            await self.follower.when_current(lambda: None, WAIT_S)
        except TimeoutError:
            raise self._behind_error() from None

    def _behind_error(self) -> IndexBehindError:
        tip = self.tip()
        with self._chain.view() as view:
            return IndexBehindError(None if tip is None else tip[0], view.tip_header().number)

    def close(self) -> None:
        """Stop the threads and close the connections."""
        self._readers.shutdown(wait=True, cancel_futures=True)
        self.follower.close()


class _Tables:
    """The tables as ckb_node.chain.follower.Derived. The database may be away when the node starts, or later."""

    def __init__(self, url: URL, options: IndexerOptions) -> None:
        self._url: Final = url
        self._options: Final = options
        self._loader: Final = load.Loader(options.filters)
        self._database: Database | None = None
        self.tip: tuple[int, bytes] | None = None

    def opened(self) -> Database:
        """The database with its tables. Raises DatabaseError."""
        if self._database is None:
            raise DatabaseError("it has not been opened yet")
        return self._database

    def step(self, view: ChainView) -> int:
        """See Derived. Raises DatabaseError, SchemaError."""
        database = self._open()
        height = view.tip_header().number
        with database.writing() as connection:
            tip = self._on_main(connection, view)
            if self._options.init_tip is not None and tip is None:
                tip = self._begun(connection, view)
                if tip is None:
                    return height
            blocks = blocks_of_step(view, -1 if tip is None else tip[0], BATCH, BATCH_BYTES)
            if blocks:
                self._loader.append(connection, blocks)
                tip = blocks[-1].number, blocks[-1].hash
        self.tip = tip
        return -1 if tip is None else tip[0]

    def _open(self) -> Database:
        if self._database is None:
            database = Database(self._url)
            try:
                with database.writing() as connection:
                    migrate(connection)
                    if load.filters_of(connection) != self._options.filters.digest:
                        log.warning("the tables of the rich indexer are filled anew", reason="the filters were changed")
                        load.roll_back(connection, 0)
                        load.set_filters(connection, self._options.filters.digest)
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database

    def _on_main(self, connection: Connection, view: ChainView) -> tuple[int, bytes] | None:
        """The tip after what is not on the main chain was rolled back."""
        tip = load.tip_of(connection)
        number = None if tip is None else tip[0]
        while number is not None and (known := load.hash_at(connection, number)) != view.main_hash(number):
            number = number - 1 if number and known is not None else None
        if tip is None or number == tip[0]:
            return tip
        load.roll_back(connection, 0 if number is None else number + 1)
        self._loader.forget()
        return load.tip_of(connection)

    def _begun(self, connection: Connection, view: ChainView) -> tuple[int, bytes] | None:
        init_tip = require(self._options.init_tip, "init_tip_hash", b"")
        header = view.header(init_tip)
        if header is None or view.main_hash(header.number) != init_tip:
            return None
        load.begin_behind(connection, header.number, init_tip)
        return header.number, init_tip

    def reopen(self) -> None:
        """See Derived."""
        self.close()
        self._loader.forget()

    def close(self) -> None:
        """See Derived."""
        database, self._database = self._database, None
        if database is not None:
            database.close()
