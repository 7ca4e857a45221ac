"""Filters of blocks that a command has put on the chain: the node that is started next finds them built."""

from __future__ import annotations

from contextlib import closing

from ckb_node.config import Config
from ckb_node.filters.builder import FilterBuilder
from ckb_node.runtime.progress import BlockProgress
from ckb_node.runtime.stop_flag import StopFlag
from storage.chain_store import ChainStore
from storage.filters import FILTERS_DIRECTORY, FilterStore


def catch_up_filters(config: Config, store: ChainStore, stop: StopFlag) -> None:
    """Build what is missing, if the configuration wants filters; an interrupted job is finished by the node.

    Raises StorageError, Interrupted.
    """
    if not config.builds_filters:
        return
    with closing(FilterStore.open(config.data_dir / FILTERS_DIRECTORY)) as filters, store.view() as view:
        last = filters.last_built(view)
        done = -1 if last is None else last.number
        builder = FilterBuilder(filters)
        with BlockProgress("building block filters", view.tip_header().number - done) as progress:
            while not builder.step(view):
                progress.advance(builder.last_number - done, builder.last_number - done, 0)
                done = builder.last_number
                stop.check()
