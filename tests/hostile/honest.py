"""Clients that behave: each asks for the tip all the time, and now and then for a block template."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

CLIENTS = 4
PAUSE_S = 0.02
TEMPLATE_EVERY = 10
PATIENCE_S = 30.0


@dataclass
class Served:
    """How they were served: seconds of each call, and what went wrong."""

    cheap: list[float] = field(default_factory=list)
    templates: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    connects: list[float] = field(default_factory=list)
    """Seconds from the first SYN to the first answer of a new connection."""
    tip: int = 0


def run_clients(port: int, seconds: float, out: Connection) -> None:
    """The process of the honest clients."""
    out.send(asyncio.run(_all(port, seconds)))


async def _all(port: int, seconds: float) -> Served:
    served = Served()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(CLIENTS):
            tasks.create_task(_client(port, time.monotonic() + seconds, served))
    return served


async def _client(port: int, end: float, served: Served) -> None:
    """Keeps its connection as long as the node lets it; whatever else happens counts as time of the call."""
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    number = -1
    while time.monotonic() < end:
        number += 1
        is_new = connection is None
        is_template = number % TEMPLATE_EVERY == TEMPLATE_EVERY - 1
        method = "get_block_template" if is_template else "get_tip_block_number"
        started = time.monotonic()
        fault = ""
        for _ in range(3):
            try:
                async with asyncio.timeout(PATIENCE_S):
                    connection = connection or await asyncio.open_connection("127.0.0.1", port)
                    answer = await _call(*connection, method)
                if not is_template:
                    served.tip = max(served.tip, int(answer, 16))
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                fault = f"{type(error).__name__} {error}"
                if connection is not None:
                    connection[1].close()
                connection = None
            else:
                break
        else:
            served.faults.append(fault)
        times = served.connects if is_new else served.templates if is_template else served.cheap
        times.append(time.monotonic() - started)
        await asyncio.sleep(PAUSE_S)


async def _call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str) -> Any:
    """The result of a call. ValueError when the answer has none."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": []}).encode()
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
    if b" 200 " not in head[:20]:
        raise ValueError(head[:40].decode(errors="replace").split("\r")[0])
    answer = await reader.readexactly(int(length.split(b":")[1]))
    if b'"result":' not in answer:
        raise ValueError(answer[:200].decode(errors="replace"))
    return json.loads(answer)["result"]
