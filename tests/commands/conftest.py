"""Commands that read chains start a process for each processor, which costs more than the short chains of tests."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def one_script_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless a test says how many it wants."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
