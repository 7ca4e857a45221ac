"""Which part of a nonce is whose, and that what a miner hashes is what the header's nonce says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ckb_node.jsonrpc_types.chain import block_json
from ckb_node.stratum.limits import OWN_TIMES
from ckb_node.stratum.nonces import NONCE_BYTES, NonceSpace, TimeSpace, nonce1_of, nonce_number
from ckb_node.stratum.shares import Judge
from consensus.codec.layout import HEADER_SIZE
from consensus.crypto.difficulty import HASH_SPACE
from consensus.params import PowFunc
from consensus.rules.pow import is_solution
from consensus.types.blockchain import Header
from tests.stratum.kit import ANY_TARGET, Bench, easy_job, real_job
from tests.stratum.kit_headers import MAINNET_2003, MAINNET_1034994, TESTNET_7033102
from tests.support.fuzz import examples

NONCES = st.one_of(
    st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES),
    st.integers(0, NONCE_BYTES).flatmap(  # zeros at either end, which numbers in hex leave out
        lambda zeros: st.binary(min_size=NONCE_BYTES - zeros, max_size=NONCE_BYTES - zeros).flatmap(
            lambda rest: st.sampled_from((rest.ljust(NONCE_BYTES, b"\0"), rest.rjust(NONCE_BYTES, b"\0")))
        )
    ),
)


@settings(max_examples=examples(100), deadline=None)
@given(NONCES, st.integers(0, OWN_TIMES))
def test_the_block_of_a_share_hashes_to_what_the_miner_found(nonce: bytes, offset: int) -> None:
    """The header, its bytes and its JSON say the same nonce; the JSON has no leading zeros."""
    bench = Bench(easy_job(ANY_TARGET))
    round_ = bench.desk.rounds.current
    assert round_ is not None
    work = round_.work(None)
    block = work.solved(nonce, offset)
    assert block.header.pow_hash == work.pow_hash(offset)
    assert block.header.raw[-NONCE_BYTES:] == nonce
    judge = Judge(PowFunc.EAGLESONG)
    number = judge.hash_number(work.pow_hash(offset), nonce)
    assert is_solution(PowFunc.EAGLESONG, block.header.pow_hash, block.header.nonce, number)
    assert number == 0 or not is_solution(PowFunc.EAGLESONG, block.header.pow_hash, block.header.nonce, number - 1)
    text = block_json(block).header.nonce
    assert text == hex(int.from_bytes(nonce, "little"))
    assert text == "0x0" or text[2] != "0"


@settings(max_examples=examples(100), deadline=None)
@given(NONCES, st.sampled_from(("common", "k7", "nicehash", "goldshell", "submit_login")))
def test_each_dialect_carries_each_nonce(nonce: bytes, dialect: str) -> None:
    """Whatever the miner finds, the block has just that nonce."""
    bench = Bench(easy_job(ANY_TARGET), first_number=int.from_bytes(nonce[:4], "big"))
    miner = bench.miner()
    sizes = {"common": 4, "k7": 8, "nicehash": 5, "goldshell": 0, "submit_login": 0}
    agents = {"common": "x", "k7": "GodMiner", "nicehash": "NiceHash/", "goldshell": "intminer"}
    nonce1 = nonce1_of(miner.session.number, sizes[dialect])
    whole = nonce1 + nonce[len(nonce1) :]
    if dialect == "submit_login":
        job = miner.ask("ckb_submitLogin", {"login": "worker"})[-1]["result"]["pow_hash"]
        miner.ask("ckb_submitWork", {"pow_hash": job, "nonce": hex(nonce_number(whole))})
    else:
        job = miner.join("worker", agents[dialect])[-1]["params"][0]
        rest = whole[len(nonce1) :].hex()
        fields = ["00" * 4, "00" * 4, rest] if dialect == "goldshell" else [rest]
        miner.ask("mining.submit", ["worker", job, *fields])
    assert bench.solved[0].block.header.nonce == nonce_number(whole)


def test_real_nonces_are_the_numbers_of_their_headers() -> None:
    for raw, function in (
        (MAINNET_2003, PowFunc.EAGLESONG),
        (MAINNET_1034994, PowFunc.EAGLESONG),
        (TESTNET_7033102, PowFunc.EAGLESONG_BLAKE2B),
    ):
        header, nonce = Header.parse(raw), raw[HEADER_SIZE - NONCE_BYTES :]
        assert nonce_number(nonce) == header.nonce
        assert Judge(function).hash_number(header.pow_hash, nonce) <= real_job(raw).target < HASH_SPACE


def test_no_two_connections_have_the_same_number() -> None:
    space = NonceSpace((1 << 32) - 2)
    taken = [space.take() for _ in range(4)]
    assert taken == [(1 << 32) - 2, (1 << 32) - 1, 0, 1]
    space.give_back(0)
    space._next = (1 << 32) - 1
    assert space.take() == 0  # the others are in use
    assert space.take() == 2


def test_they_begin_anywhere() -> None:
    assert len({NonceSpace().take() for _ in range(8)}) > 1


def test_nonce1_of_any_length_has_the_number_in_front() -> None:
    assert [nonce1_of(0x00C904BD, size).hex() for size in (0, 4, 5, 8)] == [
        "",
        "00c904bd",
        "00c904bd00",
        "00c904bd00000000",
    ]


def test_times_of_ones_own_are_the_smallest_that_are_free() -> None:
    space = TimeSpace()
    assert [space.take() for _ in range(3)] == [1, 2, 3]
    space.give_back(2)
    assert [space.take(), space.take()] == [2, 4]


def test_times_of_ones_own_end() -> None:
    space = TimeSpace()
    assert [space.take() for _ in range(OWN_TIMES)][-1] == OWN_TIMES
    assert space.take() is None
    space.give_back(5)
    assert space.take() == 5
