"""The chain at hand, and bad values, for the parameters of the same questions to both programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.interop.kit_json import Json
from tests.support.builders.wallet import Wallet

Request = tuple[str, Any]
"""Method and `params`, any JSON."""


UNKNOWN = "0x" + "77" * 32


@dataclass(frozen=True)
class Facts:
    """What the chain at hand has, for parameters."""

    genesis: str
    tip_number: int
    tip: str
    block_with_uncle: str
    fork_block: str
    committed: Json
    """A transaction view, committed by `commit_block` together with `neighbour`."""
    neighbour: str
    commit_block: str
    cellbase: str
    pending: Json
    alice: Wallet
    bob: Wallet
    unsent: Json
    """A valid transaction that neither pool has."""
    dao_deposit: Json | None = None


BAD_HASHES: tuple[Any, ...] = (
    "0x12",
    "77" * 32,
    "0x" + "7z" * 32,
    "0x" + "AB" * 32,
    "0x" + "77" * 33,
    "0X" + "77" * 32,
    "0x",
    "",
    1,
    None,
    [],
    {},
    True,
    1.5,
)


BAD_NUMBERS: tuple[Any, ...] = (
    "0x",
    "0x00",
    "0x01",
    "1",
    "0xG",
    "0XA",
    "0xA",
    "",
    -1,
    1,
    None,
    [],
    {},
    False,
    "0x1" + "0" * 16,
    " 0x1",
)


BAD_U32: tuple[Any, ...] = ("0x", "0x01", "0x100000000", "0x3", 1, "two")


def without(view: Json) -> Json:
    return {key: value for key, value in view.items() if key != "hash"}
