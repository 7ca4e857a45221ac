"""Templates are posted to URLs and given to programs; what goes wrong is told once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from ckb_node.mining.notify import TemplateNotifier
from ckb_node.mining.settings import AssemblerSection, check_notify
from ckb_node.mining.template import BlockTemplate
from ckb_node.rpc.template_text import template_text
from ckb_node.runtime.settings import ConfigError
from tests.support.chains.devchain import dev_chain
from tests.support.operator_scripts import script, until_lines

SECONDS = 30.0


def section(**fields: Any) -> AssemblerSection:
    return AssemblerSection(code_hash="0x" + "00" * 32, args="0x", hash_type="type", **fields)


@dataclass
class Listener:
    """What a pool's program gets, and what it answers."""

    port: int = 0
    status: int = 200
    wait: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Queue[tuple[dict[str, str], Any]] = field(default_factory=asyncio.Queue)

    async def take(self, request: web.Request) -> web.Response:
        self.came.put_nowait((dict(request.headers), await request.json()))
        await self.wait.wait()
        return web.Response(status=self.status)


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    listener = Listener()
    listener.wait.set()
    app = web.Application()
    app.router.add_post("/work", listener.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    listener.port = runner.addresses[0][1]
    try:
        yield listener
    finally:
        listener.wait.set()
        await runner.cleanup()


async def write(template: BlockTemplate) -> bytes:
    return template_text(template).text


@asynccontextmanager
async def notifying(**fields: Any) -> AsyncIterator[TemplateNotifier]:
    notifier = TemplateNotifier(section(**fields), write)
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        tasks = [group.create_task(run()) for _, run in notifier.tasks()]
        yield notifier
        for task in tasks:
            task.cancel()


async def some_templates(count: int) -> Sequence[BlockTemplate]:
    async with dev_chain() as dev:
        return [await dev.assembler.empty_template() for _ in range(count)]


async def test_a_template_is_posted_as_json_with_the_token() -> None:
    (fresh,) = await some_templates(1)
    async with listening() as pool:
        url = f"http://127.0.0.1:{pool.port}/work"
        async with notifying(notify=[url], notify_auth_token="secret") as notifier:
            assert notifier.is_wanted
            assert list(notifier.on_short(fresh)) == []
            headers, body = await pool.came.get()
            assert headers["Content-Type"] == "application/json"
            assert headers["Authorization"] == "Bearer secret"
            assert body == json.loads(await write(fresh))


async def test_without_a_token_there_is_no_header() -> None:
    (fresh,) = await some_templates(1)
    async with listening() as pool, notifying(notify=[f"http://127.0.0.1:{pool.port}/work"]) as notifier:
        await notifier.on_full(fresh)
        headers, _ = await pool.came.get()
        assert "Authorization" not in headers


async def test_who_is_slow_gets_the_newest_next() -> None:
    first, *others = await some_templates(4)
    async with listening() as pool:
        pool.wait.clear()
        url = f"http://127.0.0.1:{pool.port}/work"
        async with notifying(notify=[url], notify_timeout_millis=60_000) as notifier:
            await notifier.on_full(first)
            await pool.came.get()
            for each in others:
                await notifier.on_full(each)
            text = await write(others[-1])
            while notifier._urls[0]._newest != text:  # noqa: ASYNC110 - of its task
                await asyncio.sleep(0)
            pool.wait.set()
            _, body = await pool.came.get()
            assert int(body["work_id"], 16) == others[-1].work_id


async def until_told(logs: Sequence[Any], count: int) -> list[str]:
    while len(told := [each["event"] for each in logs if "block_assembler.notify" in each["event"]]) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return told


async def test_what_goes_wrong_is_told_once_until_it_works_again() -> None:
    fresh = await some_templates(4)
    with capture_logs() as logs:
        async with listening() as pool, notifying(notify=[f"http://127.0.0.1:{pool.port}/work"]) as notifier:
            for each, status in zip(fresh, (500, 500, 200, 500), strict=True):
                pool.status = status
                await notifier.on_full(each)
                await pool.came.get()
            told = await until_told(logs, 3)
    bad = "a URL of block_assembler.notify answers with status 500"
    assert told == [bad, "a URL of block_assembler.notify takes templates again", bad]


async def test_nobody_listens_and_somebody_never_answers() -> None:
    (fresh,) = await some_templates(1)
    with capture_logs() as logs:
        async with notifying(notify=["http://user:secret@127.0.0.1:1/"]) as notifier:
            await notifier.on_full(fresh)
            (told,) = await until_told(logs, 1)
            assert "cannot be reached" in told
            assert logs[0]["url"] == "http://127.0.0.1:1/"
        async with listening() as pool:
            pool.wait.clear()
            url = f"http://127.0.0.1:{pool.port}/work"
            async with notifying(notify=[url], notify_timeout_millis=50) as notifier:
                await notifier.on_full(fresh)
                assert "does not answer in time" in (await until_told(logs, 2))[1]


async def test_a_program_gets_the_template_as_its_argument(tmp_path: Path) -> None:
    (fresh,) = await some_templates(1)
    out = tmp_path / "out"
    program = script(tmp_path / "script", f'echo "$1" >> {out}')
    async with notifying(notify_scripts=[program]) as notifier:
        await notifier.on_full(fresh)
        (line,) = await until_lines(out, 1)
        assert json.loads(line) == json.loads(await write(fresh))


def test_nobody_is_told_unless_somebody_is_named() -> None:
    assert not TemplateNotifier(section(), write).is_wanted


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"notify": ["127.0.0.1:8888"]}, "block_assembler.notify: '127.0.0.1:8888'"),
        ({"notify": ["ftp://x/"]}, "block_assembler.notify"),
        ({"notify_scripts": [""]}, "block_assembler.notify_scripts"),
        ({"notify_auth_token": " x"}, "block_assembler.notify_auth_token"),
        ({"notify_auth_token": "a\nb"}, "block_assembler.notify_auth_token"),
    ],
)
def test_mistakes_name_the_key(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        check_notify(section(**fields))
