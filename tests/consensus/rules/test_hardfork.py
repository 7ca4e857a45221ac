"""Features by epoch."""

from __future__ import annotations

import pytest

from consensus.params import Hardforks
from consensus.rules.hardfork import (
    chain_root_is_required,
    header_version_is_free,
    is_hash_type,
    since_counts_from_block_timestamp,
    type_script_vm_version,
    vm_version_is_active,
)
from tests.support.builders.blocks import a_consensus

MAINNET = a_consensus(
    hardforks=Hardforks(rfc_0028=5414, rfc_0032=5414, rfc_0048=12_293, rfc_0049=12_293), rfc_0044_epoch=8651
)


@pytest.mark.parametrize(("epoch", "version"), [(0, 0), (5413, 0), (5414, 1), (12_292, 1), (12_293, 2)])
def test_type_scripts_run_on_the_newest_active_vm(epoch: int, version: int) -> None:
    assert type_script_vm_version(MAINNET, epoch) == version
    assert vm_version_is_active(MAINNET, version, epoch)
    assert not vm_version_is_active(MAINNET, version + 1, epoch)


def test_vm_versions_that_do_not_exist_are_never_active() -> None:
    assert not vm_version_is_active(MAINNET, -1, 20_000)
    assert not vm_version_is_active(MAINNET, 3, 20_000)


@pytest.mark.parametrize(("epoch", "active"), [(5413, False), (5414, True)])
def test_rfc_28(epoch: int, active: bool) -> None:
    assert since_counts_from_block_timestamp(MAINNET, epoch) is active


@pytest.mark.parametrize(("epoch", "active"), [(12_292, False), (12_293, True)])
def test_rfc_48(epoch: int, active: bool) -> None:
    assert header_version_is_free(MAINNET, epoch) is active


@pytest.mark.parametrize(("parent_epoch", "active"), [(8650, False), (8651, True)])
def test_rfc_44(parent_epoch: int, active: bool) -> None:
    assert chain_root_is_required(MAINNET, parent_epoch) is active


def test_hash_types_are_one_and_the_even_bytes() -> None:
    assert [value for value in range(8) if is_hash_type(value)] == [0, 1, 2, 4, 6]
    assert is_hash_type(254)
    assert not is_hash_type(255)
