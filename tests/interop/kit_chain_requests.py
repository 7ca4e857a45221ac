"""Questions about blocks, headers and fee rates, with good and bad parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.interop.kit_facts import BAD_HASHES, BAD_NUMBERS, BAD_U32, UNKNOWN, Facts, Request


def chain_requests(facts: Facts) -> Iterator[Request]:
    """Module Chain: blocks and headers."""
    hashes = (facts.genesis, facts.tip, facts.block_with_uncle, facts.fork_block, facts.commit_block, UNKNOWN)
    numbers = (hex(0), hex(1), hex(facts.tip_number), hex(facts.tip_number + 1), "0xffffffffffffffff")
    yield from _by_hash(facts, hashes)
    yield from _by_number(numbers)
    yield from _with_cycles(facts, numbers)
    yield from _of_the_tip()


def _by_hash(facts: Facts, hashes: Sequence[str]) -> Iterator[Request]:
    for method in (
        "get_block",
        "get_header",
        "get_fork_block",
        "get_block_median_time",
        "get_block_filter",
        "get_block_economic_state",
    ):
        for block_hash in (*hashes, *BAD_HASHES):
            yield method, [block_hash]
        yield method, []
        yield method, [facts.tip, None, None, None, None, None]
        yield method, {"block_hash": facts.tip}
        yield method, None
    for method in ("get_block", "get_header", "get_fork_block"):
        for block_hash in hashes:
            for verbosity in ("0x0", "0x1", "0x2", None):
                yield method, [block_hash, verbosity]
        for verbosity in BAD_U32:
            yield method, [facts.tip, verbosity]


def _by_number(numbers: Sequence[str]) -> Iterator[Request]:
    for method in ("get_block_by_number", "get_header_by_number", "get_block_hash", "get_epoch_by_number"):
        for number in (*numbers, *BAD_NUMBERS):
            yield method, [number]
        yield method, []
    for method in ("get_block_by_number", "get_header_by_number"):
        for number in numbers:
            for verbosity in ("0x0", "0x1", "0x2", "0x3"):
                yield method, [number, verbosity]


def _with_cycles(facts: Facts, numbers: Sequence[str]) -> Iterator[Request]:
    for method in ("get_block", "get_block_by_number"):
        first: Any
        for first in (facts.tip, facts.commit_block, facts.genesis, UNKNOWN) if method == "get_block" else numbers:
            for verbosity in ("0x0", "0x2", "0x1", None):
                for with_cycles in (True, False, None, "true", 1):
                    yield method, [first, verbosity, with_cycles]


def _of_the_tip() -> Iterator[Request]:
    for method in ("get_tip_header", "get_tip_block_number", "get_current_epoch", "get_consensus"):
        yield method, []
        yield method, None
        yield method, {}
        yield method, ["0x0"]
        yield method, ["0x0", "0x1"]
    for verbosity in ("0x0", "0x1", "0x2", None, *BAD_U32):
        yield "get_tip_header", [verbosity]
    for target in (None, "0x1", "0x2", "0x0", "0x65", "0x66", "0x1000", *BAD_NUMBERS):
        yield "get_fee_rate_statistics", [target]
    yield "get_fee_rate_statics", []
