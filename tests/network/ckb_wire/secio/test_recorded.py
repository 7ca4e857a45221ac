"""Handshakes that the reference's secio (0.6.7) answered, recorded: the same bytes come in, the same must go out.

Our side is reproducible (tests.support.secio), so of what we sent a hash is enough. The peer echoed `hello` at the end.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from network.ckb_wire.secio import Offers, Suite
from tests.support.secio import side

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: "-".join(recorded["suite"]))
@pytest.mark.parametrize("step", [1, 50, 10_000])
def test_the_reference_agrees(recorded: dict[str, Any], step: int) -> None:
    exchange, cipher, hash_name = recorded["suite"]
    a = side(1, recorded["seed"], Offers((exchange,), (cipher,), (hash_name,)))
    received, sent, at = bytes.fromhex(recorded["received"]), a.data_to_send(), 0
    while not a.is_done:
        a.receive(received[at : at + step])
        sent, at = sent + a.data_to_send(), at + step
    assert a.suite == Suite(exchange, cipher, hash_name)
    channel = a.channel()
    sent += channel.seal(b"hello")
    rest = a.rest() + received[at:]
    assert channel.open(rest[4:]) == b"hello"
    assert sha256(sent).hexdigest() == recorded["sent_sha256"]


def test_each_suite_and_both_orders_are_there() -> None:
    assert len({tuple(recorded["suite"]) for recorded in RECORDED}) == 18
    assert {recorded["local_first"] for recorded in RECORDED} == {True, False}
