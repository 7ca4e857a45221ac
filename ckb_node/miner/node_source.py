"""Work from a node, by polling or by templates that it posts; blocks go to it by submit_block."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from random import Random
from typing import Final

import structlog

from ckb_node.miner.back_off import BackOff
from ckb_node.miner.block_work import BadTemplateError, BlockWork, read_work, submission
from ckb_node.miner.listener import TemplateListener
from ckb_node.miner.node_rpc import NodeRefused, NodeRpc, NodeUnreachable
from ckb_node.miner.solved import SolvedParents
from ckb_node.miner.work import Desk, Work
from consensus.params import PowFunc

log = structlog.get_logger("miner")

MAX_SUBMISSIONS: Final = 16
"""Blocks that wait for the node."""
MAX_RECENT: Final = 4
"""Templates for which a nonce may still come in."""
SUBMIT_FOR_S: Final = 60.0
"""So long a block is offered to a node that does not answer."""
POLL_BESIDE_LISTENER_S: Final = 30.0
"""A node that posts its templates is polled too, in case it does not."""
TOLD_AGAIN_S: Final = 60.0
METHOD_NOT_FOUND: Final = -32601


class NodeSource:
    """See `Source`."""

    def __init__(
        self, rpc: NodeRpc, function: PowFunc, poll_s: float, listener: TemplateListener | None = None
    ) -> None:
        self._rpc: Final = rpc
        self._function: Final = function
        self._poll_s: Final = poll_s if listener is None else max(poll_s, POLL_BESIDE_LISTENER_S)
        self._listener: Final = listener
        self._desk: Desk | None = None
        self._recent: Final[deque[BlockWork]] = deque(maxlen=MAX_RECENT)
        self._is_idle = True
        self._taken = 0
        self._solved: Final = SolvedParents(time.monotonic)
        self._submissions: Final[asyncio.Queue[tuple[BlockWork, bytes]]] = asyncio.Queue(MAX_SUBMISSIONS)
        self._wake: Final = asyncio.Event()
        self._told = ("", 0.0)

    async def run(self, desk: Desk) -> None:
        """Give work until cancelled. Raises MinerError when the listener's port cannot be had."""
        self._desk = desk
        desk.tell(f"no work yet from {self._rpc.name}")
        async with self._rpc, asyncio.TaskGroup() as group:
            group.create_task(self._poll(desk))
            group.create_task(self._submit_all(desk))
            if self._listener is not None:
                group.create_task(self._listener.run(self._take_posted))

    def found(self, work: Work, nonce: bytes) -> None:
        """One block for each parent; a second one would only be an uncle of the first."""
        of = next((each for each in self._recent if each.work is work), None)
        if self._desk is None or of is None or self._solved.has(of.block.parent_hash) or self._submissions.full():
            return
        self._solved.add(of.block.parent_hash)
        self._submissions.put_nowait((of, nonce))
        if self._recent[-1].block.parent_hash == of.block.parent_hash:
            self._is_idle = True
            self._desk.assign(None)

    # ------------------------------------------------ templates

    async def _poll(self, desk: Desk) -> None:
        while True:
            self._wake.clear()
            try:
                await self._fetch(desk)
            except (NodeUnreachable, NodeRefused, BadTemplateError) as error:
                self._fail(desk, error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()

    async def _fetch(self, desk: Desk) -> None:
        taken = self._taken
        text = await self._rpc.call("get_block_template")
        got = await asyncio.to_thread(read_work, text, self._function)
        if taken == self._taken:  # else a newer one was posted meanwhile
            self._take(desk, got)

    async def _take_posted(self, text: bytes) -> None:
        if self._desk is None:
            return
        try:
            self._take(self._desk, await asyncio.to_thread(read_work, text, self._function))
        except BadTemplateError as error:
            log.warning("what was posted is no template", reason=str(error))

    def _take(self, desk: Desk, got: BlockWork) -> None:
        self._taken += 1
        desk.tell(f"working for {self._rpc.name}")
        self._told = ("", 0.0)
        if self._solved.has(got.block.parent_hash):
            return
        if self._is_idle or got.key != self._recent[-1].key:
            self._is_idle = False
            self._recent.append(got)
            desk.assign(got.work)

    def _fail(self, desk: Desk, error: Exception) -> None:
        """Work goes on: a block may still be taken when the node is back."""
        desk.tell(f"no work from {self._rpc.name}")
        reason, now = str(error), time.monotonic()
        if isinstance(error, NodeRefused) and error.code == METHOD_NOT_FOUND:
            reason = "it has no get_block_template: its modules need Miner, and it needs a block_assembler"
        if reason != self._told[0] or now - self._told[1] >= TOLD_AGAIN_S:
            self._told = (reason, now)
            log.warning("the node gives no work", reason=reason)

    # ------------------------------------------------ blocks

    async def _submit_all(self, desk: Desk) -> None:
        while True:
            found, nonce = await self._submissions.get()
            if not await self._submit(desk, found, nonce):
                self._solved.discard(found.block.parent_hash)
            self._wake.set()

    async def _submit(self, desk: Desk, found: BlockWork, nonce: bytes) -> bool:
        """Whether the node took it."""
        work_id, block = await asyncio.to_thread(submission, found, nonce)
        back_off = BackOff(Random(), first_s=0.2, longest_s=2.0)  # noqa: S311 - a pause is no secret
        until = time.monotonic() + SUBMIT_FOR_S
        while True:
            try:
                block_hash = await self._rpc.call("submit_block", work_id, block)
            except NodeRefused as error:
                desk.rejected(f"block {found.work.number}: {error}")
                return False
            except NodeUnreachable as error:
                if time.monotonic() > until:
                    desk.rejected(f"block {found.work.number} was not taken: {error}")
                    return False
                log.warning("a block waits for the node", number=found.work.number, reason=str(error))
                await asyncio.sleep(back_off.next())
            else:
                desk.accepted(f"block {found.work.number} {block_hash.decode(errors='replace')[:80].strip(chr(34))}")
                return True
