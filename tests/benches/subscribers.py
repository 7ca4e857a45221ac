"""A thousand subscribers by WebSocket and a block a second: how soon each hears, and what of a processor that takes.

`python -m tests.benches.subscribers`; with `--reference BINARY --cells DIRECTORY` the reference stands beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector

from ckb_node.specs import bundled_text
from tests.support.nodes.reference import OurNode, ReferenceNode, init_ours, spec_text
from tests.support.report import BENCH_DIR, Report

SUBSCRIBERS = 1000
BLOCKS = 15
EVERY_S = 1.0
TICKS_PER_S = 100
SUBSCRIBE = '{"jsonrpc":"2.0","id":1,"method":"subscribe","params":["new_tip_block"]}'


def main() -> int:
    """Measure ours, then the reference if it is there."""
    parser = argparse.ArgumentParser(description="Subscribers by WebSocket")
    parser.add_argument("--reference", type=Path, help="the reference's binary")
    parser.add_argument("--cells", type=Path, help="directory with the official ELF files")
    options = parser.parse_args()
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    report = Report("subscribers")
    with tempfile.TemporaryDirectory(prefix="subscribers-", dir=BENCH_DIR) as name:
        directory = Path(name).absolute()
        spec = directory / "spec.toml"
        spec.write_text(bundled_text("dev") if options.cells is None else spec_text(options.cells.absolute()))
        with ExitStack() as stack:
            ours = OurNode(directory / "ours", init_ours(directory / "ours", spec))
            stack.callback(ours.kill)
            ours.wait_until_ready()
            _measure(report, "", ours)
        if options.reference is not None:
            theirs = ReferenceNode(options.reference.absolute(), directory / "reference", spec)
            with ExitStack() as stack:
                stack.callback(theirs.stop)
                theirs.start()
                _measure(report, "reference_", theirs)
    report.write()
    return 0


def _measure(report: Report, prefix: str, node: OurNode | ReferenceNode) -> None:
    delays, processor = asyncio.run(_run(node))
    ordered = sorted(delays)
    report.add(f"{prefix}p50_ms", statistics.median(ordered) * 1000, "from the call that mines to an event")
    report.add(f"{prefix}p99_ms", ordered[len(ordered) * 99 // 100] * 1000, "the same; of a hundred one is later")
    report.add(f"{prefix}processor_percent", processor * 100, "of one processor, while blocks came")
    report.add(
        f"{prefix}us_per_event", processor * EVERY_S / SUBSCRIBERS * 1e6, "processor time for a subscriber's event"
    )


class _Heard:
    """When subscribers heard of a block."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.all = asyncio.Event()

    def clear(self) -> None:
        self.times.clear()
        self.all.clear()

    def note(self) -> None:
        self.times.append(time.monotonic())
        if len(self.times) == SUBSCRIBERS:
            self.all.set()


async def _run(node: OurNode | ReferenceNode) -> tuple[list[float], float]:
    """Seconds from the call that mines to each event, and the share of a processor that the node took."""
    heard = _Heard()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for _ in range(SUBSCRIBERS):
            url = f"http://127.0.0.1:{node.ws_port}/"
            socket = await stack.enter_async_context(session.ws_connect(url, max_msg_size=0))
            await socket.send_str(SUBSCRIBE)
            assert "result" in json.loads(await socket.receive_str())
            group.create_task(_listen(socket, heard))
        assert node.process is not None
        delays: list[float] = []
        before, started = _ticks(node.process.pid), time.monotonic()
        for _ in range(BLOCKS):
            at = time.monotonic()
            heard.clear()
            await asyncio.to_thread(node.rpc.call, "generate_block")
            await heard.all.wait()
            delays += [each - at for each in heard.times]
            await asyncio.sleep(max(0.0, at + EVERY_S - time.monotonic()))
        share = (_ticks(node.process.pid) - before) / TICKS_PER_S / (time.monotonic() - started)
    return delays, share


async def _listen(socket: ClientWebSocketResponse, heard: _Heard) -> None:
    for _ in range(BLOCKS):
        await socket.receive()
        heard.note()


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    raise SystemExit(main())
