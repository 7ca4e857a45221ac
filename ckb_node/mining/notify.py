"""Templates for others: each new one is posted as JSON to URLs, and programs are called with it.

As the reference does it. Whoever is too slow gets the newest one next; what goes wrong is told once, until it works
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout

from ckb_node.mining.settings import AssemblerSection
from ckb_node.mining.template import BlockTemplate
from ckb_node.runtime.log_text import shown
from ckb_node.runtime.operator_script import OperatorScript
from ckb_node.runtime.rpc_client import split_url

log = structlog.get_logger("mining")

Write = Callable[[BlockTemplate], Awaitable[bytes]]
"""The JSON of a template, made beside the event loop."""


class UrlTarget:
    """A URL. `run` works until it is cancelled."""

    def __init__(self, url: str, timeout_s: float, token: str | None) -> None:
        self.name: Final = f"templates to {shown(_without_user(url), 100)}"
        self._url: Final = url
        self._timeout: Final = ClientTimeout(total=timeout_s)
        self._headers: Final = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._newest = b""
        self._has_newest: Final = asyncio.Event()
        self._trouble = ""

    def offer(self, text: bytes) -> None:
        """Post it soon, instead of what waits."""
        self._newest = text
        self._has_newest.set()

    async def run(self) -> None:
        async with ClientSession(timeout=self._timeout, trust_env=False) as session:
            while True:
                await self._has_newest.wait()
                self._has_newest.clear()
                self._tell(await self._post(session, self._newest))

    async def _post(self, session: ClientSession, text: bytes) -> str:
        """What went wrong. Answers are not read."""
        try:
            async with session.post(self._url, data=text, headers=self._headers, allow_redirects=False) as response:
                return "" if response.status < 400 else f"answers with status {response.status}"
        except TimeoutError:
            return "does not answer in time"
        except (ClientError, OSError, ValueError) as error:
            return f"cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}"

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.warning("a URL of block_assembler.notify " + trouble, url=_without_user(self._url))
        elif self._trouble and not trouble:
            log.info("a URL of block_assembler.notify takes templates again", url=_without_user(self._url))
        self._trouble = trouble


def _without_user(url: str) -> str:
    parts = split_url(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class TemplateNotifier:
    """All that are told. Satisfies ckb_node.mining.feed.TemplateListener; it is spread by its tasks."""

    def __init__(self, section: AssemblerSection, write: Write) -> None:
        seconds = section.notify_timeout_millis / 1000
        self._write: Final = write
        self._urls: Final = [UrlTarget(url, seconds, section.notify_auth_token) for url in section.notify]
        self._scripts: Final = [
            OperatorScript(script, section.notify_timeout_millis, f"templates ({shown(script, 100)})")
            for script in section.notify_scripts
        ]
        self._newest: BlockTemplate | None = None
        self._has_newest: Final = asyncio.Event()

    @property
    def is_wanted(self) -> bool:
        """Somebody is told."""
        return bool(self._urls or self._scripts)

    def on_short(self, template: BlockTemplate) -> Iterator[None]:
        self._take(template)
        return iter(())

    async def on_full(self, template: BlockTemplate) -> None:
        self._take(template)

    def _take(self, template: BlockTemplate) -> None:
        self._newest = template
        self._has_newest.set()

    def tasks(self) -> Iterator[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]:
        """Names and work, each until cancelled."""
        yield "templates for others", self._run
        for url in self._urls:
            yield url.name, url.run
        for script in self._scripts:
            yield script.name, script.run

    async def _run(self) -> None:
        while True:
            await self._has_newest.wait()
            self._has_newest.clear()
            if self._newest is None:
                continue
            text = await self._write(self._newest)
            for url in self._urls:
                url.offer(text)
            for script in self._scripts:
                script.call_newest(text.decode())
