"""A program of the operator: what it is called with, when it is too slow, what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ckb_node.runtime import operator_script
from ckb_node.runtime.operator_script import OperatorScript
from tests.support.operator_scripts import running, script, until_lines


async def until_logged(logs: Sequence[Any], text: str) -> None:
    async with asyncio.timeout(30):
        while not any(text in entry["event"] for entry in logs):  # noqa: ASYNC110 - of the script
            await asyncio.sleep(0.01)


async def test_the_text_is_the_only_argument(tmp_path: Path) -> None:
    out = tmp_path / "out"
    called = OperatorScript(script(tmp_path / "script", f'echo "$#:$1" >> {out}'), None, "alerts")
    async with running(called):
        called.call("please; touch x && $(update)")
        called.call("nul\0inside")
        assert await until_lines(out, 2) == ["1:please; touch x && $(update)", "1:nul\N{REPLACEMENT CHARACTER}inside"]


async def test_a_script_that_fails_or_takes_too_long_is_told(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with running(called := OperatorScript(script(tmp_path / "bad", "exit 3"), None, "alerts")):
            called.call("x")
            await until_logged(logs, "has failed")
        async with running(called := OperatorScript(script(tmp_path / "slow", "exec sleep 1000"), 100, "alerts")):
            called.call("x")
            await until_logged(logs, "takes too long")
        async with running(called := OperatorScript(str(tmp_path / "none"), None, "alerts")):
            called.call("x")
            await until_logged(logs, "cannot be run")


async def test_a_script_that_fails_each_time_is_told_once_until_it_works_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    called = OperatorScript(script(tmp_path / "odd", f'echo "$1" >> {out}; exit "$1"'), None, "alerts")
    with capture_logs() as logs:
        async with running(called):
            for code in ("3", "3", "4", "0", "4", "0"):
                called.call(code)
            await until_lines(out, 6)
    assert [entry["event"].rsplit(" ", 1)[1] for entry in logs] == ["3", "4", "4"]


async def test_only_so_many_alerts_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_script, "MAX_WAITING", 2)
    called = OperatorScript("script", None, "alerts")
    with capture_logs() as logs:
        for _ in range(4):
            called.call("x")
    assert [entry["event"] for entry in logs] == [
        "the script for alerts is too slow; what comes now is not told to it"  # once, of however many
    ]


async def test_of_what_waits_only_the_newest_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    called = OperatorScript(script(tmp_path / "script", f'echo "$1" >> {out}'), None, "templates")
    for text in ("1", "2", "3"):
        called.call_newest(text)
    async with running(called):
        assert await until_lines(out, 1) == ["3"]
        called.call_newest("4")
        assert await until_lines(out, 2) == ["3", "4"]
