"""pyckb, a wallet that nobody here wrote, set to a node."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any


def batched(items: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """itertools.batched of Python 3.12, which pyckb uses."""
    rest = iter(items)
    while batch := tuple(itertools.islice(rest, size)):
        yield batch


def pyckb_wallets(port: int, *keys: bytes) -> list[Any]:
    """pyckb's wallets of these keys; what pyckb does from now on goes to the node at this port of RPC."""
    if not hasattr(itertools, "batched"):
        itertools.batched = batched  # type: ignore[attr-defined]  # lent to the wallet on Python 3.11
    config = importlib.import_module("pyckb.config")
    config.upgrade(f"http://127.0.0.1:{port}")
    config.current.rpc.qps = 1000
    wallet = importlib.import_module("pyckb.wallet").Wallet
    return [wallet(int.from_bytes(key, "big")) for key in keys]
