"""`notify.network_alert_notify_script`: the operator's program, told of each network alert."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

log = structlog.get_logger("network")

DEFAULT_SECONDS: Final = 60.0
MAX_WAITING: Final = 64
"""Alerts that come while the script runs; more are not told."""


class AlertScript:
    """Runs the script, once for each alert, one at a time."""

    def __init__(self, script: str, timeout_ms: int | None) -> None:
        """A path, or a name in $PATH. It gets the text as its only argument and is killed after the time."""
        self._script: Final = script
        self._seconds: Final = DEFAULT_SECONDS if timeout_ms is None else timeout_ms / 1000
        self._waiting: Final[asyncio.Queue[str]] = asyncio.Queue(MAX_WAITING)

    def call(self, message: str) -> None:
        """Soon."""
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            log.warning("the script for network alerts is too slow; an alert is not told to it")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            message = await self._waiting.get()
            try:
                await self._run_once(message.replace("\0", "�"))
            except OSError as error:
                reason = error.strerror or type(error).__name__
                log.error("the script for network alerts cannot be run", script=self._script, reason=reason)  # noqa: TRY400

    async def _run_once(self, message: str) -> None:
        nowhere = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(self._script, message, stdin=nowhere, stdout=nowhere)
        try:
            async with asyncio.timeout(self._seconds):
                code = await process.wait()
        except TimeoutError:
            log.warning("the script for network alerts takes too long and is ended", script=self._script)
        else:
            if code != 0:
                log.warning("the script for network alerts has failed", script=self._script, code=code)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
