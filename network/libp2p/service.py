"""The node's end of the libp2p process: starts it, watches it, and survives its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from importlib.util import find_spec
from random import Random
from typing import Final

from network.identity import Identity
from network.libp2p.bridge import Bridge
from network.libp2p.home import Home, Layer, Libp2pSettings, Libp2pState
from network.libp2p.messages import IpcError
from vm.child import STOPPED_STATES, process_state, start_child

__all__ = ["INSTALL", "Libp2pError", "Libp2pService", "Libp2pSettings", "Libp2pState", "is_installed"]

CHILD: Final = "network.libp2p.child.main"
"""Only its name: what is in there is for the other process."""
INSTALL: Final = "pip install 'ckb-node[libp2p]' (a part of it is built: gcc, Python's headers and GMP's, libgmp-dev)"
START_TIMEOUT: Final = 60.0
"""Seconds that the process may take to listen; its library takes one to load, on a busy machine many."""
SILENCE: Final = 30.0
"""Seconds without a word, of which one comes every second."""
STOPPED_CHECKS: Final = 3
CHECK_INTERVAL: Final = 1.0
STOP_TIMEOUT: Final = 5.0
_LIBRARIES: Final = ("libp2p", "trio", "fastecdsa")


class Libp2pError(OSError):
    """The libp2p process has ended, or must be ended; one line that says why."""


def is_installed() -> bool:
    """Whether the library is there; it is not loaded."""
    return all(find_spec(name) is not None for name in _LIBRARIES)


class Libp2pService(Home):
    """One node's libp2p. `run` once for each life of the process."""

    def __init__(self, identity: Identity, settings: Libp2pSettings) -> None:
        super().__init__(identity, settings, Random(os.urandom(32)))  # noqa: S311 - makes no keys
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.bridge: Bridge | None = None
        """To the process that runs now."""

    def publish(self, topic: int, data: bytes) -> None:
        """Gossip something, at most MAX_GOSSIP bytes; what was gossiped before, by whomever, is not again."""
        if self.bridge is not None:
            self.bridge.publish(topic, data)

    async def run(self, layer: Layer) -> None:
        """Until cancelled. Raises Libp2pError when the process ends, or must be ended; its peers have left then."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            arguments = [str(theirs.fileno()), str(self.settings.memory)]
            self.process = process = start_child(CHILD, arguments, pass_fds=[theirs.fileno()], group=0)
            theirs.close()
            self.starts += 1
            link = _ProcessLink(self, layer, process)
            self.bridge = link.bridge
            try:
                await asyncio.get_running_loop().create_connection(lambda: link, sock=ours)
                link.bridge.start()
                await link.watch()
            except Libp2pError:
                process.kill()
                raise
            finally:
                self.state, self.process, self.bridge = None, None, None
                link.close()
                await _end(process)


class _ProcessLink(asyncio.Protocol):
    """The socket to one process, and the watch over it."""

    def __init__(self, service: Libp2pService, layer: Layer, process: subprocess.Popen[bytes]) -> None:
        self._service, self._process = service, process
        self.bridge: Final = Bridge(service, layer, self._write, self._end)
        self._loop: Final = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._fault: str | None = None
        self._has_ended: Final = asyncio.Event()
        self._heard_at = self._begun_at = self._loop.time()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            self.bridge.receive(data)
        except IpcError as error:
            self._end(f"it says what it may not: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        code = self._process.poll()
        self._end("it has ended" if code is None else f"it has ended with {code}")

    # --- the process ---

    async def watch(self) -> None:
        """Raises Libp2pError when the process ends, is stopped, or says nothing any more."""
        stopped = 0
        while not self._has_ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._has_ended.wait(), CHECK_INTERVAL)
            now, is_ready = self._loop.time(), self._service.state is not None
            stopped = stopped + 1 if process_state(self._process.pid) in STOPPED_STATES else 0
            if stopped >= STOPPED_CHECKS:
                self._end("it was stopped")
            elif is_ready and now - self._heard_at > SILENCE:
                self._end(f"it has said nothing for {SILENCE:g} s")
            elif not is_ready and now - self._begun_at > START_TIMEOUT:
                self._end(f"it did not listen within {START_TIMEOUT:g} s")
            else:
                self.bridge.dial()
        raise Libp2pError(f"the libp2p process: {self._fault}")

    def _end(self, fault: str) -> None:
        """Its connections are gone."""
        if self._fault is None:
            self._fault = fault
        self._has_ended.set()
        self.bridge.ended()

    def close(self) -> None:
        """Tell the process to stop, behind all else."""
        self.bridge.stop()
        self._end("the node is stopping")
        if self._transport is not None:
            self._transport.close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Give it a moment to end in order, then kill it; it is gone when this returns."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STOP_TIMEOUT
    try:
        while process.poll() is None and loop.time() < deadline:  # noqa: ASYNC110 - of a process, which has no event
            await asyncio.sleep(0.05)
    finally:
        if process.poll() is None:
            process.kill()
        await asyncio.to_thread(process.wait)
