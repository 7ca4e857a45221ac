"""Genesis blocks that are built from specs.

Hashes are those that the reference node publishes in docs/hashes.toml and RFC 24. The public chains' own system cells
are not in this project, nor is the list of mainnet's first owners: the official crates have them, which cargo fetches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ckb_node import specs
from consensus.chainspec.genesis_build import (
    GenesisLockError,
    genesis_type_id,
)
from consensus.chainspec.spec import (
    ChainSpec,
    build_consensus,
    consensus_of,
    load_genesis,
    parse_spec,
    read_spec,
)
from consensus.crypto.hashing import ZERO_HASH, ckb_hash, data_hash
from consensus.errors import SpecError
from consensus.types.blockchain import HASH_TYPE_DATA, HASH_TYPE_TYPE, Block, CellbaseWitness, OutPoint, Script
from tests.consensus.chainspec.kit_spec import CKB, PUBLISHED, dev_document, dev_spec, some_cell
from tests.support.crates import fetch_crates


@pytest.fixture(scope="module")
def crates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the unpacked crates."""
    unchecked = "THE TRANSACTIONS OF THE PUBLIC CHAINS' GENESIS ARE NOT CHECKED in this run"
    return fetch_crates(tmp_path_factory.mktemp("crates"), unchecked)


def official_cells(crates: Path) -> Callable[[str], bytes]:
    return lambda name: (crates / "ckb-system-scripts" / name).read_bytes()


def official_mainnet(crates: Path) -> ChainSpec:
    return parse_spec((crates / "ckb-resource" / "specs" / "mainnet.toml").read_text())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PUBLISHED)
def test_genesis_of_the_public_chains(crates: Path, name: str) -> None:
    spec = official_mainnet(crates) if name == "mainnet" else specs.load_bundled(name)
    block = build_consensus(spec, official_cells(crates)).genesis_block
    assert (block.hash.hex(), *(tx.hash.hex() for tx in block.transactions)) == PUBLISHED[name]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_mainnet_from_its_block(crates: Path) -> None:
    built = build_consensus(official_mainnet(crates), official_cells(crates))
    read = build_consensus(specs.load_bundled("mainnet"), lambda name: built.genesis_block.raw)
    assert read == built
    assert read.min_chain_work == 0x3314412053C82802A7
    assert read.genesis_epoch.length == 1743


def test_layout_of_the_cellbase() -> None:
    block = load_genesis(specs.load_bundled("dev"), some_cell)
    cellbase, groups = block.transactions
    outputs = cellbase.body.outputs
    assert cellbase.is_cellbase
    assert cellbase.body.inputs[0].since == 0
    assert CellbaseWitness.parse(cellbase.witnesses[0]).lock.hash_type == HASH_TYPE_TYPE
    assert len(outputs) == 1 + 4 + 1 + 3
    assert list(cellbase.body.outputs_data[:2]) == [b"ckb_dev", some_cell("specs/cells/secp256k1_blake160_sighash_all")]
    assert outputs[0].capacity == outputs[0].occupied_capacity(len(b"ckb_dev"))
    assert [output.capacity for output in outputs[1:5]] == [100_000 * CKB, 16_000 * CKB, 1_048_617 * CKB, 100_000 * CKB]
    assert outputs[3].type_ is None
    # the special cell holds just what the dep groups take
    assert outputs[5].capacity == sum(output.capacity for output in groups.body.outputs)
    assert outputs[5].lock.code_hash == data_hash(cellbase.body.outputs_data[1])
    assert outputs[5].lock.hash_type == HASH_TYPE_DATA
    assert outputs[7].lock == Script(
        code_hash=genesis_type_id(1).hash,
        hash_type=HASH_TYPE_TYPE,
        args=bytes.fromhex("c8328aabcd9b9e8e64fbc566c4385c3bdeb219d7"),
    )


def test_dep_groups_name_their_cells() -> None:
    block = load_genesis(specs.load_bundled("dev"), some_cell)
    cellbase, groups = block.transactions
    expected = [[3, 1], [3, 4]]
    for data, indexes in zip(groups.body.outputs_data, expected, strict=True):
        points = b"".join(OutPoint(tx_hash=cellbase.hash, index=index).raw for index in indexes)
        assert data == len(indexes).to_bytes(4, "little") + points
    assert groups.body.inputs[0].previous_output == OutPoint(tx_hash=cellbase.hash, index=5)
    assert len(groups.witnesses[0]) == 65


def test_dao_field_counts_what_genesis_leaves_unspent() -> None:
    spec = specs.load_bundled("dev")
    block = load_genesis(spec, some_cell)
    total, rate, secondary, occupied = (
        int.from_bytes(block.header.dao[at : at + 8], "little") for at in (0, 8, 16, 24)
    )
    cellbase, groups = block.transactions
    unspent = [output for index, output in enumerate(cellbase.body.outputs) if index != 5] + list(groups.body.outputs)
    assert rate == 10**16
    assert secondary == -(-613_698_63013698 // 10)
    assert total == sum(output.capacity for output in unspent) + -(-1_917_808_21917808 // 10) + secondary
    data = list(cellbase.body.outputs_data)
    others = sum(cellbase.body.outputs[index].occupied_capacity(len(data[index])) for index in (0, 1, 2, 3, 4, 7, 8))
    assert occupied == others + 8_400_000_000 * CKB * 6 // 10 + sum(output.capacity for output in groups.body.outputs)


def test_another_message_is_another_chain() -> None:
    spec = specs.load_bundled("dev")
    other = spec.with_message("1700000000000")
    assert load_genesis(other, some_cell).hash != load_genesis(spec, some_cell).hash
    assert load_genesis(other, some_cell).transactions[0].body.outputs_data[0] == b"1700000000000"
    with pytest.raises(SpecError):
        specs.load_bundled("mainnet").with_message("lina")


def test_capacity_left_out_is_exact() -> None:
    document = dev_document()
    del document["genesis"]["system_cells"][2]["capacity"]
    output = load_genesis(read_spec(document), some_cell).transactions[0].body.outputs[3]
    assert output.capacity == output.occupied_capacity(len(some_cell("specs/cells/secp256k1_data")))


def test_system_cell_must_fit_its_capacity() -> None:
    with pytest.raises(SpecError, match="specs/cells/dao takes"):
        load_genesis(specs.load_bundled("dev"), lambda name: bytes(16_000) if name.endswith("dao") else some_cell(name))


def test_issued_cells_may_carry_data_and_type() -> None:
    cells = [
        {
            "capacity": 500 * CKB,
            "data": "0x0102",
            "type": {"code_hash": "0x" + "22" * 32, "hash_type": "data2", "args": "0x33"},
            "lock": {"code_hash": "0x" + "00" * 32, "hash_type": "data1", "args": "0x"},
        }
    ]
    body = load_genesis(dev_spec(issued_cells=cells), some_cell).transactions[0].body
    assert body.outputs_data[6] == b"\1\2"
    assert body.outputs[6].type_ == Script(code_hash=b"\x22" * 32, hash_type=4, args=b"\x33")
    assert body.outputs[6].lock.hash_type == 2


@pytest.mark.parametrize(
    ("hash_type", "code_hash", "is_there"),
    [
        ("type", "0x" + "55" * 32, False),
        ("type", "0x" + genesis_type_id(1).hash.hex(), True),
        ("data", "0x" + genesis_type_id(1).hash.hex(), False),
        ("data", "0x" + ckb_hash(some_cell("specs/cells/dao")).hex(), True),
        ("data1", "0x" + ckb_hash(some_cell("specs/cells/dao")).hex(), True),
        ("data2", "0x" + ckb_hash(some_cell("specs/cells/dao")).hex(), True),
        ("type", "0x" + ckb_hash(some_cell("specs/cells/dao")).hex(), False),
    ],
)
def test_locks_must_resolve_in_genesis(hash_type: str, code_hash: str, is_there: bool) -> None:
    lock = {"code_hash": code_hash, "hash_type": hash_type, "args": "0x"}
    spec = dev_spec(issued_cells=[{"capacity": 100 * CKB, "lock": lock}])
    if is_there:
        build_consensus(spec, some_cell)
        return
    with pytest.raises(GenesisLockError) as caught:
        build_consensus(spec, some_cell)
    assert (caught.value.transaction, caught.value.output) == (0, 6)


def test_impossible_totals_are_refused() -> None:
    lock = {"code_hash": "0x" + "00" * 32, "hash_type": "data", "args": "0x"}
    spec = dev_spec(issued_cells=[{"capacity": (1 << 64) - 1, "lock": lock}] * 2)
    with pytest.raises(SpecError, match="impossible amount"):
        load_genesis(spec, some_cell)


def test_a_dep_group_of_something_else_is_refused() -> None:
    groups = [{"name": "x", "files": [{"file": "other"}]}]
    with pytest.raises(SpecError, match=r"\./other"):
        load_genesis(dev_spec(dep_groups=groups), some_cell)


def test_genesis_must_have_a_difficulty() -> None:
    with pytest.raises(SpecError, match="no difficulty"):
        build_consensus(dev_spec(compact_target=0xFF000001), some_cell)


def test_too_few_system_cells() -> None:
    with pytest.raises(SpecError, match="4 system cells"):
        load_genesis(dev_spec(system_cells=[], dep_groups=[]), some_cell)


def tampered(block: Block) -> Iterator[Block]:
    header = block.header
    yield block.replace(header=header.with_fields(number=1))
    yield block.replace(header=header.with_fields(epoch=1))
    yield block.replace(header=header.with_fields(parent_hash=b"\1" * 32))
    yield block.replace(header=header.with_fields(dao=ZERO_HASH))
    yield block.replace(header=header.with_fields(transactions_root=ZERO_HASH))
    yield block.replace(proposals=[b"\1" * 10]).with_roots()
    yield block.replace(extension=b"\1").with_roots()
    yield block.replace(transactions=block.transactions[:1]).with_roots()
    yield block.replace(transactions=block.transactions[1:]).with_roots()
    yield block.replace(transactions=[]).with_roots()


def test_a_foreign_genesis_block_is_checked() -> None:
    spec = specs.load_bundled("dev")
    block = load_genesis(spec, some_cell)
    assert consensus_of(spec, Block.parse(block.raw)).genesis_hash == block.hash
    for other in tampered(block):
        with pytest.raises(SpecError):
            consensus_of(spec, other)
