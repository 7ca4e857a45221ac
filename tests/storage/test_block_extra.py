"""What light clients want of a block, read without its transactions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from consensus.types.blockchain import Block, UncleBlock, uncles_hash
from storage.block_extra import BlockExtra
from storage.chain_store import ChainStore
from storage.errors import StorageCorrupt
from tests.support.chains.stored import child, header


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[ChainStore]:
    with ChainStore.open(tmp_path / "chain") as store:
        yield store


def a_block(seed: int, uncles: int, extension: bytes | None) -> Block:
    """The first block of a chain, with a header that commits to its body."""
    rng = Random(seed)
    made = [UncleBlock(header=header(rng, 1, bytes(32), 0), proposals=[rng.randbytes(10)] * 3) for _ in range(uncles)]
    return child(rng, None).block.replace(uncles=made, extension=extension).with_roots()


def keep(chain: ChainStore, block: Block) -> None:
    with chain.begin() as txn:
        txn.insert_block(Block.parse(block.raw))
        txn.commit()


def wanted(block: Block) -> BlockExtra:
    return BlockExtra(block.header, uncles_hash(block.uncles), block.extension)


@pytest.mark.parametrize("extension", [None, b"", b"x", bytes(range(96))])
@pytest.mark.parametrize("uncles", [0, 1, 2])
def test_all_kinds(chain: ChainStore, uncles: int, extension: bytes | None) -> None:
    block = a_block(1, uncles, extension)
    keep(chain, block)
    with chain.view() as view:
        assert view.block_extra(block.hash) == wanted(block)


def test_a_block_whose_header_commits_to_something_else(chain: ChainStore) -> None:
    block = a_block(1, 2, b"x")
    block = block.replace(header=block.header.with_fields(extra_hash=b"\7" * 32))
    keep(chain, block)
    with chain.view() as view:
        assert view.block_extra(block.hash) == wanted(block)


def test_an_unknown_block(chain: ChainStore) -> None:
    with chain.view() as view:
        assert view.block_extra(bytes(32)) is None


@pytest.mark.parametrize("spoiled", ["head", "uncles", "extension"])
def test_damaged_bytes_are_not_believed(chain: ChainStore, spoiled: str) -> None:
    block = a_block(1, 1, b"extension")
    keep(chain, block)
    (segment,) = [path for path in (chain.path / "blocks").iterdir() if path.stat().st_size > len(block.raw)]
    at = segment.read_bytes().index(block.raw)
    offset = {"head": 8, "uncles": block.bounds[1] + 30, "extension": len(block.raw) - 1}[spoiled]
    with segment.open("r+b") as file:
        file.seek(at + offset)
        file.write(bytes([block.raw[offset] ^ 1]))
    with chain.view() as view, pytest.raises(StorageCorrupt):
        view.block_extra(block.hash)
