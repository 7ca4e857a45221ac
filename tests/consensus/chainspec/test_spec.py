"""Chain specs and genesis blocks.

Hashes are those that the reference node publishes in docs/hashes.toml and RFC 24. The public chains' own system cells
are not in this project, nor is the list of mainnet's first owners: the official crates have them, which cargo fetches.
"""

from __future__ import annotations

import contextlib
import copy
import tomllib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ckb_node import specs
from consensus.chainspec.genesis_build import (
    GenesisLockError,
    GenesisMismatchError,
    GenesisRecipe,
    IssuedCell,
    genesis_type_id,
)
from consensus.chainspec.reader import SpecFieldError
from consensus.chainspec.spec import (
    ChainSpec,
    GenesisFile,
    build_consensus,
    consensus_of,
    load_genesis,
    parse_spec,
    read_spec,
)
from consensus.crypto.hashing import ZERO_HASH, ckb_hash, data_hash
from consensus.errors import SpecError
from consensus.params import NEVER, PowFunc
from consensus.types.blockchain import HASH_TYPE_DATA, HASH_TYPE_TYPE, Block, CellbaseWitness, OutPoint, Script
from tests.support.crates import fetch_crates

CKB = 100_000_000

# docs/hashes.toml of the reference node: genesis, cellbase and dep-group transaction of each bundled chain.
PUBLISHED = {
    "mainnet": (
        "92b197aa1fba0f63633922c61c92375c9c074a93e85963554f5499fe1450d0e5",
        "e2fb199810d49a4d8beec56718ba2593b665db9d52299a0f9e6e75416d73ff5c",
        "71a7ba8fc96349fea0ed3a5c47992e3b4084b031a42264a018e0072e8172e46c",
    ),
    "testnet": (
        "10639e0895502b5688a6be8cf69460d76541bfa4821629d86d62ba0aae3f9606",
        "8f8c79eb6671709633fe6a46de93c0fedc9c1b8a6527a18d3983879542635c9f",
        "f8de3bb47d055cdf460d93a2a6e1b05f7432f9777c8c474abf4eec1d4aee5d37",
    ),
    "preview": (
        "9ed819e4bac690c22e97111baf7fbc873811fa053bfa8764db22e138be3f3728",
        "e93c55bea88e10c64d9b218ee2b504bc89b9e5ee912186ff904c1827360a5362",
        "0fab65924f2784f17ad7f86d6aef4b04ca1ca237102a68961594acebc5c77816",
    ),
    "staging": (
        "bc081e6b2e31149c1dc39007f161ed0a0b63d5d30b3b771acc6a3b622133fcc0",
        "7295631c414e50a8d9bb73d9845231ac212d10404045c96de7f149ec874ac6b7",
        "d5780747735fd22c9ba7363bde8afe59061658caa836962867253b03cbda264e",
    ),
    "dev": (
        "120ab9abd48e3b82f93b88eba8c50a0e1304cc2fffb5573fb14b56c6348f2305",
        "a563884b3686078ec7e7677a5f86449b15cf2693f3c1241766c6996f206cc541",
        "ace5ea83c478bb866edf122ff862085789158f5cbff155b7bb5f13058555b708",
    ),
}


def some_cell(name: str) -> bytes:
    """Stands for a system cell: what is in it does not matter to most rules of genesis."""
    return f"code of {name}".encode()


def dev_document() -> dict[str, Any]:
    return tomllib.loads(specs.bundled_text("dev"))


def dev_spec(**genesis: Any) -> ChainSpec:
    document = dev_document()
    document["genesis"].update(genesis)
    return read_spec(document)


# --- the public chains ---


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


# --- facts of the bundled specs ---


def test_type_ids_do_not_depend_on_code() -> None:
    """Type hashes of RFC 24: sighash, dao, multisig on every chain that has them at outputs 1, 2 and 4."""
    assert genesis_type_id(1).hash.hex() == "9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8"
    assert genesis_type_id(2).hash.hex() == "82d76d1b75fe2fd9a27dfbaa65a039221a380d76c926f378d3f81cf3e7e13f2e"
    assert genesis_type_id(4).hash.hex() == "5c5069eb0857efc65e1bca0c07df34c31663b3622fd3876c876320fc9634e2a8"


def test_dev_parameters() -> None:
    consensus = build_consensus(specs.load_bundled("dev"), some_cell)
    assert consensus.id == "ckb_dev"
    assert consensus.pow_func is PowFunc.DUMMY
    assert consensus.permanent_difficulty_in_dummy
    assert consensus.cellbase_maturity_epochs == 0
    assert consensus.max_block_cycles == 3_500_000_000
    assert consensus.epoch_duration_target_s == 80
    assert consensus.starting_block_limiting_dao_withdrawing_lock == 0
    assert (consensus.hardforks.rfc_0032, consensus.hardforks.rfc_0049, consensus.rfc_0044_epoch) == (0, 0, 0)
    assert [(d.name, d.bit, d.is_always_active) for d in consensus.deployments] == [("light_client", 1, True)]
    assert consensus.min_chain_work == 0
    assert consensus.genesis_epoch.length == 10
    assert consensus.genesis_epoch.primary_reward == consensus.initial_primary_epoch_reward
    assert consensus.dao_type_hash == genesis_type_id(2).hash
    assert consensus.secp256k1_blake160_multisig_all_type_hash == genesis_type_id(4).hash


def test_genesis_hash_rate() -> None:
    """dev: difficulty of 0x20010000 is 256; 10 blocks and no stale one (10/40 rounds down) in 80 s."""
    assert (
        build_consensus(specs.load_bundled("dev"), some_cell).genesis_epoch.previous_epoch_hash_rate == 256 * 10 // 80
    )


@pytest.mark.parametrize(
    ("name", "forks"),
    [("ckb", (5414, 5414, 12_293, 12_293, 8651)), ("ckb_testnet", (3113, 3113, 9690, 9690, 5711))],
)
def test_public_chains_have_fixed_forks(name: str, forks: tuple[int, ...]) -> None:
    consensus = build_consensus(read_spec(dev_document() | {"name": name, "params": {}}), some_cell)
    hardforks = consensus.hardforks
    assert (hardforks.rfc_0028, hardforks.rfc_0032, hardforks.rfc_0048, hardforks.rfc_0049) == forks[:4]
    assert (hardforks.rfc_0029, hardforks.rfc_0030, hardforks.rfc_0031, hardforks.rfc_0036) == (0, 0, 0, 0)
    assert consensus.rfc_0044_epoch == forks[4]
    assert consensus.deployments == ()
    # a chain only named like mainnet is not mainnet
    assert consensus.min_chain_work == 0


def test_public_chains_refuse_another_fork() -> None:
    document = dev_document() | {"name": "ckb_testnet", "params": {"hardfork": {"ckb2023": 9691}}}
    with pytest.raises(SpecFieldError) as caught:
        read_spec(document)
    assert caught.value.path == "params.hardfork.ckb2023"


def test_own_chains_choose_ckb2023() -> None:
    document = dev_document()
    document["params"]["hardfork"]["ckb2023"] = NEVER
    assert build_consensus(read_spec(document), some_cell).hardforks.rfc_0049 == NEVER


def test_params_left_out_are_those_of_mainnet() -> None:
    document = dev_document()
    del document["params"]
    consensus = build_consensus(read_spec(document), some_cell)
    assert consensus.initial_primary_epoch_reward == 1_917_808_21917808
    assert consensus.secondary_epoch_reward == 613_698_63013698
    assert consensus.max_block_bytes == 597_000
    assert consensus.max_block_cycles == 3_500_000_000
    assert consensus.cellbase_maturity_epochs == 4
    assert consensus.orphan_rate_target == Fraction(1, 40)
    assert consensus.genesis_epoch.length == 1000


def test_mainnet_is_known_by_its_block() -> None:
    spec = specs.load_bundled("mainnet")
    assert spec.genesis == GenesisFile("./genesis.block")
    assert spec.genesis_hash is not None
    assert spec.genesis_hash.hex() == PUBLISHED["mainnet"][0]
    assert spec.params.genesis_epoch_length == 1743
    with pytest.raises(GenesisMismatchError):
        build_consensus(spec, lambda name: load_genesis(specs.load_bundled("dev"), some_cell).raw)
    with pytest.raises(SpecError, match=r"genesis block \./genesis\.block"):
        build_consensus(spec, lambda name: b"\0" * 7)


@pytest.mark.parametrize("name", ["testnet", "preview", "staging"])
def test_other_cells_do_not_make_a_public_chain(name: str) -> None:
    with pytest.raises(GenesisMismatchError) as caught:
        build_consensus(specs.load_bundled(name), some_cell)
    assert caught.value.expected.hex() == PUBLISHED[name][0]


def test_dev_chain_with_the_bundled_cells() -> None:
    consensus = build_consensus(specs.load_bundled("dev"), specs.cell_file)
    outputs_data = consensus.genesis_block.transactions[0].body.outputs_data
    assert outputs_data[1] == specs.cell_file("specs/cells/secp256k1_blake160_sighash_all")
    assert all(data[:4] == b"\x7fELF" for data in (outputs_data[1], outputs_data[2], outputs_data[4]))


# --- construction ---


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


# --- parsing ---


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("name",), 1, "name"),
        (("nmae",), "x", "nmae"),
        (("genesis", "version"), -1, "genesis.version"),
        (("genesis", "version"), True, "genesis.version"),
        (("genesis", "version"), 1 << 32, "genesis.version"),
        (("genesis", "timestamp"), "0", "genesis.timestamp"),
        (("genesis", "compact_target"), 0, "genesis.compact_target"),
        (("genesis", "nonce"), 0, "genesis.nonce"),
        (("genesis", "nonce"), "0x1" + "0" * 32, "genesis.nonce"),
        (("genesis", "nonce"), "0x+1", "genesis.nonce"),
        (("genesis", "parent_hash"), "0x" + "01" * 32, "genesis.parent_hash"),
        (("genesis", "hash"), "0x" + "01" * 31, "genesis.hash"),
        (("genesis", "extra"), 1, "genesis.extra"),
        (("genesis", "genesis_cell", "extra"), 1, "genesis.genesis_cell.extra"),
        (("genesis", "genesis_cell", "lock", "args"), "00", "genesis.genesis_cell.lock.args"),
        (("genesis", "genesis_cell", "lock", "args"), "0x 0", "genesis.genesis_cell.lock.args"),
        (("genesis", "genesis_cell", "lock", "args"), "0x٠٠", "genesis.genesis_cell.lock.args"),
        (("genesis", "genesis_cell", "lock", "hash_type"), "data3", "genesis.genesis_cell.lock.hash_type"),
        (("genesis", "genesis_cell", "lock", "more"), "x", "genesis.genesis_cell.lock.more"),
        (("genesis", "system_cells", 1, "file"), "specs/cells/dao", "genesis.system_cells[1].file"),
        (("genesis", "system_cells", 1, "file"), {"bundled": "../dao"}, "genesis.system_cells[1].file.bundled"),
        (("genesis", "system_cells", 1, "file"), {"raw": "x"}, "genesis.system_cells[1].file.file"),
        (("genesis", "system_cells", 1, "create_type_id"), 1, "genesis.system_cells[1].create_type_id"),
        (("genesis", "system_cells", 1, "capacty"), 1, "genesis.system_cells[1].capacty"),
        (("genesis", "system_cells", 1), 1, "genesis.system_cells[1]"),
        (("genesis", "issued_cells"), {}, "genesis.issued_cells"),
        (("genesis", "issued_cells", 0, "data"), "0x1", "genesis.issued_cells[0].data"),
        (("genesis", "dep_groups", 0, "files", 0), "dao", "genesis.dep_groups[0].files[0]"),
        (("genesis", "satoshi_gift"), {}, "genesis.satoshi_gift.satoshi_cell_occupied_ratio"),
        (("params", "max_block_bytes"), 0, "params.max_block_bytes"),
        (("params", "genesis_epoch_length"), 0, "params.genesis_epoch_length"),
        (("params", "genesis_epoch_length"), 65_536, "params.genesis_epoch_length"),
        (("params", "epoch_duration_target"), 0, "params.epoch_duration_target"),
        (("params", "cellbase_maturity"), 2 << 40 | 1 << 24 | 4, "params.cellbase_maturity"),
        (("params", "orphan_rate_target"), [1, 0], "params.orphan_rate_target"),
        (("params", "orphan_rate_target"), [1, 2, 3], "params.orphan_rate_target"),
        (("params", "orphan_rate_target"), [1, 1 << 32], "params.orphan_rate_target"),
        (("params", "hardfork", "rfc_0028"), 0, "params.hardfork.rfc_0028"),
        (("params", "hardfrok"), {}, "params.hardfrok"),
        (("pow", "func"), "Sha256", "pow.func"),
        (("pow", "params"), {}, "pow.params"),
    ],
)
def test_wrong_keys_are_named(path: tuple[str | int, ...], value: object, named: str) -> None:
    document: Any = dev_document()
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(SpecFieldError) as caught:
        read_spec(document)
    assert caught.value.path == named


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every key and array item of a document."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in items:
        yield (*path, step)
        yield from paths_of(inner, (*path, step))


def test_any_value_in_any_place_is_accepted_or_refused() -> None:
    original = dev_document()
    replacements: list[Any] = [0, -1, 1 << 80, 1.5, True, "", "0x", "0x00", [], [[]], {}, {"a": 1}]
    for path in paths_of(original):
        for value in replacements:
            document: Any = copy.deepcopy(original)
            inner = document
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = value
            with contextlib.suppress(SpecFieldError):
                read_spec(document)


def test_missing_keys_are_named() -> None:
    document = dev_document()
    del document["genesis"]["bootstrap_lock"]["args"]
    with pytest.raises(SpecFieldError, match=r"genesis\.bootstrap_lock\.args: is missing"):
        read_spec(document)


def test_no_toml() -> None:
    with pytest.raises(SpecError, match="chain spec"):
        parse_spec("name = ")


def test_files_have_names_that_do_not_mix() -> None:
    cells = dev_document()["genesis"]["system_cells"]
    names = ("specs/cells/mine", "/abs/mine", "./mine")
    cells += [{"file": {"file": name}, "create_type_id": False} for name in names]
    genesis = dev_spec(system_cells=cells).genesis
    assert isinstance(genesis, GenesisRecipe)
    assert [cell.file for cell in genesis.system_cells[3:]] == [
        "specs/cells/secp256k1_blake160_multisig_all",
        "./specs/cells/mine",
        "/abs/mine",
        "./mine",
    ]


def test_satoshi_gift_can_be_chosen() -> None:
    gift = {"satoshi_pubkey_hash": "0x" + "77" * 20, "satoshi_cell_occupied_ratio": {"numer": 1, "denom": 2}}
    consensus = build_consensus(dev_spec(satoshi_gift=gift), some_cell)
    assert consensus.satoshi_pubkey_hash == b"\x77" * 20
    assert consensus.satoshi_cell_occupied_ratio == Fraction(1, 2)


def test_maturity_is_a_packed_epoch() -> None:
    document = dev_document()
    document["params"]["cellbase_maturity"] = 1 << 40 | 4
    assert read_spec(document).params.cellbase_maturity == 4


def test_content_hash_ignores_layout() -> None:
    text = specs.bundled_text("dev")
    assert parse_spec(text + "\n# a comment\n").content_hash == parse_spec(text).content_hash
    assert parse_spec(text.replace("80", "81")).content_hash != parse_spec(text).content_hash


def test_recipe_keeps_what_the_file_says() -> None:
    genesis = specs.load_bundled("preview").genesis
    assert isinstance(genesis, GenesisRecipe)
    assert genesis.timestamp == 1_589_276_230_000
    assert genesis.compact_target == 0x1E015555
    lock = Script(
        code_hash=bytes.fromhex("9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8"),
        hash_type=HASH_TYPE_TYPE,
        args=bytes.fromhex("57ccb07be6875f61d93636b0ee11b675494627d2"),
    )
    assert genesis.issued_cells[3] == IssuedCell(8_399_578_347 * CKB, lock, None, b"")


# --- the package's files ---


def test_bundled_files_are_refused_by_name() -> None:
    with pytest.raises(SpecError, match="mainnet, testnet"):
        specs.bundled_text("../dev")
    for name in ("specs/cells/nothing", "specs/cells/../dev.toml", "specs/cells/", "dao", "specs/cells/.hidden"):
        with pytest.raises(SpecError, match="no bundled file"):
            specs.cell_file(name)


def test_files_beside_a_spec(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"code")
    load = specs.files_of(tmp_path)
    assert load("./lock") == b"code"
    with pytest.raises(SpecError, match=r"\./other"):
        load("./other")
