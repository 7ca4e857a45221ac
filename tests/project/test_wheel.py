"""What is installed: exactly the five packages of the design, with their data."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"ckb_node", "consensus", "vm", "storage", "network"}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in the wheel."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = directory.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_the_top_level_is_the_five_rooms(names: list[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == ROOMS


def test_specs_and_system_cells_are_inside(names: list[str]) -> None:
    for cell in ("secp256k1_blake160_sighash_all", "dao", "secp256k1_data", "secp256k1_blake160_multisig_all"):
        assert f"ckb_node/specs/cells/{cell}" in names
    assert "ckb_node/specs/dev.toml" in names


def test_every_room_is_typed(names: list[str]) -> None:
    assert {f"{room}/py.typed" for room in ROOMS} <= set(names)
