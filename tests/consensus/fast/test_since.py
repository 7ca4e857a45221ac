"""Since fields by integers against the rule."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from random import Random

from consensus.errors import TransactionError
from consensus.fast.since import since_has_passed, time_has_passed
from consensus.rules.header import median_time
from consensus.rules.since import require_sinces_passed
from consensus.tx_env import TxEnv
from consensus.types.core import CellMeta, EpochFraction, TransactionInfo
from tests.support.builders.blocks import a_cell, a_consensus, a_header
from tests.support.chains.valid import ValidChain

RELATIVE, EPOCH, TIME = 1 << 63, 1 << 61, 1 << 62
EPOCHS = [
    EpochFraction(*parts)
    for parts in (
        *((0, 0, 0), (3, 0, 0), (5, 0, 100), (5, 1, 3), (5, 33, 100), (5, 99, 100), (6, 0, 1), (5, 0, 65535)),
        *((5, 65534, 65535), (2, 2, 3), (3, 1, 3), (2, 1, 2), (5, 100, 100), (5, 3, 0), (5, 7, 3)),
    )
]
CONSENSUS = a_consensus()


def an_env(number: int, epoch: EpochFraction) -> TxEnv:
    return TxEnv.committed(a_header(number=number, epoch=epoch.pack()))


def cell_of(number: int, epoch: EpochFraction) -> CellMeta:
    return a_cell(info=TransactionInfo(bytes(32), number, epoch.pack(), 1))


def passes_by_rule(since: int, cell: CellMeta, env: TxEnv, chain: ValidChain | None = None) -> bool:
    try:
        require_sinces_passed(CONSENSUS, [since], [cell], env, chain or ValidChain(CONSENSUS))
    except TransactionError:
        return False
    return True


def cases() -> Iterator[tuple[int, CellMeta, TxEnv]]:
    """Every epoch beside every other one, and random values; not those that count seconds."""
    for now, wanted, begun in product(EPOCHS, repeat=3):
        for flag in (0, RELATIVE):
            yield flag | EPOCH | wanted.pack(), cell_of(7, begun), an_env(9, now)
    random = Random(1)
    for _ in range(3000):
        flags = random.choice((0, RELATIVE)) | random.choice((0, EPOCH, TIME | EPOCH))
        value = random.choice((random.getrandbits(56), random.randrange(30), 1 << random.randrange(64)))
        since = (flags | value) & ~TIME if not flags & EPOCH else flags | value
        yield since, cell_of(random.randrange(20), EPOCHS[2]), an_env(random.randrange(40), random.choice(EPOCHS))


def test_blocks_and_epochs() -> None:
    verdicts = []
    for since, cell, env in cases():
        expected = passes_by_rule(since, cell, env)
        assert since_has_passed(since, cell, env) == expected, (hex(since), cell.info, env)
        verdicts.append(expected)
    assert min(verdicts.count(True), verdicts.count(False)) > 1000


def test_the_rule_decides_about_seconds_and_cells_of_the_pool() -> None:
    env = an_env(100, EPOCHS[2])
    assert not since_has_passed(TIME | 1, cell_of(1, EPOCHS[0]), env)
    assert not since_has_passed(RELATIVE | TIME | 1, cell_of(1, EPOCHS[0]), env)
    assert not since_has_passed(1, a_cell(info=None), env)


def test_seconds() -> None:
    chain = ValidChain(CONSENSUS)
    chain.grow(60)
    blocks, verdicts = [chain.blocks[number] for number in range(61)], []
    random = Random(2)
    for _ in range(3000):
        begun, parent = random.choice(blocks), random.choice(blocks)
        cell = a_cell(info=TransactionInfo(begun.hash, begun.number, begun.header.epoch, 1))
        env = TxEnv.committed(a_header(number=99, epoch=EPOCHS[2].pack(), parent_hash=parent.hash))
        now_ms = median_time(chain, parent.hash, CONSENSUS.median_time_block_count)
        flag, near = random.choice((0, RELATIVE)), random.randrange(-3, 4)
        passes_at = now_ms // 1000 + near if not flag else max((now_ms - begun.header.timestamp) // 1000 + near, 0)
        since = flag | random.choice((TIME, TIME, TIME, EPOCH, TIME | EPOCH, TIME | 1 << 57)) | passes_at
        expected = since >> 61 & 3 == 2 and passes_by_rule(since, cell, env, chain)
        assert time_has_passed(since, cell, partial(int, now_ms), chain) == expected, hex(since)
        verdicts.append(expected)
    assert min(verdicts.count(True), verdicts.count(False)) > 500
    assert not time_has_passed(TIME | 1, a_cell(info=None), lambda: 1 << 40, chain)
