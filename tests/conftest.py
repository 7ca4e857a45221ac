"""Property tests are found by their marker: `pytest -m fuzz`. A sample of all: `pytest --first-of-each-file`."""

from __future__ import annotations

import faulthandler
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

from tests.support.fuzz import FACTOR

FUZZ_TIMEOUT_S = 3000
STANDARD_ERROR = 2

# Before any conftest imports an engine of the VM: what WebAssembly sets up for its traps must be on top of this.
# pytest enables it too late when a room with such a conftest is named on the command line.
faulthandler.enable(STANDARD_ERROR)

# An example may take as long as it does: the machine may be busy.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--first-of-each-file", action="store_true", help="the first quick test of each file alone")


@pytest.hookimpl(tryfirst=True)  # before the items are chosen by their markers
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All tests of hypothesis are fuzz tests; with many examples they may take long."""
    for item in items:
        if isinstance(item, pytest.Function) and is_hypothesis_test(item.obj):
            item.add_marker(pytest.mark.fuzz)
            if FACTOR > 1:
                item.add_marker(pytest.mark.timeout(FUZZ_TIMEOUT_S))
    if config.getoption("first_of_each_file"):
        keep_first_of_each_file(config, items)


def keep_first_of_each_file(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a file whose tests are all slow or of hypothesis none is left; it has been imported."""
    first = dict[Path, pytest.Item]()
    for item in items:
        if not any(item.get_closest_marker(name) for name in ("slow", "fuzz")):
            first.setdefault(item.path, item)
    kept = set(first.values())
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]
