"""The generated kernels beside their plain twins: proof of work, mining, bagging of the chain root, block filters.

`python -m tests.benches.kernels` (or `make bench-kernels`). Each figure is the median of several turns; a kernel and
what it is compared with take turns, so a ratio is of the same minutes. Seconds are those of the processor, since wall
time says more about a shared machine's neighbours.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from consensus.crypto import golomb
from consensus.crypto.difficulty import compact_to_target
from consensus.crypto.eaglesong import eaglesong
from consensus.crypto.hashing import ckb_hash
from consensus.kernels import eaglesong as pow_kernel
from consensus.kernels import golomb as filter_kernel
from consensus.kernels import mmr as mmr_kernel
from consensus.kernels.runtime import Kernel
from consensus.params import PowFunc
from consensus.rules import mmr
from consensus.rules.pow import is_solution
from consensus.types.blockchain import Header
from consensus.types.core import EpochFraction
from tests.support.report import Report

TURNS = 9
HEADERS = 2000
EASIEST = 0x20FF_FFFF  # all but one digest in 2²⁴ meet it
PEAKS = 13
FILTER_ELEMENTS = 1000
Work = Callable[[], object]


def main() -> None:
    report = Report("kernels")
    source = random.Random(14)
    measure_start(report)
    measure_digest(report, source.randbytes(48))
    measure_headers(report, [make_header(source) for _ in range(HEADERS)])
    measure_mining(report, source.randbytes(32))
    measure_bagging(report, source)
    measure_filters(report, [source.randbytes(32) for _ in range(FILTER_ELEMENTS)])
    report.write()


def medians(*works: tuple[Work, int]) -> list[float]:
    """Seconds of the processor that each piece of work takes, done so many times a turn."""
    turns: list[list[float]] = [[] for _ in works]
    for _ in range(TURNS):
        for spent, (work, times) in zip(turns, works, strict=True):
            start = time.process_time()
            for _ in range(times):
                work()
            spent.append((time.process_time() - start) / times)
    return [statistics.median(spent) for spent in turns]


def measure_start(report: Report) -> None:
    """Of fresh kernels with the same code."""
    kernels = (pow_kernel.KERNEL, filter_kernel.KERNEL, mmr_kernel.KERNEL)

    def load(directory: Path) -> None:
        for kernel in kernels:
            Kernel(kernel.name, kernel.digest, kernel.generate, lambda instance: instance).load(directory)

    with tempfile.TemporaryDirectory() as base:
        directory = Path(base) / "kernels"
        start = time.process_time()
        load(directory)
        compiling = time.process_time() - start
        (loading,) = medians((lambda: load(directory), 1))
    report.add("kernels_compile_ms", compiling * 1e3, "all kernels: generate, compile, write to disk")
    report.add("kernels_load_ms", loading * 1e3, "the same, kept on disk")


def measure_digest(report: Report, message: bytes) -> None:
    kernel, plain = medians((lambda: pow_kernel.eaglesong(message), 500), (lambda: eaglesong(message), 3))
    report.add("eaglesong_us", kernel * 1e6, "one digest of 48 bytes")
    report.add("eaglesong_plain_us", plain * 1e6, "the same in plain Python")


def make_header(source: random.Random) -> bytes:
    return source.randbytes(4) + EASIEST.to_bytes(4, "little") + source.randbytes(200)


def measure_headers(report: Report, headers: Sequence[bytes]) -> None:
    one = headers[0]

    def plain() -> None:
        header = Header.parse(one)
        assert is_solution(
            PowFunc.EAGLESONG, ckb_hash(one[:192]), header.nonce, compact_to_target(header.compact_target)
        )

    def check(is_blake2b: bool) -> None:
        assert pow_kernel.first_without_work(headers, is_blake2b) is None

    single, in_python, batch, blake2b_batch = medians(
        (lambda: pow_kernel.has_work(one, is_blake2b=False), 500),
        (plain, 3),
        (lambda: check(is_blake2b=False), 3),
        (lambda: check(is_blake2b=True), 3),
    )
    report.add("header_work_us", single * 1e6, "work of one header: pow hash, Eaglesong, target")
    report.add("header_work_plain_us", in_python * 1e6, "the same in plain Python")
    report.add("header_batch_per_s", len(headers) / batch, f"headers of a batch of {len(headers)}, Eaglesong")
    report.add("header_batch_blake2b_per_s", len(headers) / blake2b_batch, "the same, EaglesongBlake2b")


def measure_mining(report: Report, pow_hash: bytes) -> None:
    count = pow_kernel.SEARCHED_NONCES

    def search(is_blake2b: bool) -> None:
        assert pow_kernel.search(pow_hash, 1, 0, count, is_blake2b=is_blake2b) is None

    mining, blake2b_mining = medians((lambda: search(is_blake2b=False), 1), (lambda: search(is_blake2b=True), 1))
    report.add("mining_nonces_per_s", count / mining, f"calls of {count} nonces, one thread, Eaglesong")
    report.add("mining_blake2b_nonces_per_s", count / blake2b_mining, "the same, EaglesongBlake2b")


def measure_bagging(report: Report, source: random.Random) -> None:
    """From positions to the root's hash, the nodes being in a dict, as ChainTxn keeps those of peaks."""
    blocks = (1 << PEAKS) - 1
    nodes: dict[int, bytes] = {}
    for number in range(blocks):
        epoch = EpochFraction(number // 1800, number % 1800, 1800).pack()
        header = Header.parse(bytes(208)).with_fields(number=number, epoch=epoch, dao=source.randbytes(32))
        leaf = mmr.leaf_digest(header)
        for node in mmr.append(number, leaf, nodes.__getitem__):
            nodes[len(nodes)] = node

    def plain() -> bytes:
        *rest, last = mmr.peak_positions(blocks)
        bagged = nodes[last]
        for position in reversed(rest):
            bagged = mmr.merge(nodes[position], bagged)
        return mmr.digest_hash(bagged)

    def by_kernel() -> bytes:
        bagged = mmr_kernel.bag([nodes[position] for position in mmr.peak_positions(blocks)])
        assert bagged is not None
        return bagged[1]

    assert plain() == by_kernel()
    kernel, in_python = medians((by_kernel, 300), (plain, 300))
    report.add("mmr_bag_us", kernel * 1e6, f"chain root hash of {PEAKS} peaks")
    report.add("mmr_bag_plain_us", in_python * 1e6, "the same in plain Python, hashes of peaks remembered")
    report.add("mmr_bag_ratio", in_python / kernel, "times as fast")


def measure_filters(report: Report, elements: Sequence[bytes]) -> None:
    def plain() -> bytes:
        golomb.siphash.cache_clear()
        return golomb.golomb_coded_set(elements)

    assert plain() == filter_kernel.golomb_coded_set(elements)
    kernel, fresh, known = medians(
        (lambda: filter_kernel.golomb_coded_set(elements), 20),
        (plain, 1),
        (lambda: golomb.golomb_coded_set(elements), 1),
    )
    report.add("filter_us", kernel * 1e6, f"block filter of {len(elements)} elements")
    report.add("filter_plain_us", fresh * 1e6, "the same in plain Python, new elements")
    report.add("filter_plain_known_us", known * 1e6, "the same in plain Python, all hashes remembered")


if __name__ == "__main__":
    main()
