"""Scripts of the operator in tests: one that does something, running it, waiting for what it has written."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from ckb_node.runtime.operator_script import OperatorScript


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
