"""What serving needs of the chain; see ckb_node.sync.chain.SyncChain, which has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from ckb_node.chain.events import ChainChanged
from storage.chain_store import ChainView

__all__ = ["ReadChain", "ServedChain"]

T = TypeVar("T")


class ReadChain(Protocol):
    """Views, and threads that read."""

    def view(self) -> ChainView: ...

    def read(self, work: Callable[[ChainView], T], done: Callable[[T | Exception], None]) -> None: ...


class ServedChain(ReadChain, Protocol):
    """Of which light clients are told."""

    def listen(self, listener: Callable[[ChainChanged], None]) -> None: ...
