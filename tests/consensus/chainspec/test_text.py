"""The canonical text of chain specs: its hash is that which the reference publishes of the public chains."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from ckb_node.specs import bundled_text
from consensus.chainspec.spec import parse_spec
from consensus.chainspec.text import canonical_text
from consensus.crypto.hashing import ckb_hash

TESTNET = "dde420d56c10a06749e79701b152ed1f532f4bdf0696b5896dfd97fbc821e231"


def document(name: str) -> dict[str, Any]:
    return tomllib.loads(bundled_text(name))


def hash_of(spec: dict[str, Any]) -> str:
    return ckb_hash(canonical_text(spec, str).encode()).hex()


def test_the_public_test_chain() -> None:
    assert hash_of(document("testnet")) == TESTNET


def test_layout_does_not_matter_but_content_does() -> None:
    spec = document("testnet")
    backwards = dict(reversed(spec.items())) | {"genesis": dict(reversed(spec["genesis"].items()))}
    assert hash_of(backwards) == TESTNET
    upper = spec | {"genesis": spec["genesis"] | {"parent_hash": "0x" + "AB" * 32}}
    lower = spec | {"genesis": spec["genesis"] | {"parent_hash": "0x" + "ab" * 32}}
    assert hash_of(upper) == hash_of(lower) != TESTNET
    assert hash_of(spec | {"params": {"hardfork": {"ckb2023": 1}}}) != TESTNET


def test_names_of_files_are_made_absolute() -> None:
    spec = document("dev")
    spec["genesis"]["system_cells"][0]["file"] = {"file": "cells/lock"}
    text = canonical_text(spec, lambda name: f"/node/specs/{name}")
    assert '[genesis.system_cells.file]\nfile = "/node/specs/cells/lock"\n' in text
    assert '[genesis.system_cells.file]\nbundled = "specs/cells/dao"\n' in text


@pytest.mark.parametrize("name", ["testnet", "preview", "staging", "dev"])
def test_the_text_is_a_spec_of_the_same_chain(name: str) -> None:
    spec, again = parse_spec(bundled_text(name)), parse_spec(canonical_text(document(name), str))
    assert (again.name, again.genesis, again.params, again.gift) == (spec.name, spec.genesis, spec.params, spec.gift)
    assert hash_of(again.document) == hash_of(spec.document)
