"""Host names. The system's resolver may take minutes: it runs in threads that neither loop nor end waits for."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

__all__ = ["Resolver"]

MAX_LOOKUPS: Final = 8
"""Threads at a time; more lookups wait. One whose caller has left keeps its place until the resolver answers."""


class Resolver:
    """Belongs to an event loop."""

    def __init__(self) -> None:
        self._slots: Final = asyncio.Semaphore(MAX_LOOKUPS)

    async def resolve(self, host: str, family: int = socket.AF_UNSPEC) -> list[str]:
        """The IP addresses of a host, which may be one itself. OSError (gaierror) or UnicodeError when it has none."""
        with suppress(ValueError):
            return [str(ip_address(host))]
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()

        def finish(addresses: list[str], error: OSError | UnicodeError | None) -> None:
            self._slots.release()
            if found.done():
                return
            if error is None:
                found.set_result(addresses)
            else:
                found.set_exception(error)

        def look_up() -> None:
            addresses: list[str] = []
            failure: OSError | UnicodeError | None = None
            try:
                answers = socket.getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM)
                addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
            except (OSError, UnicodeError) as error:
                failure = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(finish, addresses, failure)

        threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
        return await found
