"""Hashes and sizes of the chain's types.

Literals come from the reference node: calc_hash tests of its gen-types crate, and the example of get_block in its RPC
documentation, which is block 1024 of an early test chain.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.codec.molecule import Struct
from consensus.crypto.hashing import ZERO_HASH, ckb_hash, ckb_hash_concat, data_hash
from consensus.crypto.merkle import merkle_root
from consensus.types.blockchain import (
    NULL_OUT_POINT,
    SHANNONS_PER_BYTE,
    Block,
    CellbaseWitness,
    CellDep,
    CellInput,
    CellOutput,
    Header,
    OutPoint,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
    UncleBlock,
    WitnessArgs,
    out_point_key,
    proposals_hash,
    uncles_hash,
)
from consensus.types.core import BlockExt, EpochExt, EpochFraction, HeaderDigest
from network.messages.peers import GetNodes, Node
from network.messages.protocols import CompactBlock, RawAlert, SendBlocksProof

ALWAYS_SUCCESS = bytes.fromhex("28e83a1277d48add8e72fadaa9248559e1b632bab2bd60b27955ebc4c03800a5")


def h(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def header(**changes: object) -> Header:
    """The header of block 1024 of the get_block example."""
    raw = RawHeader(
        version=0,
        compact_target=0x1E083126,
        timestamp=0x5CD2B117,
        number=0x400,
        epoch=0x7080018000001,
        parent_hash=h("0xae003585fa15309b30b31aed3dcf385e9472c3c3e93746a6c4540629a6a1ed2d"),
        transactions_root=h("0xc47d5b78b3c4c4c853e2a32810818940d0ee403423bea9ec7b8e566d9595206c"),
        proposals_hash=ZERO_HASH,
        extra_hash=ZERO_HASH,
        dao=h("0xb5a3e047474401001bc476b9ee573000c0c387962a38000000febffacf030000"),
    )
    return Header(body=raw, nonce=0).with_fields(**changes)


def cellbase() -> Transaction:
    """The cellbase of that block."""
    body = RawTransaction(
        version=0,
        cell_deps=[],
        header_deps=[],
        inputs=[CellInput(since=0x400, previous_output=NULL_OUT_POINT)],
        outputs=[CellOutput(capacity=0x18E64B61CF, lock=always_success(), type_=None)],
        outputs_data=[b""],
    )
    witness = (
        "0x450000000c000000410000003500000010000000300000003100000028e83a1277d48add8e72fadaa9248559e1b632bab2bd60b27955ebc4"
        "c03800a5000000000000000000"
    )
    return Transaction(body=body, witnesses=[h(witness)])


def always_success() -> Script:
    return Script(code_hash=ALWAYS_SUCCESS, hash_type=0, args=b"")


# --- hashes ---


def test_block_hash() -> None:
    assert header().hash == h("0xa5f5c85987a15de25661e5a214f2c1449cd803f071acc7999820f25246471f40")
    assert len(header().raw) == 208


def test_transaction_hash() -> None:
    assert cellbase().hash == h("0x365698b50ca0da75dca2c87f9e7b563811d3b5813736b8cc62cc3b106faceb17")
    assert cellbase().is_cellbase
    assert cellbase().short_id == h("0x365698b50ca0da75dca2")


def test_transactions_root_of_a_block() -> None:
    """The root that the example's header commits to."""
    tx = cellbase()
    block = Block(header=header(), uncles=[], transactions=[tx], proposals=[])
    assert block.transactions_root() == header().transactions_root
    assert block.transactions_root() == merkle_root([tx.hash, tx.witness_hash])
    assert block.with_roots() is block


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            Script(code_hash=ZERO_HASH, hash_type=0, args=b""),
            "0x77c93b0632b5b6c3ef922c5b7cea208fb0a7c427a13d50e13d3fefad17e0c590",
        ),
        (always_success(), "0x4ceaa32f692948413e213ce6f3a83337145bde6e11fd8cb94377ce2637dcc412"),
        (
            Script(code_hash=ZERO_HASH, hash_type=0, args=b"\1"),
            "0x67951b34bce20cb71b7e235c1f8cda259628d99d94825bffe549c23b4dd2930f",
        ),
    ],
)
def test_script_hash(script: Script, expected: str) -> None:
    assert script.hash == h(expected)


def test_proposals_hash() -> None:
    expected = h("0xd1670e45af1deb9cc00951d71c09ce80932e7ddf9fb151d744436bd04ac4a562")
    assert proposals_hash([b"\1" * 10, b"\2" * 10]) == expected
    assert proposals_hash([]) == ZERO_HASH


def sample_uncles() -> list[UncleBlock]:
    common = {
        "parent_hash": h("0x8381df265c9442d5c27559b167892c5a6a8322871112d3cc8ef45222c6624831"),
        "transactions_root": h("0x12214693b8bd5c3d8f96e270dc8fe32b1702bd97630a9eab53a69793e6bc893f"),
        "dao": h("0xb54bdd7f6be90000bb52f392d41cd70024f7ef29b437000000febffacf030000"),
    }
    proposals = [b"\1" * 10, b"\2" * 10]
    first = header(
        **common, proposals_hash=proposals_hash(proposals), nonce=0x5FF1389AF870654311A2BEE61237, timestamp=0x5CD2B117
    )
    second = header(**common, compact_target=0x20010000, timestamp=0x5CD21A16, nonce=0x2F392D41CD70024F)
    return [UncleBlock(header=first, proposals=proposals), UncleBlock(header=second, proposals=[])]


def test_uncles_hash() -> None:
    assert uncles_hash(sample_uncles()) == h("0x0135d01f169a870bd9c92b2b37aecfa0fbfb7c1862cc176e03bb525fab0649d9")
    assert uncles_hash([]) == ZERO_HASH


def test_extra_hash_with_extension() -> None:
    """RFC 31: with an extension it is the hash of the uncles hash and the extension's hash."""
    block = Block(header=header(), uncles=sample_uncles(), transactions=[cellbase()], proposals=[])
    assert block.extra_hash() == uncles_hash(sample_uncles())
    extended = block.replace(extension=b"\7" * 32)
    assert extended.extra_hash() == ckb_hash(uncles_hash(sample_uncles()) + ckb_hash(b"\7" * 32))
    assert Block.parse(extended.raw).extension == b"\7" * 32
    assert Block.parse(block.raw).extension is None


def test_data_hash_of_nothing_is_zero() -> None:
    """blake2b of the empty string is the reference's BLANK_HASH, and not what empty cell data has."""
    assert ckb_hash(b"") == h("0x44f4c69744d5f8c55d642062949dcae49bc4e7ef43d388c5a12f42b5633d163e")
    assert data_hash(b"") == ZERO_HASH
    assert data_hash(b"x") == ckb_hash(b"x") == ckb_hash_concat(b"", b"x")


def test_header_with_other_fields() -> None:
    changed = header().with_fields(nonce=5, number=7)
    assert (changed.nonce, changed.number, changed.timestamp) == (5, 7, 0x5CD2B117)
    assert changed.pow_hash == ckb_hash(changed.raw[:192])
    assert changed.with_fields(nonce=6).pow_hash == changed.pow_hash


def test_block_commits_to_its_body() -> None:
    block = Block(
        header=header(), uncles=sample_uncles(), transactions=[cellbase()], proposals=[b"\3" * 10]
    ).with_roots()
    assert block.header.transactions_root == block.transactions_root()
    assert block.header.proposals_hash == proposals_hash([b"\3" * 10])
    assert block.header.extra_hash == uncles_hash(sample_uncles())
    assert block.with_roots() is block
    assert block.union_proposal_ids() == {b"\1" * 10, b"\2" * 10, b"\3" * 10}
    assert block.size_without_uncle_proposals() == len(block.raw) - 20


# --- sizes and keys ---


def test_fixed_sizes() -> None:
    """PROTOCOL 2.7, blockchain.mol and extensions.mol."""
    sizes: dict[type[Struct], int] = {
        OutPoint: 36,
        CellInput: 44,
        CellDep: 37,
        RawHeader: 192,
        Header: 208,
        HeaderDigest: 120,
        EpochExt: 108,
    }
    assert {struct: struct.SIZE for struct in sizes} == sizes


def test_occupied_capacity() -> None:
    """61 CKB is the least that a cell with a 20-byte lock argument takes."""
    lock = Script(code_hash=ALWAYS_SUCCESS, hash_type=1, args=bytes(20))
    cell = CellOutput(capacity=0, lock=lock, type_=None)
    assert cell.occupied_capacity(0) == 61 * SHANNONS_PER_BYTE
    assert cell.occupied_capacity(5) == 66 * SHANNONS_PER_BYTE
    assert cell.replace(type_=always_success()).occupied_capacity(0) == (61 + 33) * SHANNONS_PER_BYTE


def test_out_point_keys() -> None:
    key = out_point_key(b"\1" * 32, 0x0102)
    assert key == OutPoint(tx_hash=b"\1" * 32, index=0x0102).raw == b"\1" * 32 + b"\2\1\0\0"
    assert cellbase().output_keys() == [out_point_key(cellbase().hash, 0)]
    assert NULL_OUT_POINT.is_null
    assert not OutPoint(tx_hash=ZERO_HASH, index=0).is_null


def test_transaction_size_counts_its_offset() -> None:
    one = Block(header=header(), uncles=[], transactions=[cellbase()], proposals=[])
    two = one.replace(transactions=[cellbase(), cellbase()])
    assert two.raw_size - one.raw_size == cellbase().size_in_block


def test_witnesses() -> None:
    args = WitnessArgs(lock=bytes(65), input_type=None, output_type=b"")
    again = WitnessArgs.parse(args.raw)
    assert (again.lock, again.input_type, again.output_type) == (bytes(65), None, b"")
    # an empty WitnessArgs with a 65-byte lock, as every wallet writes it before signing
    assert WitnessArgs(lock=bytes(65), input_type=None, output_type=None).raw[:20] == h(
        "5500000010000000550000005500000041000000"
    )
    witness = CellbaseWitness(lock=always_success(), message=b"hi")
    assert CellbaseWitness.parse(witness.raw).lock == always_success()


def test_types_of_two_versions() -> None:
    """A later version's last fields read as None where an older peer left them out."""
    old = CompactBlock(header=header(), short_ids=[], prefilled_transactions=[], uncles=[], proposals=[])
    assert CompactBlock.parse(old.raw).extension is None
    assert CompactBlock.parse(old.replace(extension=b"x").raw).extension == b"x"
    assert old.field_count == 5
    assert GetNodes.parse(GetNodes(version=0, count=1, listen_port=None).raw).required_flags is None
    assert GetNodes(version=0, count=1, listen_port=8115, required_flags=3).field_count == 4
    assert Node(addresses=[b"a"], flags=7).flags == 7
    assert [f.name for f in SendBlocksProof.FIELDS if f.is_trailing] == ["blocks_uncles_hash", "blocks_extension"]


def test_block_ext_versions() -> None:
    old = BlockExt(total_difficulty=1, total_uncles_count=2, received_at=3, txs_fees=[4], verified_flag=None)
    assert (old.field_count, old.verified, old.cycles) == (5, None, None)
    new = old.replace(verified_flag=b"\1", cycles=[9], txs_sizes=None)
    assert new.verified is True
    assert BlockExt.parse(new.replace(txs_sizes=[8]).raw).cycles == [9]


def test_alert_hash_is_what_is_signed() -> None:
    alert = RawAlert(notice_until=1, id=2, cancel=0, priority=3, message=b"m", min_version=None, max_version=b"0.1")
    assert alert.hash == ckb_hash(alert.raw)


# --- epochs ---


def test_epoch_field() -> None:
    """0x7080018000001 of the get_block example: epoch 1, block 24 of 1800."""
    epoch = EpochFraction.unpack(0x7080018000001)
    assert epoch == EpochFraction(1, 24, 1800)
    assert str(epoch) == "1(24/1800)"
    assert epoch.is_well_formed
    assert EpochFraction(1, 25, 1800).is_successor_of(epoch)
    assert not EpochFraction(1, 24, 1800).is_successor_of(epoch)
    assert EpochFraction(2, 0, 900).is_successor_of(EpochFraction(1, 1799, 1800))
    assert not EpochFraction(1, 5, 5).is_well_formed


@given(number=st.integers(0, (1 << 24) - 1), index=st.integers(0, 65_535), length=st.integers(0, 65_535))
def test_epoch_field_round_trip(number: int, index: int, length: int) -> None:
    epoch = EpochFraction(number, index, length)
    assert EpochFraction.unpack(epoch.pack()) == epoch
    assert EpochFraction.unpack(epoch.pack() | 0xFF << 56) == epoch


def test_out_points_that_a_transaction_names() -> None:
    points = [OutPoint(tx_hash=bytes([at]) * 32, index=at) for at in range(5)]
    body = RawTransaction(
        version=0,
        cell_deps=[CellDep(out_point=each, dep_type=1) for each in points[:2]],
        header_deps=[bytes(32)],
        inputs=[CellInput(since=9, previous_output=each) for each in points[2:]],
        outputs=[],
        outputs_data=[],
    )
    whole, empty = (Transaction(body=each, witnesses=[b"w"]) for each in (body, body.replace(inputs=[], cell_deps=[])))
    inside = Transaction.view(b"before" + whole.raw + b"after", 6, 6 + whole.raw_size)
    for transaction in (whole, inside):
        assert transaction.named_deps == [each.raw for each in points[:2]]
        assert transaction.consumed == [each.raw for each in points[2:]]
    assert (empty.named_deps, empty.consumed) == ([], [])
