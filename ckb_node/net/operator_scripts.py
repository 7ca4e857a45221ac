"""[notify]: the operator's programs, told of each new tip and of each network alert."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from ckb_node.chain.events import ChainChanged
from ckb_node.net.settings import NotifySection

log = structlog.get_logger("network")

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


class OperatorScripts:
    """Those that are configured."""

    def __init__(self, section: NotifySection) -> None:
        def script(path: str | None, of: str) -> OperatorScript | None:
            return OperatorScript(path, section.script_timeout, of) if path else None

        self.of_alerts: Final = script(section.network_alert_notify_script, "network alerts")
        self.of_blocks: Final = script(section.new_block_notify_script, "new blocks")

    @property
    def configured(self) -> Sequence[OperatorScript]:
        return [script for script in (self.of_alerts, self.of_blocks) if script is not None]

    def on_change(self, change: ChainChanged) -> None:
        """For ckb_node.chain.service.ChainService.listen."""
        if self.of_blocks is not None:
            self.of_blocks.call(f"0x{change.new_tip.hash.hex()}")
