"""What the vectors of this directory are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from consensus.types.blockchain import (
    Block,
    Header,
    Transaction,
)

MAINNET, TESTNET = "mainnet", "testnet"


@dataclass(frozen=True)
class Real:
    """Something of a public chain: where it was found, its hash and its serialisation (molecule), both in hex.

    `source`: a repository and a file in it, or an author's site and an article.
    """

    network: str
    source: str
    hash: str
    raw: str


class RealHeader(Real):
    """A header of a block or of an uncle."""

    @cached_property
    def header(self) -> Header:
        return Header.parse(bytes.fromhex(self.raw))


class RealBlock(Real):
    """A whole block."""

    @cached_property
    def block(self) -> Block:
        return Block.parse(bytes.fromhex(self.raw))


class RealTransaction(Real):
    """A transaction with its witnesses; its hash does not cover these."""

    @cached_property
    def transaction(self) -> Transaction:
        return Transaction.parse(bytes.fromhex(self.raw))


def short(tx_hash: str) -> str:
    return tx_hash[:8]
