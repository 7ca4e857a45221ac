"""Templates for whoever must always have the newest: an empty one at once on each new tip, the full one right after,
and a better one when transactions or uncles make it worth while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.service import ChainService
from ckb_node.mining.assembler import BlockAssembler
from ckb_node.mining.recent import RecentBlocks
from ckb_node.mining.template import BlockTemplate
from ckb_node.runtime.slices import in_slices
from ckb_node.txpool.pool import TxPool
from consensus.types.blockchain import Header

MOST_KEPT_S: Final = 60.0
"""A template is made anew after so long, if only for its time."""
BULK_PAUSE_S: Final = 1.0
"""Between templates while blocks are written in bulk: nobody mines on those."""
BETTER_FEES: Final = 1.02
MORE_PROPOSALS: Final = 20
"""Of so many proposals one more is worth a new template."""


class TemplateListener(Protocol):
    """Who must have the newest template."""

    def on_short(self, template: BlockTemplate) -> Iterator[None]:
        """Spread a template on a new tip that has no transactions, proposals and uncles, in steps. The node does
        nothing else for the tip before the last step."""
        ...

    async def on_full(self, template: BlockTemplate) -> None:
        """Spread a full one. The next is not begun before it has returned: a thread that makes one would hold up what
        is sent of this one. `on_short` may come meanwhile: then the rest is in vain."""
        ...


class TipSignal:
    """Set when the tip has moved. Listens to the chain before the pool does, so that nobody waits for the pool."""

    def __init__(self, chain: ChainService) -> None:
        self.moved: Final = asyncio.Event()
        self.recent: Final = RecentBlocks()
        self.count = 0
        self._chain: Final = chain
        self._listeners: Final[list[Callable[[Header], Iterator[None]]]] = []
        chain.listen(self._on_change)

    def listen(self, listener: Callable[[Header], Iterator[None]]) -> None:
        """Call `listener` with each new tip before others hear of it."""
        self._listeners.append(listener)

    def _on_change(self, change: ChainChanged) -> Iterator[None]:
        if not self._chain.is_taking_runs:
            self.recent.note(change)
        self.count += 1
        self.moved.set()
        for listener in self._listeners:
            yield from listener(change.new_tip)


class TemplateFeed:
    """Made after the pool, so that it hears of a new tip when the pool has followed. `run` works until cancelled."""

    def __init__(
        self,
        chain: ChainService,
        pool: TxPool,
        assembler: BlockAssembler,
        signal: TipSignal,
        now_ms: Callable[[], int],
        interval_s: float,
    ) -> None:
        """`interval_s`: between two templates on the same tip."""
        self._chain, self._pool, self._assembler, self._signal = chain, pool, assembler, signal
        self._now_ms: Final = now_ms
        self._interval_s: Final = interval_s
        self._followed: Final = asyncio.Event()
        self._followed_count = 0
        self._listeners: Final[list[TemplateListener]] = []
        self._last: BlockTemplate | None = None
        self._seen: tuple[int, int] | None = None
        self._short_count = -1
        """Of the signal, at the tip whose empty template was told at once."""
        signal.listen(self._on_tip)
        chain.listen(self._on_followed)

    def _on_tip(self, tip: Header) -> Iterator[None]:
        """The empty template at once. It is left to `run` while blocks come in bulk, and while blocks for the reward
        would have to be read from the disk."""
        recent, assembler = self._signal.recent, self._assembler
        if not self.is_wanted or self._chain.is_taking_runs or not recent.reach(tip, assembler.rewarded_blocks):
            return
        short = self._last = assembler.empty_template_at_once(recent)
        self._short_count = self._signal.count
        for listener in self._listeners:
            yield from listener.on_short(short)

    def _on_followed(self, _: ChainChanged) -> None:
        self._followed_count += 1
        self._followed.set()

    def listen(self, listener: TemplateListener) -> None:
        """Tell it of each template."""
        self._listeners.append(listener)

    @property
    def is_wanted(self) -> bool:
        """Somebody listens."""
        return bool(self._listeners)

    async def run(self) -> None:
        """Raises what the making of a template raises: StorageError and the like."""
        self._signal.moved.set()
        while True:
            if await _is_set_within(self._signal.moved, self._interval_s):
                await self._on_new_tip()
            else:
                await self._refresh()

    async def _on_new_tip(self) -> None:
        self._signal.moved.clear()
        self._seen = None  # a look may have come between the pool's move and this
        if self._short_count != self._signal.count:
            await self._make_short()
        if self._chain.is_taking_runs:
            await asyncio.sleep(BULK_PAUSE_S)
            return
        self._followed.clear()
        if self._followed_count < self._signal.count:
            await _is_set_within(self._followed, self._interval_s)
        if not self._signal.moved.is_set():
            await self._refresh()

    async def _make_short(self) -> None:
        """Beside the event loop."""
        short = await self._assembler.empty_template(self._signal.recent)
        if self._signal.moved.is_set():
            return
        self._last = short
        for listener in self._listeners:
            await in_slices(listener.on_short(short), self._signal.moved.is_set)

    async def _refresh(self) -> None:
        """Tell of the full template, if there is more in it than in the last one."""
        version = self._pool.version, self._assembler.uncles.version
        last = self._last
        if last is None or (version == self._seen and not self._is_old(last)):
            return
        template = await self._assembler.block_template()
        self._seen = version
        if self._signal.moved.is_set() or template.parent_hash != last.parent_hash:
            return
        if is_worth_it(last, template) or self._is_old(last):
            self._last = template
            for listener in self._listeners:
                if not self._signal.moved.is_set():
                    await listener.on_full(template)

    def _is_old(self, template: BlockTemplate) -> bool:
        return self._now_ms() - template.current_time > MOST_KEPT_S * 1000


def is_worth_it(last: BlockTemplate, template: BlockTemplate) -> bool:
    """Miners lose a moment with each job: fees, proposals or uncles must have become more."""
    if [each.uncle.hash for each in last.uncles] != [each.uncle.hash for each in template.uncles]:
        return True
    if template.fees > last.fees * BETTER_FEES:
        return True
    more = len(set(template.proposals).difference(last.proposals))
    return more * MORE_PROPOSALS > len(last.proposals)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
