"""Which modules of the tests import which: tests import no tests, and what rooms share is in tests/support."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MODULES = {".".join(("tests", *path.relative_to(TESTS).with_suffix("").parts)): path for path in TESTS.rglob("*.py")}
SHARED = "support"
LENDING_ROOMS = {
    "conformance": "its programs for the VM are also measured, by tests/benches/vm_programs.py",
    "simulator": "its grown trees of blocks are the good blocks that tests/consensus/test_mutations.py spoils",
}
"""Rooms with a program of their own, and why another room imports parts of it."""


def room_of(module: str) -> str:
    """The directory below tests; empty for tests/conftest.py."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 else ""


def is_test(module: str) -> bool:
    return module.rsplit(".", 1)[1].startswith("test_")


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Modules of the tests that a module imports, at its top or inside its functions."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name in MODULES)


def faults_of(module: str, imported: str) -> Iterator[str]:
    """What is wrong with an import; nothing if the rules allow it."""
    room, other = room_of(module), room_of(imported)
    if is_test(imported):
        yield f"{module} imports the test {imported}"
    if other not in (room, SHARED, *LENDING_ROOMS):
        yield f"{module} imports {imported} of another room"


@pytest.mark.parametrize(
    ("module", "imported", "count"),
    [
        ("tests.chain.test_reorg", "tests.support.chains.devchain", 0),
        ("tests.rpc.test_http", "tests.rpc.kit_http", 0),
        ("tests.consensus.test_mutations", "tests.simulator.state", 0),
        ("tests.chain.test_reorg", "tests.chain.test_writer", 1),
        ("tests.rpc.test_http", "tests.verification.kit", 1),
        ("tests.support.chains.devchain", "tests.rpc.kit", 1),
        ("tests.rpc.test_http", "tests.chain.test_writer", 2),
    ],
)
def test_faults_are_seen(module: str, imported: str, count: int) -> None:
    assert len(list(faults_of(module, imported))) == count


def test_imports_are_seen() -> None:
    text = "import tests.rpc.kit\nfrom tests.support.fuzz import examples\n"
    text += "def f():\n    from tests.chain import test_writer\n"
    assert list(imports_of(ast.parse(text))) == ["tests.rpc.kit", "tests.support.fuzz", "tests.chain.test_writer"]


def test_tests_import_no_tests_and_rooms_only_what_they_share() -> None:
    faults = [
        fault
        for module, path in MODULES.items()
        for imported in imports_of(ast.parse(path.read_text(encoding="utf-8")))
        for fault in faults_of(module, imported)
    ]
    assert faults == []


def test_each_lending_room_lends() -> None:
    """An exception that nobody needs any more leaves the list."""
    lending = {
        room_of(imported)
        for module, path in MODULES.items()
        for imported in imports_of(ast.parse(path.read_text(encoding="utf-8")))
        if room_of(imported) not in (room_of(module), SHARED)
    }
    assert lending == set(LENDING_ROOMS)
