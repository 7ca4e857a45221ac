"""The operator's script for network alerts."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ckb_node.net import alert_script
from ckb_node.net.alert_script import AlertScript


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@asynccontextmanager
async def running(called: AlertScript) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(called.run())
        yield
        task.cancel()


async def until_lines(path: Path, count: int) -> Sequence[str]:
    async with asyncio.timeout(30):
        while True:
            lines = await asyncio.to_thread(lambda: path.read_text().splitlines() if path.exists() else [])
            if len(lines) >= count:
                return lines
            await asyncio.sleep(0.01)


async def until_logged(logs: Sequence[Any], text: str) -> None:
    async with asyncio.timeout(30):
        while not any(text in entry["event"] for entry in logs):  # noqa: ASYNC110 - of the script
            await asyncio.sleep(0.01)


async def test_the_text_is_the_only_argument(tmp_path: Path) -> None:
    out = tmp_path / "out"
    called = AlertScript(script(tmp_path / "script", f'echo "$#:$1" >> {out}'), None)
    async with running(called):
        called.call("please; touch x && $(update)")
        called.call("nul\0inside")
        assert await until_lines(out, 2) == ["1:please; touch x && $(update)", "1:nul\N{REPLACEMENT CHARACTER}inside"]


async def test_a_script_that_fails_or_takes_too_long_is_told(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with running(called := AlertScript(script(tmp_path / "bad", "exit 3"), None)):
            called.call("x")
            await until_logged(logs, "has failed")
        async with running(called := AlertScript(script(tmp_path / "slow", "exec sleep 1000"), 100)):
            called.call("x")
            await until_logged(logs, "takes too long")
        async with running(called := AlertScript(str(tmp_path / "none"), None)):
            called.call("x")
            await until_logged(logs, "cannot be run")


async def test_only_so_many_alerts_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_script, "MAX_WAITING", 2)
    called = AlertScript("script", None)
    with capture_logs() as logs:
        for _ in range(4):
            called.call("x")
    assert len(logs) == 2
