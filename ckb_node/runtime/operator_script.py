"""A program of the operator that is called with a text, once for each."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

log = structlog.get_logger("node")

DEFAULT_SECONDS: Final = 60.0
MAX_WAITING: Final = 64
"""What comes while a script runs; more is not told to it."""


class OperatorScript:
    """Runs the script, once for each text, one at a time."""

    def __init__(self, script: str, timeout_ms: int | None, of: str) -> None:
        """A path, or a name in $PATH. It gets the text as its only argument and is killed after the time. `of`: what it
        is told of."""
        self._script: Final = script
        self._seconds: Final = DEFAULT_SECONDS if timeout_ms is None else timeout_ms / 1000
        self._waiting: Final[asyncio.Queue[str]] = asyncio.Queue(MAX_WAITING)
        self.name: Final = f"script for {of}"
        self._is_late = False
        self._trouble = ""
        """What was told of the last run."""

    def call(self, text: str) -> None:
        """Soon."""
        try:
            self._waiting.put_nowait(text)
        except asyncio.QueueFull:
            if not self._is_late:  # of thousands of blocks it is said once
                log.warning(f"the {self.name} is too slow; what comes now is not told to it")
            self._is_late = True
        else:
            self._is_late = False

    def call_newest(self, text: str) -> None:
        """Soon; what waits is of no use any more."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(text)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            text = await self._waiting.get()
            try:
                await self._run_once(text.replace("\0", "�"))
            except OSError as error:
                self._tell(f"cannot be run: {error.strerror or type(error).__name__}")

    async def _run_once(self, text: str) -> None:
        nowhere = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(self._script, text, stdin=nowhere, stdout=nowhere)
        try:
            async with asyncio.timeout(self._seconds):
                code = await process.wait()
        except TimeoutError:
            self._tell("takes too long and is ended")
        else:
            self._tell("" if code == 0 else f"has failed with code {code}")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _tell(self, trouble: str) -> None:
        """Log what is wrong, once until it is something else: a script that always fails runs for each block."""
        if trouble and trouble != self._trouble:
            log.warning(f"the {self.name} {trouble}", script=self._script)
        self._trouble = trouble
