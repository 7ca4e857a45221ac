"""Generated Eaglesong against the plain one: digests, work of headers, search."""

import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.crypto.difficulty import U256_MAX, compact_to_target
from consensus.crypto.eaglesong import BIT_MATRIX, STATE_WORDS, eaglesong
from consensus.kernels import eaglesong as kernel
from consensus.kernels.eaglesong_code import MAX_HEADERS, MESSAGE_BYTES
from consensus.kernels.matrix import MATRIX_RESULTS, MATRIX_STEPS
from consensus.kernels.runtime import KernelLengthError
from consensus.params import PowFunc
from consensus.rules.pow import is_solution
from consensus.types.blockchain import Header

FUNCTIONS = {False: PowFunc.EAGLESONG, True: PowFunc.EAGLESONG_BLAKE2B}
EASY = 0x2080_0000  # every second digest
EASIEST = 0x20FF_FFFF


def test_matrix_program_is_the_matrix() -> None:
    """Values as sets of the words that they are the XOR of."""
    values = [frozenset([i]) for i in range(STATE_WORDS)]
    for left, right in MATRIX_STEPS:
        values.append(values[left] ^ values[right])
    for column, result in enumerate(MATRIX_RESULTS):
        assert values[result] == {row for row in range(STATE_WORDS) if BIT_MATRIX[row][column] == "1"}


@pytest.mark.parametrize("length", [*range(70), 95, 96, 97, 1000])
def test_digests_of_all_lengths(length: int) -> None:
    message = bytes((7 * i + length) % 251 for i in range(length))
    assert kernel.eaglesong(message) == eaglesong(message)


@given(st.binary(max_size=200))
def test_digests(message: bytes) -> None:
    assert kernel.eaglesong(message) == eaglesong(message)


def test_a_message_longer_than_the_kernels_memory() -> None:
    message = os.urandom(MESSAGE_BYTES + 100)
    assert kernel.eaglesong(message) == eaglesong(message)
    assert kernel.eaglesong(b"after it") == eaglesong(b"after it")


def _plain(header: bytes, is_blake2b: bool) -> bool:
    view = Header.parse(header)
    target = compact_to_target(view.compact_target)
    return is_solution(FUNCTIONS[is_blake2b], view.pow_hash, view.nonce, target)


def _header(seed: bytes, compact_target: int) -> bytes:
    return seed[:4] + compact_target.to_bytes(4, "little") + seed[8:]


# Near 32 bytes a random digest may be under or above; small exponents and overflows have no solution at all.
compact_targets = st.one_of(
    st.integers(0, 0xFFFF_FFFF),
    st.builds(lambda exponent, mantissa: exponent << 24 | mantissa, st.integers(30, 34), st.integers(0, 0xFF_FFFF)),
    st.builds(lambda exponent, mantissa: exponent << 24 | mantissa, st.integers(0, 4), st.integers(0, 0xFF_FFFF)),
)
headers = st.builds(_header, st.binary(min_size=208, max_size=208), compact_targets)


@given(st.lists(headers, max_size=9), st.booleans())
@settings(deadline=None, max_examples=60)
def test_work_of_headers(raws: list[bytes], is_blake2b: bool) -> None:
    expected = [_plain(raw, is_blake2b) for raw in raws]
    assert [kernel.has_work(raw, is_blake2b) for raw in raws] == expected
    first = expected.index(False) if False in expected else None
    assert kernel.first_without_work(raws, is_blake2b) == first


@pytest.mark.parametrize("is_blake2b", [False, True])
def test_the_bad_header_is_found_at_every_place(is_blake2b: bool) -> None:
    good: list[bytes] = []
    nonce = 0
    while len(good) < 9:
        header = _header(bytes(192), EASY) + nonce.to_bytes(16, "little")
        if _plain(header, is_blake2b):
            good.append(header)
        nonce += 1
    bad = _header(bytes(208), 0x0100_0000)
    for count in range(1, 10):
        assert kernel.first_without_work(good[:count], is_blake2b) is None
        for at in range(count):
            mixed = [*good[:at], bad, *good[at + 1 : count]]
            assert kernel.first_without_work(mixed, is_blake2b) == at


def test_more_headers_than_a_call_takes() -> None:
    solved = _solved()
    many = [solved] * (MAX_HEADERS + 3)
    assert kernel.first_without_work(many, is_blake2b=False) is None
    many[MAX_HEADERS + 1] = _header(bytes(208), 0)
    assert kernel.first_without_work(many, is_blake2b=False) == MAX_HEADERS + 1


def _solved() -> bytes:
    bare = _header(bytes(192), EASIEST)
    candidates = (bare + nonce.to_bytes(16, "little") for nonce in range(100))
    return next(header for header in candidates if _plain(header, is_blake2b=False))


@pytest.mark.parametrize(
    "compact_target",
    [*(e << 24 | m for e in (0, 1, 2, 3, 4, 31, 32, 33, 34, 255) for m in (0, 1, 0x80, 0xFFFF, 0x800000, 0xFFFFFF))],
)
def test_compact_targets_at_the_edges(compact_target: int) -> None:
    header = _header(b"\x55" * 208, compact_target)
    assert kernel.has_work(header, is_blake2b=False) == _plain(header, is_blake2b=False)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**128 - 1), st.integers(245, 256), st.booleans())
@settings(deadline=None, max_examples=40)
def test_search(pow_hash: bytes, start: int, bits: int, is_blake2b: bool) -> None:
    target, count = (1 << bits) - 1, 11
    high, low = start >> 64 << 64, start & (2**64 - 1)
    nonces = [high | (low + i) % 2**64 for i in range(count)]
    found = [nonce for nonce in nonces if is_solution(FUNCTIONS[is_blake2b], pow_hash, nonce, target)]
    assert kernel.search(pow_hash, target, start, count, is_blake2b=is_blake2b) == (found[0] if found else None)


@pytest.mark.parametrize("start", [2**32 - 2, 2**64 - 2, 2**128 - 3, (5 << 64) - 1])
def test_search_carries_within_the_lower_half(start: int) -> None:
    """The best of the nonces is found whichever it is."""
    pow_hash = bytes(range(32))
    high, low = start >> 64 << 64, start & (2**64 - 1)
    nonces = [high | (low + i) % 2**64 for i in range(8)]
    digests = [int.from_bytes(eaglesong(pow_hash + nonce.to_bytes(16, "little")), "big") for nonce in nonces]
    best = min(digests)
    assert kernel.search(pow_hash, best, start, 8) == nonces[digests.index(best)]
    assert kernel.search(pow_hash, best - 1, start, 8) is None
    assert kernel.search(pow_hash, best, start, digests.index(best)) is None


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16), st.integers(245, 256), st.booleans())
@settings(deadline=None, max_examples=40)
def test_search_of_tails(pow_hash: bytes, nonce: bytes, bits: int, is_blake2b: bool) -> None:
    target, count = (1 << bits) - 1, 11
    head, low = nonce[:8], int.from_bytes(nonce[8:], "big")
    nonces = [head + ((low + i) % 2**64).to_bytes(8, "big") for i in range(count)]
    found = [
        each for each in nonces if is_solution(FUNCTIONS[is_blake2b], pow_hash, int.from_bytes(each, "little"), target)
    ]
    assert kernel.search_tail(pow_hash, target, nonce, count, is_blake2b=is_blake2b) == (found[0] if found else None)


@pytest.mark.parametrize("tail", [2**32 - 2, 2**64 - 2, 2**24 - 1, 0])
def test_search_of_tails_carries_within_the_last_eight_bytes(tail: int) -> None:
    """The best of the nonces is found whichever it is; what a pool hands out stays."""
    pow_hash, head = bytes(range(32)), b"\x00\xc9\x04\xbd" + b"\xff" * 4
    nonces = [head + ((tail + i) % 2**64).to_bytes(8, "big") for i in range(8)]
    digests = [int.from_bytes(eaglesong(pow_hash + nonce), "big") for nonce in nonces]
    best = min(digests)
    assert kernel.search_tail(pow_hash, best, nonces[0], 8) == nonces[digests.index(best)]
    assert kernel.search_tail(pow_hash, best - 1, nonces[0], 8) is None
    assert kernel.search_tail(pow_hash, best, nonces[0], 0) is None


def test_search_to_the_end_and_for_no_target() -> None:
    assert kernel.search(bytes(32), 0, 0, 64) is None
    assert kernel.search(bytes(32), 1, 0, 1 << 12) is None
    assert kernel.search(bytes(32), U256_MAX, 9, 0) is None
    assert kernel.search(bytes(32), U256_MAX, 9) == 9


def test_a_search_of_many_nonces_finds_what_the_plain_check_confirms() -> None:
    """One in 2¹⁶: the target's first words differ, so the vector filter is what decides."""
    pow_hash, target = b"\x42" * 32, 1 << 240
    nonce = kernel.search(pow_hash, target, 1 << 70, 1 << 20)
    assert nonce is not None
    assert is_solution(PowFunc.EAGLESONG, pow_hash, nonce, target)


@pytest.mark.parametrize("length", [0, 207, 209, 1 << 20])
def test_headers_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(KernelLengthError) as caught:
        kernel.has_work(bytes(length), is_blake2b=False)
    assert caught.value.actual == length
    with pytest.raises(KernelLengthError):
        kernel.first_without_work([bytes(208), bytes(length)], is_blake2b=False)


@pytest.mark.parametrize(
    ("pow_hash", "target", "start", "count"),
    [
        (bytes(31), 1, 0, 1),
        (bytes(33), 1, 0, 1),
        (bytes(32), -1, 0, 1),
        (bytes(32), 2**256, 0, 1),
        (bytes(32), 1, -1, 1),
        (bytes(32), 1, 2**128, 1),
        (bytes(32), 1, 0, -1),
        (bytes(32), 1, 0, 2**24 + 1),
    ],
)
def test_searches_that_do_not_fit_are_refused(pow_hash: bytes, target: int, start: int, count: int) -> None:
    with pytest.raises(KernelLengthError):
        kernel.search(pow_hash, target, start, count)


@pytest.mark.parametrize("size", [0, 8, 15, 17])
def test_nonces_of_other_lengths_are_refused(size: int) -> None:
    with pytest.raises(KernelLengthError):
        kernel.search_tail(bytes(32), 1, bytes(size), 1)


def test_threads_share_a_kernel() -> None:
    messages = [bytes([i]) * 48 for i in range(4)]
    expected = [eaglesong(message) for message in messages]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(300):
            if kernel.eaglesong(messages[index]) != expected[index]:
                wrong.append(index)
            kernel.search(messages[index][:32], 0, 0, 64)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
