"""docs/ARCHITECTURE.md names files of this tree: each is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"`([\w.-]+(?:/[\w.-]+)*(?:/|\.py|\.md|\.toml))`", TEXT)))


def test_it_names_files() -> None:
    assert len(PATHS) > 50


@pytest.mark.parametrize("name", PATHS)
def test_each_path_exists(name: str) -> None:
    """From the root of the tree, so that a reader can open it."""
    path = ROOT / name
    assert path.is_dir() if name.endswith("/") else path.is_file()
