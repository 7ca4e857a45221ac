"""Addresses of pools."""

from __future__ import annotations

import pytest

from ckb_node.miner.endpoint import Endpoint, parse_endpoint
from ckb_node.miner.work import MinerError


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("mining.example.com:3001", Endpoint("mining.example.com", 3001, is_tls=False)),
        ("stratum+tcp://127.0.0.1:1", Endpoint("127.0.0.1", 1, is_tls=False)),
        ("stratum+ssl://pool:65535/", Endpoint("pool", 65535, is_tls=True)),
        ("ssl://pool:2", Endpoint("pool", 2, is_tls=True)),
        ("[::1]:3333", Endpoint("::1", 3333, is_tls=False)),
    ],
)
def test_good_ones(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


def test_tls_by_option() -> None:
    assert parse_endpoint("pool:1", is_tls=True).is_tls
    assert str(parse_endpoint("[::1]:3333")) == "[::1]:3333"


@pytest.mark.parametrize(
    "text",
    ["", "pool", "pool:", ":1", "pool:0", "pool:65536", "http://pool:1", "user@pool:1", "po ol:1", "::1:3", "a:1:2"],
)
def test_bad_ones(text: str) -> None:
    with pytest.raises(MinerError, match="--stratum"):
        parse_endpoint(text)
