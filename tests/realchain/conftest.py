"""The public chains, made once; skipped loudly where cargo cannot get the official cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.realchain.kinds import MAINNET, TESTNET
from tests.realchain.public import PublicChain, public_chain
from tests.support.crates import fetch_crates

UNCHECKED = "SCRIPTS OF REAL TRANSACTIONS AND THE FIRST BLOCKS OF MAINNET AND TESTNET ARE NOT VERIFIED in this run"


@pytest.fixture(scope="package")
def crates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the unpacked crates."""
    return fetch_crates(tmp_path_factory.mktemp("crates"), UNCHECKED)


@pytest.fixture(scope="package")
def chains(crates: Path) -> dict[str, PublicChain]:
    return {network: public_chain(network, crates) for network in (MAINNET, TESTNET)}
