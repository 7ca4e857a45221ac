"""Names of clients."""

from __future__ import annotations

import pytest

from ckb_node.runtime.client import client_of


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [
        ("192.0.2.7", 5, "192.0.2.7"),
        ("192.0.2.7", 6, "192.0.2.7"),
        ("127.0.0.1", 5, "127.0.0.1:5"),
        ("127.0.0.1", 6, "127.0.0.1:6"),
        ("::1", 5, "::1:5"),
        ("::ffff:192.0.2.7", 5, "192.0.2.7"),
        ("::ffff:127.0.0.1", 5, "127.0.0.1:5"),
        ("2001:db8:1:2:aaaa::1", 5, "2001:db8:1:2::"),
        ("2001:db8:1:2:bbbb::9", 6, "2001:db8:1:2::"),
        ("fe80::1%eth0", 5, "fe80::"),
        ("unix", 5, ":5"),
    ],
)
def test_hosts_are_told_apart_by_address_and_local_programs_by_connection(host: str, port: int, name: str) -> None:
    assert client_of(host, port) == name
