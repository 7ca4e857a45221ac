"""What a person sees of a long job: a bar on a terminal, a line now and then elsewhere, always on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

LINE_EVERY_S = 10.0
BAR_EVERY_S = 0.05


@dataclass(slots=True)
class Counts:
    """What was done in so many seconds. `transactions` leaves cellbases out."""

    seconds: float = 0.0
    blocks: int = 0
    transactions: int = 0

    def rates(self) -> str:
        """Blocks and transactions per second."""
        seconds = max(self.seconds, 1e-6)
        return f"{self.blocks / seconds:,.0f} blocks/s, {self.transactions / seconds:,.0f} tx/s"

    def summary(self) -> str:
        """All of it in one line."""
        return f"{self.blocks} blocks with {self.transactions} transactions in {self.seconds:.1f} s ({self.rates()})"


class _Rates(ProgressColumn):
    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def render(self, _: Task) -> Text:
        return Text(f"{self._counts.blocks} blocks, {self._counts.rates()}")


class BlockProgress:
    """Counts blocks against a total in units of the caller's choice (bytes of a file, blocks); None when unknown."""

    def __init__(
        self,
        title: str,
        total: int | None,
        console: Console | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: Final = Counts()
        self._title: Final = title
        self._total: Final = total
        self._console: Final = console or Console(stderr=True)
        self._now: Final = now
        self._started = self._last_shown = now()
        self._done = 0
        self._is_terminal: Final = self._console.is_terminal
        self._bar: Final = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%" if total else ""),
            _Rates(self.counts),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._is_terminal,
        )
        self._task: Final = self._bar.add_task(title, total=total)

    def __enter__(self) -> Self:
        self._started = self._last_shown = self._now()
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.counts.seconds = self._now() - self._started
        self._bar.stop()

    def take_back(self, blocks: int, transactions: int) -> None:
        """What was counted came to nothing."""
        self.counts.blocks -= blocks
        self.counts.transactions -= transactions

    def advance(self, units: int, blocks: int, transactions: int) -> None:
        """Note work done."""
        counts, now = self.counts, self._now()
        counts.blocks += blocks
        counts.transactions += transactions
        counts.seconds = now - self._started
        self._done += units
        if now - self._last_shown >= (BAR_EVERY_S if self._is_terminal else LINE_EVERY_S):
            self._last_shown = now
            self._show()

    def _show(self) -> None:
        if self._is_terminal:
            self._bar.update(self._task, completed=self._done)
        else:
            self._console.print(f"{self._title}: {self._line()}", highlight=False, soft_wrap=True)

    def _line(self) -> str:
        text = f"{self.counts.blocks} blocks, {self.counts.rates()}"
        if not self._total or not self._done:
            return text
        left = self.counts.seconds * max(self._total - self._done, 0) / self._done
        return f"{self._done / self._total:.0%}, {text}, {left:.0f} s left"
