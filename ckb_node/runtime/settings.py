"""What all sections of the configuration share, and that of the logs."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

LOG_LEVELS = ("off", "error", "warn", "info", "debug", "trace")

Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]

Positive = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]


class ConfigError(Exception):
    """The configuration cannot be used; the message names file and key."""


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file."""


class ExtraLogSection(Section, frozen=True):
    """[logger.extra.NAME]: a log file NAME.log beside the main one, with a filter of its own."""

    filter: str


class LoggerSection(Section, frozen=True):
    """[logger]: `filter` is a level, and name=level for parts of the node that differ: `info,rpc=debug`. Log files of
    `max_file_size` bytes each; the newest `max_files` are kept."""

    filter: str = "info"
    color: bool = True
    log_to_file: bool = True
    log_to_stdout: bool = True
    max_file_size: Annotated[int, Meta(ge=10_000, le=(1 << 40))] = 16 << 20
    max_files: Annotated[int, Meta(ge=1, le=1000)] = 8
    extra: dict[str, ExtraLogSection] = field(default_factory=dict)


class PrometheusTarget(Section, frozen=True):
    """Where Prometheus finds the node's figures: `type` is that of the only exporter, `listen_address` host:port."""

    listen_address: str
    kind: Literal["prometheus"] = field(default="prometheus", name="type")


class PrometheusSection(Section, frozen=True):
    """[metrics.exporter.prometheus]"""

    target: PrometheusTarget


class ExporterSection(Section, frozen=True):
    """[metrics.exporter]"""

    prometheus: PrometheusSection | None = None


class MetricsSection(Section, frozen=True):
    """[metrics]: nothing is measured without an exporter."""

    exporter: ExporterSection = ExporterSection()


def parse_filter(text: str) -> tuple[str, dict[str, str]]:
    """The level of everything, and levels of parts by name, from `info,rpc=debug`. Raises ConfigError."""
    general, parts = "info", {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        name, equals, level = item.rpartition("=")
        if level not in LOG_LEVELS or (equals and not name):
            levels = ", ".join(LOG_LEVELS)
            raise ConfigError(f"logger.filter: `{item}` is no level and no name=level; levels are {levels}")
        if equals:
            parts[name] = level
        else:
            general = level
    return general, parts
