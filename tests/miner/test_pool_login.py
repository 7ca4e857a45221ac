"""Answers to mining.subscribe as chapter and transcripts of pools have them, and such as make no sense."""

from __future__ import annotations

from typing import Any

import pytest

from ckb_node.miner.pool_login import PoolError, PoolForm, read_prefix, read_subscription

NONCE = bytes(range(16))
SESSION = [["mining.set_difficulty", "1f2e3d4c"], ["mining.notify", "1f2e3d4c"]]


@pytest.mark.parametrize(
    ("result", "form", "prefix", "share"),
    [
        ([None, "00c904bd", 12], PoolForm.COMMON, "00c904bd", ["u.w", "j", NONCE[4:].hex()]),
        (["null", "00c904bd", 12], PoolForm.COMMON, "00c904bd", ["u.w", "j", NONCE[4:].hex()]),
        ([None, "0011223344556677", 8], PoolForm.COMMON, "0011223344556677", ["u.w", "j", NONCE[8:].hex()]),
        ([None, "", 16], PoolForm.COMMON, "", ["u.w", "j", NONCE.hex()]),
        ([SESSION, "1f2e3d4c", 4], PoolForm.GOLDSHELL, "00" * 8, ["u.w", "j", "0" * 8, "0" * 8, NONCE[8:].hex()]),
        (
            [["mining.notify", "ae68", "EthereumStratum/1.0.0"], "080c2f"],
            PoolForm.NICEHASH,
            "080c2f",
            ["u.w", "j", NONCE[3:].hex()],
        ),
        (
            [["mining.notify", "ae68", "EthereumStratum/1.0.0"], "080c2f", 13],
            PoolForm.NICEHASH,
            "080c2f",
            ["u.w", "j", NONCE[3:].hex()],
        ),
    ],
)
def test_forms(result: Any, form: PoolForm, prefix: str, share: list[str]) -> None:
    subscription = read_subscription(result)
    assert subscription.form is form
    assert subscription.prefix.hex() == prefix
    assert list(subscription.share("u.w", "j", NONCE)) == share
    assert subscription.has_little_endian_targets == (form is PoolForm.GOLDSHELL)


@pytest.mark.parametrize(
    "result",
    [
        None,
        True,
        [],
        {},
        "text",
        [None, "00c904bd"],
        [None, "00c904bd", "12"],
        [None, "00c904bd", 4],
        [None, "3e29d5", 5],
        [None, "00c904b", 12],
        [None, "zz", 15],
        [None, "00" * 16, 0],
        [None, "00" * 17, -1],
        [None, "00" * 100_000, 12],
        [["mining.notify", "ae68", "EthereumStratum/1.0.0"], 5],
        [["mining.notify", "ae68", "EthereumStratum/1.0.0"], "00" * 16],
        [SESSION, 1, 4],
    ],
)
def test_answers_without_sense(result: Any) -> None:
    with pytest.raises(PoolError):
        read_subscription(result)


def test_another_nonce1() -> None:
    common = read_subscription([None, "00c904bd", 12])
    assert common.with_prefix(read_prefix("0a0b", 14)).prefix == b"\x0a\x0b"
    goldshell = read_subscription([SESSION, "1f2e3d4c", 4])
    assert goldshell.with_prefix(b"\x0a\x0b").prefix == bytes(8)
