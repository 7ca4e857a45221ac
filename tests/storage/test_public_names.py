"""What a program that embeds the store imports, as the package's docstring shows it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

import storage
from storage import ChainStore, StorageError
from tests.support.chains.stored import child


def test_the_example_of_the_package(tmp_path: Path) -> None:
    node = child(Random(1), None)
    with ChainStore.open(tmp_path) as store, store.begin() as txn:
        node.insert(txn)
        node.attach(txn)
        txn.commit()
    with ChainStore.open(tmp_path) as store, store.view() as view:
        assert view.tip_header().number == 0
    with pytest.raises(StorageError):
        store.view()


def test_public_names_exist() -> None:
    assert sorted(storage.__all__) == storage.__all__
    assert all(hasattr(storage, name) for name in storage.__all__)
