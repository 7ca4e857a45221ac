"""What goes into the logs, as it may change while the node runs: the main log, and files of their own beside it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from ckb_node.runtime.settings import ConfigError, LoggerSection, parse_filter

LEVELS: Final = {
    "off": logging.CRITICAL + 10,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG - 5,
}

MAX_EXTRA: Final = 16
"""Logs beside the main one."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class LogControlError(Exception):
    """The change cannot be made."""


class LevelFilter(logging.Filter):
    """Lets lines pass by the level of the part of the node that wrote them."""

    def __init__(self, text: str) -> None:
        """`text` as in `[logger] filter`. Raises ConfigError."""
        super().__init__()
        general, parts = parse_filter(text)
        self.general: Final = LEVELS[general]
        self.parts: Final = {part_of(name): LEVELS[level] for name, level in parts.items()}

    def level_of(self, name: str) -> int:
        """The level of a part: its own, that of the part which it belongs to, or the general one."""
        while name:
            if (level := self.parts.get(name)) is not None:
                return level
            name = name.rpartition(".")[0]
        return self.general

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by logging."""
        return record.levelno >= self.level_of(record.name)


class LogControl:
    """The handlers of this process' logs. `make` opens the terminal (True: coloured) or a file by its path."""

    def __init__(
        self,
        section: LoggerSection,
        directory: Path,
        command: str,
        terminal: Callable[[bool], logging.Handler],
        file: Callable[[Path], logging.Handler],
    ) -> None:
        self._main: LevelFilter = LevelFilter(section.filter)
        self._directory, self._command = directory, command
        self._make_terminal, self._make_file = terminal, file
        self._color = section.color
        self._terminal = terminal(section.color) if section.log_to_stdout else None
        self._file = file(self._path(command)) if section.log_to_file else None
        self._extra: Final[dict[str, tuple[LevelFilter, logging.Handler]]] = {}
        self._listeners: Final[list[logging.Handler]] = []
        self._named: set[str] = set()
        for handler in (self._terminal, self._file):
            if handler is not None:
                logging.getLogger().addHandler(handler)
        self._apply()
        for name, extra in section.extra.items():
            self._begin_extra(name, extra.filter)

    @property
    def extra(self) -> Mapping[str, tuple[LevelFilter, logging.Handler]]:
        """Logs beside the main one, by name."""
        return self._extra

    def update(self, text: str | None, *, to_stdout: bool | None, to_file: bool | None, color: bool | None) -> None:
        """Change the main log; None leaves things as they are. Raises ConfigError, LogControlError."""
        chosen = self._main if text is None else LevelFilter(text)
        if to_file is not None and to_file != (self._file is not None):
            self._file = self._switched(self._file, self._make_log(self._command) if to_file else None)
        shown = self._terminal is not None if to_stdout is None else to_stdout
        if color is not None or shown != (self._terminal is not None):
            self._color = self._color if color is None else color
            self._terminal = self._switched(self._terminal, self._make_terminal(self._color) if shown else None)
        self._main = chosen
        self._apply()

    def set_extra(self, name: str, text: str) -> None:
        """Write what this filter lets pass into a file of its own too. Raises ConfigError, LogControlError."""
        self.verify_name(name)
        chosen = LevelFilter(text)
        known = self._extra.get(name)
        if known is None and len(self._extra) >= MAX_EXTRA:
            raise LogControlError(f"there are {MAX_EXTRA} extra loggers already")
        handler = self._make_log(name) if known is None else known[1]
        self._extra[name] = chosen, handler
        if known is None:
            logging.getLogger().addHandler(handler)
        self._apply()

    def _begin_extra(self, name: str, text: str) -> None:
        """One that is configured. Raises ConfigError."""
        try:
            self.set_extra(name, text)
        except (LogControlError, ConfigError) as error:
            raise ConfigError(f"logger.extra.{name[:80]}: {error}") from None

    def remove_extra(self, name: str) -> None:
        """End such a log; its file stays. Raises LogControlError."""
        self.verify_name(name)
        if (known := self._extra.pop(name, None)) is not None:
            self._switched(known[1], None)
            self._apply()

    def verify_name(self, name: str) -> None:
        """Raises LogControlError for what cannot be the name of a file beside the main log."""
        if not name:
            raise LogControlError("the identifier shouldn't be empty")
        if not _NAME.fullmatch(name):
            raise LogControlError(
                f'Invalid identifier "{name[:80]}", the identifier can only contain alphabets, digits, `-`, and `_`'
            )
        if name == self._command:
            raise LogControlError(f"`{name}` is the name of the main log")

    def listen(self, handler: logging.Handler) -> None:
        """Give a handler what the main log gets."""
        self._listeners.append(handler)
        logging.getLogger().addHandler(handler)
        self._apply()

    def unlisten(self, handler: logging.Handler) -> None:
        """Give it no more."""
        if handler in self._listeners:
            self._listeners.remove(handler)
        logging.getLogger().removeHandler(handler)

    def close(self) -> None:
        """End all logs."""
        for handler in (self._terminal, self._file, *(each for _, each in self._extra.values())):
            if handler is not None:
                self._switched(handler, None)
        self._terminal = self._file = None
        self._extra.clear()
        self._main = LevelFilter("warn")
        self._apply()

    def _make_log(self, name: str) -> logging.Handler:
        try:
            return self._make_file(self._path(name))
        except OSError as error:
            raise LogControlError(f"the log file cannot be opened: {error.strerror}") from None

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _switched(self, old: logging.Handler | None, new: logging.Handler | None) -> logging.Handler | None:
        root = logging.getLogger()
        if old is not None:
            root.removeHandler(old)
            old.close()
        if new is not None:
            root.addHandler(new)
        return new

    def _apply(self) -> None:
        """Each handler gets its filter; loggers let pass what any of them wants."""
        for handler in (self._terminal, self._file, *self._listeners):
            if handler is not None:
                _give(handler, self._main)
        filters = [self._main]
        for level_filter, handler in self._extra.values():
            _give(handler, level_filter)
            filters.append(level_filter)
        named = {name for each in filters for name in each.parts}
        for name in self._named - named:
            logging.getLogger(name).setLevel(logging.NOTSET)
        for name in named:
            logging.getLogger(name).setLevel(min(each.level_of(name) for each in filters))
        logging.getLogger().setLevel(min(each.general for each in filters))
        self._named = named


def _give(handler: logging.Handler, chosen: LevelFilter) -> None:
    """Filters of others stay."""
    handler.filters[:] = [chosen, *(each for each in handler.filters if not isinstance(each, LevelFilter))]


def part_of(name: str) -> str:
    """A part of the node by our name or by the reference's: `ckb-tx-pool` is txpool."""
    return name.removeprefix("ckb-").replace("-", "") if name.startswith("ckb-") else name
