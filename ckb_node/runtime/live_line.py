"""A line at the bottom of the terminal that is drawn anew, with the lines of the log above it."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ckb_node.runtime.logs import Terminal

QUIET_LOGGER: Final = "progress"
"""What the live line shows is not written beside it; warnings are."""


@contextmanager
def live_line(out: TextIO | None = None) -> Iterator[Callable[[str], None] | None]:
    """What to call with the line's text while the context lasts; None where standard output is no terminal."""
    console = Console(file=out or sys.stdout, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    live = Live(Text(""), console=console, auto_refresh=False, transient=True, redirect_stdout=False)

    def draw(text: str) -> None:
        live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    with live, _logs_above(console):
        yield draw


class _Above(io.StringIO):
    """A stream whose lines appear above the live line. They are not broken: whoever copies one has all of it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console: Final = console
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._console.print(Text.from_ansi(line), soft_wrap=True)
        return len(text)


@contextmanager
def _logs_above(console: Console) -> Iterator[None]:
    """Lines of the log do not end up in the live line."""
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, Terminal)]
    before = [each.setStream(_Above(console)) for each in handlers]
    for each in handlers:
        each.addFilter(_is_not_on_the_line)
    try:
        yield
    finally:
        for each, stream in zip(handlers, before, strict=True):
            each.removeFilter(_is_not_on_the_line)
            if stream is not None:
                each.setStream(stream)


def _is_not_on_the_line(record: logging.LogRecord) -> bool:
    return record.name != QUIET_LOGGER or record.levelno >= logging.WARNING
