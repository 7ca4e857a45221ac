"""Open files and address space: raised, shared out, or refused with a clear line."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest

from ckb_node.runtime.system_limits import (
    MAX_DESCRIPTORS,
    MIN_ADDRESS_SPACE,
    MIN_DESCRIPTORS,
    connections_within,
    peers_share,
)
from tests.support.nodes.process import ROOT


def limited(kind: str, soft: int, hard: int, call: str) -> subprocess.CompletedProcess[str]:
    """What a process with that limit prints of a call."""
    program = (
        f"import resource; resource.setrlimit(resource.{kind}, ({soft}, {hard}))\n"
        "from ckb_node.runtime import system_limits\n"
        f"try: print({call}, *resource.getrlimit(resource.{kind}))\n"
        "except system_limits.SystemLimitError as error: print(error)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )


RAISE = "system_limits.raise_descriptor_limit()"


@pytest.mark.parametrize(("soft", "hard", "told"), [(64, 1000, "1000 1000 1000"), (128, 128, "128 128 128")])
def test_the_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int, told: str) -> None:
    assert limited("RLIMIT_NOFILE", soft, hard, RAISE).stdout.strip() == told


def test_too_few_files_are_refused_by_name() -> None:
    told = limited("RLIMIT_NOFILE", 40, 60, RAISE).stdout
    assert "60 open files are allowed" in told
    assert "ulimit -n" in told


def test_little_address_space_is_refused_by_name() -> None:
    told = limited("RLIMIT_AS", 4 << 30, 8 << 30, "system_limits.require_address_space()").stdout
    assert told.startswith("the address space is limited to 8192 MiB")
    assert "ulimit -v" in told


def test_a_soft_limit_of_address_space_is_raised() -> None:
    enough = MIN_ADDRESS_SPACE
    told = limited("RLIMIT_AS", 4 << 30, enough, "system_limits.require_address_space()").stdout
    assert told.split() == ["None", str(enough), str(enough)]


def test_connections_leave_files_for_the_node() -> None:
    limits = range(MIN_DESCRIPTORS, MAX_DESCRIPTORS, 37)
    connections = [connections_within(limit, processes=2) for limit in limits]
    assert all(0 < most <= limit - 40 for limit, most in zip(limits, connections, strict=True))
    assert all(low <= high for low, high in pairwise(connections))
    assert connections_within(1024, processes=2) == 1024 - 64 - 24 - 64 - 24 - 204


@pytest.mark.parametrize(
    ("connections", "max_peers", "share"), [(10_000, 125, 1018), (644, 125, 322), (10, 125, 5), (10_000, 60_000, 5000)]
)
def test_peers_and_rpc_share_the_connections(connections: int, max_peers: int, share: int) -> None:
    assert peers_share(connections, max_peers) == share
