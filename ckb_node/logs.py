"""Logs: structured lines to the terminal and to `data/logs/<command>.log`, filtered by level and part."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import structlog

from ckb_node.config import Config, parse_filter

LEVELS = {
    "off": logging.CRITICAL + 10,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG - 5,
}

_SHARED: tuple[structlog.types.Processor, ...] = (
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S.%f", utc=True),
)


def set_up_logs(config: Config, command: str) -> None:
    """Send the logs of this process where `[logger]` says. OSError when the file cannot be opened."""
    section = config.file.logger
    general, parts = parse_filter(section.filter)
    root = logging.getLogger()
    root.setLevel(LEVELS[general])
    for name, level in parts.items():
        logging.getLogger(name).setLevel(LEVELS[level])
    if section.log_to_stdout:
        is_colored = section.color and sys.stdout.isatty()
        root.addHandler(_handler(logging.StreamHandler(sys.stdout), colors=is_colored))
    if section.log_to_file:
        root.addHandler(_handler(_file(config.log_dir / f"{command}.log"), colors=False))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _file(path: Path) -> logging.FileHandler:
    path.parent.mkdir(parents=True, exist_ok=True)
    return logging.FileHandler(path, encoding="utf-8")


def _handler(handler: logging.Handler, *, colors: bool) -> logging.Handler:
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=_SHARED,
        )
    )
    return handler
