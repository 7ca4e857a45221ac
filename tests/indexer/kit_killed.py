"""A process that indexes a made-up chain back and forth until it is killed: KIND TARGET SEED, a line for each step."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import make_url

from ckb_node.indexer.custom_filters import CustomFilters
from ckb_node.indexer.index import Index
from ckb_node.indexer.service import open_index
from ckb_node.rich_indexer import load
from ckb_node.rich_indexer.database import Database
from ckb_node.rich_indexer.schema import migrate
from consensus.types.blockchain import Block
from tests.indexer.kit_index import a_chain

LENGTH = 40
Append = Callable[[Sequence[Block]], None]
RollBack = Callable[[int], None]


def chain_of(seed: int) -> list[Block]:
    """The same in both processes."""
    return a_chain(random.Random(seed), LENGTH)


def key_value(path: Path) -> tuple[Append, RollBack]:
    index = Index(open_index(path))

    def roll_back(count: int) -> None:
        for _ in range(count):
            index.rollback()

    return lambda blocks: index.append_run(blocks, blocks[-1].number, sync=False), roll_back


def rich(url: str) -> tuple[Append, RollBack]:
    database, loader = Database(make_url(url)), load.Loader(CustomFilters())
    with database.writing() as connection:
        migrate(connection)

    def append(blocks: Sequence[Block]) -> None:
        with database.writing() as connection:
            loader.append(connection, blocks)

    def roll_back(count: int) -> None:
        with database.writing() as connection:
            tip = load.tip_of(connection)
            assert tip is not None
            load.roll_back(connection, tip[0] - count + 1)
            loader.forget()

    return append, roll_back


def main(kind: str, target: str, seed: int) -> None:
    chain, rng, height = chain_of(seed), random.Random(seed), 0
    append, roll_back = key_value(Path(target)) if kind == "key_value" else rich(target)
    while True:
        if height == LENGTH or (height > 5 and rng.random() < 0.4):
            count = rng.randint(1, 5)
            roll_back(count)
            height -= count
        else:
            run = chain[height : height + rng.randint(1, 5)]
            append(run)
            height += len(run)
        print(height, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
