"""Scripts of blocks, run in parallel to the thread that prepares the blocks after them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final

from ckb_node.verification.scripts import ScriptService
from consensus.context import ChainReader
from consensus.rules.verify_block import PreparedBlock, finish_block

MAX_WAITING = 1024
"""Transactions that wait before `put` waits too."""


class ScriptQueue:
    """Blocks in, cycles out, both in order. Blocks that wait while scripts run are run together: a small block does not
    keep all cores busy.

    A thread of its own reads from `reader`, but only headers, blocks and the data of cells.
    """

    def __init__(self, service: ScriptService) -> None:
        self._service: Final = service
        self._thread: Final = ThreadPoolExecutor(1, "block-scripts")
        self._waiting: list[PreparedBlock] = []
        self._transactions = 0
        self._is_warm = False
        self._running: Future[None] | None = None
        self._passed: Final[deque[list[int]]] = deque()

    @property
    def is_busy(self) -> bool:
        """There are blocks whose end `passed` has not told."""
        return self._running is not None

    def put(self, reader: ChainReader, prepared: PreparedBlock) -> None:
        """The next block. `reader` may be ahead of it, on the same chain."""
        if self._running is not None and self._transactions >= MAX_WAITING:
            wait([self._running])
        self._waiting.append(prepared)
        self._transactions += len(prepared.fees)
        if self._running is None:
            self._start(reader)

    def passed(self, reader: ChainReader, *, to_end: bool) -> Iterator[list[int]]:
        """Cycles of the blocks that have passed since the last call, of all when it goes `to_end`.

        Raises what the first block that did not pass raises (see ScriptService.run_block), and forgets all after it.
        """
        while self._running is not None and (to_end or self._running.done()):
            wait([self._running])
            running, self._running = self._running, None
            while self._passed:
                yield self._passed.popleft()
            try:
                running.result()
            except BaseException:
                self._waiting, self._transactions = [], 0
                raise
            if self._waiting:
                self._start(reader)

    def close(self) -> None:
        """Return when nothing runs any more."""
        self._thread.shutdown()

    def _start(self, reader: ChainReader) -> None:
        blocks, self._waiting, self._transactions = self._waiting, [], 0
        self._running = self._thread.submit(self._run, reader, blocks)

    def _run(self, reader: ChainReader, blocks: list[PreparedBlock]) -> None:
        if not self._is_warm:
            self._service.warm_up()
            self._is_warm = True
        runs = self._service.run_blocks(reader, blocks)
        for prepared, cycles in zip(blocks, runs, strict=True):
            finish_block(self._service.consensus, prepared, cycles)
            self._passed.append(cycles)
