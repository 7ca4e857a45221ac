"""Logs: structured lines to the terminal and to `data/logs/<command>.log`, filtered by level and part, and bounded."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

import msgspec
import structlog
from structlog.typing import ExcInfo

from ckb_node.runtime.log_control import LogControl
from ckb_node.runtime.log_text import bounded, shown, shown_traceback
from ckb_node.runtime.settings import LoggerSection

_SHARED: tuple[structlog.types.Processor, ...] = (
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S.%f", utc=True),
)


class _LosingLines(logging.Handler):
    """A line that cannot be written is lost. That is said once, since a full disk loses many."""

    _is_failing = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's
        """Called where an exception is handled."""
        if not self._is_failing:
            self._is_failing = True
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"lines of the log are lost: {shown(str(sys.exc_info()[1]))}\n")


class Terminal(_LosingLines, logging.StreamHandler[TextIO]):
    """Standard output, whatever its encoding."""

    def __init__(self) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        super().__init__(sys.stdout)


class LogFile(_LosingLines, RotatingFileHandler):
    """`path`, then `path.1` and so on, the oldest with the highest number; `files` in all, each about `size` bytes."""

    def __init__(self, path: Path, size: int, files: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _forget_older(path, files)
        super().__init__(path, maxBytes=size, backupCount=files - 1, encoding="utf-8", errors="backslashreplace")

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - logging's
        """Whether the file is full. The base class renders each line once more to know."""
        return self.stream is not None and self.stream.tell() >= self.maxBytes

    def doRollover(self) -> None:  # noqa: N802 - logging's
        """Begin a new file; of a single one the old lines are dropped."""
        super().doRollover()
        if self.backupCount == 0 and self.stream is not None:
            self.stream.truncate(0)


def _forget_older(path: Path, files: int) -> None:
    """Remove what an earlier run kept that was allowed more files."""
    numbered = re.compile(re.escape(path.name) + r"\.([1-9][0-9]{0,5})")
    for each in path.parent.iterdir():
        found = numbered.fullmatch(each.name)
        if found is not None and int(found[1]) >= files:
            each.unlink(missing_ok=True)


def set_up_logs(section: LoggerSection, directory: Path, command: str) -> LogControl:
    """Send the logs of this process where `[logger]` says; files go into `directory`. OSError when the file cannot be
    opened.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )

    def terminal(color: bool) -> logging.Handler:
        return _rendering(Terminal(), colors=color and sys.stdout.isatty())

    def file(path: Path) -> logging.Handler:
        return _rendering(LogFile(path, section.max_file_size, section.max_files), colors=False)

    return LogControl(section, directory, command, terminal, file)


def _rendering(handler: logging.Handler, *, colors: bool) -> logging.Handler:
    renderer = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, exception_formatter=_traceback)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, bounded, renderer],
            foreign_pre_chain=_SHARED,
        )
    )
    return handler


class LogEntry(msgspec.Struct, frozen=True):
    """A line of the log, as programs get it. `target` is the part of the node that wrote it."""

    message: str
    level: str
    target: str
    date: str


class LogEntries(logging.Handler):
    """Gives each line that the filter lets pass to `sink`, as the JSON of a LogEntry, in the thread that wrote it."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        super().__init__()
        self._sink = sink
        processors: tuple[structlog.types.Processor, ...] = (
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            bounded,
            _entry_text,
        )
        self.setFormatter(structlog.stdlib.ProcessorFormatter(processors=processors, foreign_pre_chain=_SHARED))

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        self._sink(self.format(record).encode())


def _entry_text(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    date, level, target = (str(event.pop(key, "")) for key in ("timestamp", "level", "logger"))
    said = str(event.pop("event", ""))
    message = " ".join([said, *(f"{key}={value}" for key, value in event.items() if key not in _UNSHOWN)])
    return msgspec.json.encode(LogEntry(message, _LEVEL_NAMES.get(level, level), target, date)).decode()


_UNSHOWN = frozenset({"exc_info", "stack_info", "exception"})
_LEVEL_NAMES = {"warning": "warn", "critical": "error"}


def _traceback(out: TextIO, exc_info: ExcInfo) -> None:
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    out.write("\n" + shown_traceback(text.getvalue().strip("\n")))
