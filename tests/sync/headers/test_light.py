"""Branches of headers that are weighed before they are written."""

from __future__ import annotations

from ckb_node.sync.chain import KnownTip
from ckb_node.sync.headers.light import MAX_BRANCHES, SLACK_BLOCKS, LightBranches, is_light
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.types.header_run import HeaderRun
from tests.sync.headers.kit_headers import GENESIS, branch

WORK = compact_to_difficulty(GENESIS.compact_target)
LONG = HeaderRun.of(branch(GENESIS, 300))
FORK = KnownTip(GENESIS, WORK)


def test_a_branch_near_the_best_is_not_light() -> None:
    best = KnownTip(LONG[-1], 5000 * WORK)
    assert not is_light(KnownTip(LONG[0], 5000 * WORK), best)
    assert not is_light(KnownTip(LONG[0], (5000 - SLACK_BLOCKS) * WORK), best)
    assert is_light(KnownTip(LONG[0], (5000 - SLACK_BLOCKS) * WORK - 1), best)


def test_a_branch_grows_batch_by_batch_and_keeps_its_end_only() -> None:
    light = LightBranches(context=37)
    first = light.weigh(FORK, LONG[:100], GENESIS.hash)
    assert first == KnownTip(LONG[99], 101 * WORK)
    assert light.show(LONG[99].hash) == first
    assert light.header(LONG[99].hash) == LONG[99]
    assert light.header(LONG[63].hash) == LONG[63]
    assert light.header(LONG[62].hash) is None
    second = light.weigh(first, LONG[100:200], LONG[99].hash)
    assert second == KnownTip(LONG[199], 201 * WORK)
    assert light.show(LONG[99].hash) is None
    assert len(light) == 1


def test_what_has_become_heavy_is_known_when_it_comes_again() -> None:
    light = LightBranches(context=37)
    tip = light.weigh(FORK, LONG[:100], GENESIS.hash)
    tip = light.weigh(tip, LONG[100:200], LONG[99].hash)
    assert light.count_proven(LONG[:100]) == 0
    assert light.prove(tip) == GENESIS.hash
    assert len(light) == 0
    assert light.count_proven(LONG[:100]) == 100
    assert light.count_proven(LONG[50:150]) == 50  # in other batches: as far as is known
    assert light.count_proven(LONG[100:210]) == 100
    assert light.count_proven(LONG[200:]) == 0
    assert light.count_proven(HeaderRun.of(branch(GENESIS, 100, salt=1))) == 0
    assert light.prove(tip) is None


def test_a_bound_of_branches() -> None:
    light = LightBranches(context=37)
    for salt in range(3 * MAX_BRANCHES):
        light.weigh(FORK, HeaderRun.of(branch(GENESIS, 2, salt=salt)), GENESIS.hash)
    assert len(light) == MAX_BRANCHES
