"""Options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any

import click

from ckb_node.config import SpecCheck, check_targets
from ckb_node.mining.settings import MAX_INTERVAL_MS
from ckb_node.runtime.settings import ConfigError


class _Seconds(click.FloatRange):
    """A number of seconds within a range. NaN is refused: it would pass the checks of the range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds


SECONDS = _Seconds(min=0, max=MAX_INTERVAL_MS / 1000)


def _take_directory(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.obj = value


def directory_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`-C DIR`, before or after the sub-command."""
    return click.option(
        "-C",
        "directory",
        type=click.Path(path_type=Path),
        callback=_take_directory,
        expose_value=False,
        help="Directory of the node: configuration, data.",
    )(function)


def root_of(context: click.Context) -> Path:
    """The node's directory: that of `-C`, else the current one."""
    return (context.obj or Path()).absolute()


def _take_targets(_context: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    if value is None:
        return None
    targets = [text.strip() for text in value.split(",") if text.strip()]
    try:
        check_targets(parameter.opts[0], targets)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from error
    return targets


def assume_valid_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--assume-valid-target H[,H…]`."""
    return click.option(
        "--assume-valid-target",
        "--assume-valid-targets",
        metavar="HASH[,HASH...]",
        callback=_take_targets,
        help="Blocks, lowest first, whose ancestors' scripts are taken as passed; the zero hash runs all scripts.",
    )(function)


def spec_check_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--skip-spec-check` and `--overwrite-spec`."""
    skip = click.option("--skip-spec-check", is_flag=True, help="Go on though the chain spec has changed.")
    overwrite = click.option("--overwrite-spec", is_flag=True, help="The same, and keep the new one as the data's.")
    return skip(overwrite(function))


def spec_check_of(skip: bool, overwrite: bool) -> SpecCheck:
    """What the two options ask for. UsageError when both are given."""
    if skip and overwrite:
        raise click.UsageError("--skip-spec-check and --overwrite-spec exclude each other")
    return SpecCheck.SKIP if skip else SpecCheck.OVERWRITE if overwrite else SpecCheck.REFUSE
