"""`ckb-node miner`'s search: nonces a second of a core, and of all cores against one; the reference's miner beside it.

`python -m tests.benches.mining_miner [--reference <its binary> --cells <directory of the official system cells>]` (or
`make bench-mining`). What a core does is by seconds of the processor, since wall time says more about a shared
machine's neighbours; the factor of all cores is by wall time, in turns, and wants a machine at rest.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import psutil

from ckb_node.miner.bench import FUNCTIONS, measure
from ckb_node.miner.plan import processors
from ckb_node.rpc.examples import EXAMPLES
from consensus.params import PowFunc
from tests.support.nodes.reference import ReferenceNode, spec_text
from tests.support.report import Report

TURNS: Final = 5
SECONDS: Final = 2.0
WARM_UP_S: Final = 2.0
REFERENCE_S: Final = 6.0
HARDEST: Final = "0x3000001"
NAMES: Final = {PowFunc.EAGLESONG: "", PowFunc.EAGLESONG_BLAKE2B: "blake2b_"}
RATE: Final = re.compile(rb"Worker-(\d+)[^\r\n]*?hash rate:\s+([\d.]+) /")


def main() -> None:
    parser = argparse.ArgumentParser(description="Rates of the miner")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--cells", type=Path)
    options = parser.parse_args()
    report = Report("mining")
    for function in FUNCTIONS:
        of_core = measure_ours(report, function)
        if options.reference and options.cells:
            measure_reference(report, function, options.reference.absolute(), options.cells.absolute(), of_core)
    report.write_beside_others()


def measure_ours(report: Report, function: PowFunc) -> float:
    """Nonces that a second of a processor is worth."""
    of_core: list[float] = []
    factors: list[float] = []
    for _ in range(TURNS):
        before, begun = time.process_time(), time.perf_counter()
        one = asyncio.run(measure(function, 1, SECONDS))
        share = (time.process_time() - before) / (time.perf_counter() - begun)
        of_core.append(one / share)
        factors.append(asyncio.run(measure(function, processors(), SECONDS)) / one)
    rate = statistics.median(of_core)
    name = NAMES[function]
    report.add(f"{name}mnonces_per_s_core", rate / 1e6, f"{function.value}: a second of one processor")
    report.add(f"{name}all_cores_factor", statistics.median(factors), f"{processors()} threads against one, wall time")
    return rate


def measure_reference(report: Report, function: PowFunc, binary: Path, cells: Path, ours: float) -> None:
    with tempfile.TemporaryDirectory() as base, fake_node() as port:
        directory = miner_directory(Path(base), function, binary, cells, port)
        rate = rate_of(binary, directory)
    name = NAMES[function]
    report.add(f"{name}reference_mnonces_per_s_core", rate / 1e6, "the reference's miner, one thread")
    report.add(f"{name}times_the_reference", ours / rate, "ours to the reference's")


def miner_directory(base: Path, function: PowFunc, binary: Path, cells: Path, port: int) -> Path:
    """Of the reference's miner, with one thread."""
    spec = base / "spec.toml"
    spec.write_text(spec_text(cells).replace('func = "Dummy"', f'func = "{function.value}"'))
    directory = ReferenceNode(binary, base / "miner", spec).directory
    path = directory / "ckb-miner.toml"
    text = re.sub(r"^rpc_url = .*$", f'rpc_url = "http://127.0.0.1:{port}/"', path.read_text(), flags=re.MULTILINE)
    head, _, _ = text.partition("[[miner.workers]]\n")
    extra = 'extra_hash_function = "Blake2b"\n' if function is PowFunc.EAGLESONG_BLAKE2B else ""
    path.write_text(f'{head}[[miner.workers]]\nworker_type = "EaglesongSimple"\nthreads = 1\n{extra}')
    return directory


def rate_of(binary: Path, directory: Path) -> float:
    """Its nonces by seconds of the processor: it shows rates on a terminal only."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 250, 0, 0))
    command = [str(binary), "miner", "-C", str(directory)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    try:
        read_for(ours, WARM_UP_S)
        watched = psutil.Process(process.pid)
        before, begun = cpu_seconds(watched), time.perf_counter()
        text = read_for(ours, REFERENCE_S)
        share = (cpu_seconds(watched) - before) / (time.perf_counter() - begun)
    finally:
        process.kill()
        process.wait(timeout=10)
        os.close(ours)
    rates = [float(found[2]) for found in RATE.finditer(text)]
    assert rates, text[-2000:].decode(errors="replace")
    return statistics.fmean(rates) / share


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user) + float(times.system)


def read_for(descriptor: int, seconds: float) -> bytes:
    parts = []
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            parts.append(os.read(descriptor, 1 << 16))
    return b"".join(parts)


class OneTemplate(BaseHTTPRequestHandler):
    """A node with a template that nobody solves."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        template = dict(EXAMPLES["get_block_template"].result) | {"compact_target": HARDEST}
        body = json.dumps({"jsonrpc": "2.0", "id": 0, "result": template}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def fake_node() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), OneTemplate)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    main()
