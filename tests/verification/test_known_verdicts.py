"""A block whose transactions are all known: their cycles come from the cache, and none of them is built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ckb_node.verification.scripts import ScriptService, beginning_of
from consensus.rules.verify_block import BlockTransactionError, PreparedBlock
from consensus.script.errors import ExceededMaximumCycles
from consensus.types.core import ResolvedTransaction
from tests.support.chains.in_memory import MemoryChain
from tests.verification.kit import ENV, LIMIT, a_block, a_transaction, consensus_with, parallel

CODE = b"never run"


class Unbuilt(Sequence[ResolvedTransaction]):
    """Notes which transactions are asked for."""

    def __init__(self, resolved: Sequence[ResolvedTransaction]) -> None:
        self._resolved = resolved
        self.built: list[int] = []

    def __len__(self) -> int:
        return len(self._resolved)

    def __getitem__(self, index: Any) -> Any:
        self.built.append(index)
        return self._resolved[index]


def known_block(service: ScriptService, cycles: Sequence[int]) -> tuple[PreparedBlock, Unbuilt]:
    transactions = [a_transaction(CODE) for _ in cycles]
    for rtx, each in zip(transactions, cycles, strict=True):
        service.verified.put(service.cache_key(rtx, ENV), each)
    prepared = a_block(service.consensus, transactions)
    unbuilt = Unbuilt(prepared.resolved)
    return prepared._replace(resolved=unbuilt), unbuilt


def test_none_is_built_in_this_process() -> None:
    service = ScriptService(consensus_with())
    prepared, unbuilt = known_block(service, [10, 20, 30])
    assert service.run_block(MemoryChain(service.consensus), prepared) == [10, 20, 30]
    assert unbuilt.built == []


def test_none_is_built_beside_processes(tmp_path: Path) -> None:
    with parallel(tmp_path) as service:
        prepared, unbuilt = known_block(service, [10, 20, 30])
        assert service.run_block(MemoryChain(service.consensus), prepared) == [10, 20, 30]
        assert unbuilt.built == []


def test_the_one_that_exceeds_the_limit_is_named() -> None:
    service = ScriptService(consensus_with())
    prepared, unbuilt = known_block(service, [LIMIT - 1, 2, 1])
    with pytest.raises(BlockTransactionError) as caught:
        service.run_block(MemoryChain(service.consensus), prepared)
    assert (caught.value.index, type(caught.value.cause)) == (2, ExceededMaximumCycles)
    assert unbuilt.built == [2]


def test_the_beginning_ends_where_something_is_unknown_or_too_much() -> None:
    assert beginning_of([1, 2, None, 3], 10) == [1, 2]
    assert beginning_of([4, 6, 0, 1], 10) == [4, 6, 0]
    assert beginning_of([], 10) == []
