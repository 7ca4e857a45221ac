"""Eaglesong and the rule of proof of work.

Digests: RFC 10 (`Hello, world!` with the newline that its program reads) and the crate eaglesong 0.1.0.
Headers: mainnet uncle 76243 of RFC 27's example, testnet block 7354354 as a public RPC answered.
"""

import pytest

from consensus.crypto.difficulty import compact_to_target
from consensus.crypto.eaglesong import BIT_MATRIX, CONSTANTS, eaglesong
from consensus.crypto.hashing import ckb_hash
from consensus.params import PowFunc
from consensus.rules.pow import (
    PowError,
    eaglesong_blake2b,
    find_nonce,
    find_nonce_bytes,
    first_without_work,
    is_solution,
    pow_message,
    verify_pow,
)
from consensus.types.blockchain import Header
from tests.support.chains.unchecked import header, make_consensus

MAINNET_HASH = bytes.fromhex("87764caf4a0e99302f1382421da1fe2f18382a49eac2d611220056b0854868e3")
MAINNET_HEADER = Header.parse(
    bytes.fromhex(
        "000000001a7b9c1aed76df626e010000d3290100000000004900009102080700815ecf2140169b9d283332c7550ce8b6405a120d5c21a7aa"
        "99d8a75eb9e77ead66ab0046436f97aefefe0549772bf36d96502d14ad736f7f4b1be8274420ca0f00000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000007088b3ee3e738900"
        "a9c257048aa129002cd43cd745100e000066ac8bd8850d0000029b1304000000a238fc64de05b178"
    )
)
TESTNET_HASH = bytes.fromhex("7a46e779a3fc2d5b55c82aad852e721b0097bf873927b9751409b1d185599ce4")
TESTNET_HEADER = Header.parse(
    bytes.fromhex(
        "00000000be0f091dd2fa2b7a84010000f23770000000000039150087060807003d105fe9ec60f138baa6623abd16af70ba1be90ad23d1943"
        "bcaa55d5f14fcb6f28157a5962c4ae1d3e153b1d8d331e5fd3c158866287f5398ab7f7d38210dfb02581d1769886226a8c90ee99baf2d869"
        "6e24c7f6bb6751748ff8b4452f8006e50000000000000000000000000000000000000000000000000000000000000000ba17553fab3db841"
        "54bc4aa9f09b2600e826a2b0df99010400ed51b4686b58085618129492b233edbb5d20fd0de765d2"
    )
)


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"Hello, world!\n", "64867e2441d162615dc2430b6bcb4d3f4b95e4d0db529fca1eece73c077d72d6"),
        (b"", "9e4452fc7aed93d7240b7b55263792befd1be09252b456401122ba71a56f62a0"),
        (b"1" * 34 + b"\n", "a50a3310f78cbaeadcffe2d46262119eeeda9d6568b4df1b636399742c867aca"),
        (b"1" * 32 + b"22\n", "d7b68a8ba4cfc606e86ed7e2ca3244ff27b28bb24c28ee09af4b1f47af9b9236"),
    ],
)
def test_eaglesong_digests(message: bytes, digest: str) -> None:
    assert eaglesong(message).hex() == digest


def test_constants_begin_and_end_as_the_rfc_lists_them() -> None:
    assert CONSTANTS[0][:4] == (0x6E9E40AE, 0x71927C02, 0x9A13D3B1, 0xDAEC32AD)
    assert CONSTANTS[1][0] == 0x6260C9E6
    assert len(CONSTANTS) == 43
    assert len(BIT_MATRIX) == 16


def test_eaglesong_blake2b_hashes_the_digest_again() -> None:
    assert eaglesong_blake2b(b"abc") == ckb_hash(eaglesong(b"abc"))


def test_message_is_pow_hash_then_little_endian_nonce() -> None:
    """ckb `pow/src/tests.rs` has the same with nonce u128::MAX; the hash is blake2b of nothing."""
    assert ckb_hash(b"").hex() == "44f4c69744d5f8c55d642062949dcae49bc4e7ef43d388c5a12f42b5633d163e"
    assert pow_message(ckb_hash(b""), (1 << 128) - 1) == ckb_hash(b"") + b"\xff" * 16
    assert pow_message(bytes(32), 0x0102) == bytes(32) + b"\x02\x01" + bytes(14)


def test_real_headers_have_their_work() -> None:
    mainnet, testnet = make_consensus(pow_func=PowFunc.EAGLESONG), make_consensus(pow_func=PowFunc.EAGLESONG_BLAKE2B)
    assert MAINNET_HEADER.hash == MAINNET_HASH
    assert TESTNET_HEADER.hash == TESTNET_HASH
    verify_pow(mainnet, MAINNET_HEADER)
    verify_pow(testnet, TESTNET_HEADER)
    with pytest.raises(PowError):
        verify_pow(testnet, MAINNET_HEADER)
    with pytest.raises(PowError):
        verify_pow(mainnet, TESTNET_HEADER)


def test_another_nonce_fails_with_its_facts() -> None:
    wrong = MAINNET_HEADER.with_fields(nonce=MAINNET_HEADER.nonce + 1)
    with pytest.raises(PowError, match="InvalidNonce") as caught:
        verify_pow(make_consensus(pow_func=PowFunc.EAGLESONG), wrong)
    assert caught.value.nonce == MAINNET_HEADER.nonce + 1
    assert caught.value.compact_target == 0x1A9C7B1A
    assert caught.value.pow_hash == MAINNET_HEADER.pow_hash


def test_the_target_itself_is_still_met() -> None:
    digest = int.from_bytes(eaglesong(pow_message(MAINNET_HEADER.pow_hash, 5)), "big")
    assert is_solution(PowFunc.EAGLESONG, MAINNET_HEADER.pow_hash, 5, digest)
    assert not is_solution(PowFunc.EAGLESONG, MAINNET_HEADER.pow_hash, 5, digest - 1)


@pytest.mark.parametrize("compact_target", [0, 0x1003456, 0x21000001, 0xFF123456])
def test_no_target_no_solution(compact_target: int) -> None:
    assert compact_to_target(compact_target) == 0
    with pytest.raises(PowError):
        verify_pow(make_consensus(pow_func=PowFunc.EAGLESONG), header(compact_target=compact_target))


def test_dummy_accepts_everything() -> None:
    verify_pow(make_consensus(), header(compact_target=0))


def test_the_first_header_without_work_is_found() -> None:
    eaglesong_chain = make_consensus(pow_func=PowFunc.EAGLESONG)
    good, bad = MAINNET_HEADER.raw, TESTNET_HEADER.raw
    assert first_without_work(eaglesong_chain, []) is None
    assert first_without_work(eaglesong_chain, [good] * 5) is None
    assert first_without_work(eaglesong_chain, [good] * 5 + [bad, good, bad]) == 5
    testnet = make_consensus(pow_func=PowFunc.EAGLESONG_BLAKE2B)
    assert first_without_work(testnet, [bad, bad, good]) == 2
    assert first_without_work(make_consensus(), [bytes(208), good, bad]) is None


@pytest.mark.parametrize("function", [PowFunc.EAGLESONG, PowFunc.EAGLESONG_BLAKE2B])
def test_a_nonce_that_was_found_is_a_solution(function: PowFunc) -> None:
    pow_hash, target = ckb_hash(b"work"), 1 << 251
    nonce = find_nonce(function, pow_hash, target, 0, 1 << 10)
    assert nonce is not None
    assert [is_solution(function, pow_hash, n, target) for n in range(nonce + 1)] == [False] * nonce + [True]
    assert find_nonce(PowFunc.DUMMY, pow_hash, 0, 7) == 7


@pytest.mark.parametrize("function", [PowFunc.EAGLESONG, PowFunc.EAGLESONG_BLAKE2B])
def test_nonce_bytes_that_were_found_are_a_solution(function: PowFunc) -> None:
    """The bytes are those of the header: a number, written little-endian."""
    pow_hash, target = ckb_hash(b"work"), 1 << 251
    nonce = find_nonce_bytes(function, pow_hash, target, bytes(range(8)) + bytes(8), 1 << 10)
    assert nonce is not None
    assert nonce[:8] == bytes(range(8))
    assert is_solution(function, pow_hash, int.from_bytes(nonce, "little"), target)
    assert find_nonce_bytes(PowFunc.DUMMY, pow_hash, 0, bytes(16)) == bytes(16)
