"""Chain specs: what the bundled ones say, how they are read, and what is refused."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ckb_node import specs
from consensus.chainspec.genesis_build import (
    GenesisMismatchError,
    GenesisRecipe,
    IssuedCell,
    genesis_type_id,
)
from consensus.chainspec.reader import SpecFieldError
from consensus.chainspec.spec import (
    GenesisFile,
    build_consensus,
    load_genesis,
    parse_spec,
    read_spec,
)
from consensus.errors import SpecError
from consensus.params import NEVER, PowFunc
from consensus.types.blockchain import HASH_TYPE_TYPE, Script
from tests.consensus.chainspec.kit_spec import CKB, PUBLISHED, dev_document, dev_spec, some_cell


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
