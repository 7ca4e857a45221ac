"""The operator's scripts for alerts and blocks."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ckb_node.chain.events import ChainChanged
from ckb_node.net import operator_scripts
from ckb_node.net.operator_scripts import OperatorScript, OperatorScripts
from ckb_node.net.settings import NotifySection
from tests.support.builders.blocks import a_header


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@asynccontextmanager
async def running(called: OperatorScript) -> AsyncIterator[None]:
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
    monkeypatch.setattr(operator_scripts, "MAX_WAITING", 2)
    called = OperatorScript("script", None, "alerts")
    with capture_logs() as logs:
        for _ in range(4):
            called.call("x")
    assert [entry["event"] for entry in logs] == [
        "the script for alerts is too slow; what comes now is not told to it"  # once, of however many
    ]


async def test_each_new_tip_is_told_to_the_script_of_blocks(tmp_path: Path) -> None:
    out = tmp_path / "out"
    section = NotifySection(new_block_notify_script=script(tmp_path / "script", f'echo "$1" >> {out}'))
    scripts = OperatorScripts(section)
    (of_blocks,) = scripts.configured
    genesis, block = a_header(number=0), a_header(number=1)
    async with running(of_blocks):
        scripts.on_change(ChainChanged(genesis, block, detached=[], attached=[]))
        assert await until_lines(out, 1) == [f"0x{block.hash.hex()}"]


def test_without_scripts_nothing_runs() -> None:
    scripts = OperatorScripts(NotifySection(new_block_notify_script=""))
    scripts.on_change(ChainChanged(a_header(number=0), a_header(number=1), detached=[], attached=[]))
    assert scripts.configured == []
