"""Network groups: what one party easily has many of is one group."""

from __future__ import annotations

import pytest

from network.multiaddr import Multiaddr
from network.peers.groups import LOCAL, NAME, ONION, group_of

ONION_NAME = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd"


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("/ip4/127.0.0.1/tcp/1", LOCAL),
        ("/ip4/127.9.9.9/tcp/2", LOCAL),
        ("/ip6/::1/tcp/1", LOCAL),
        ("/ip4/1.2.3.4/tcp/1", "1.2"),
        ("/ip4/1.2.99.99/tcp/9", "1.2"),
        ("/ip4/1.3.3.4/tcp/1", "1.3"),
        ("/ip6/::ffff:1.2.3.4/tcp/1", "1.2"),
        ("/ip6/::1.2.3.4/tcp/1", "1.2"),
        ("/ip6/2606:4700:1:2::3/tcp/1", "26064700"),
        ("/ip6/2606:4700:ffff::/tcp/1", "26064700"),
        ("/ip6/2606:4701::/tcp/1", "26064701"),
        (f"/onion3/{ONION_NAME}:1", ONION),
        ("/dns4/a.example/tcp/1", NAME),
        ("/dns6/b.example/tcp/1", NAME),
    ],
)
def test_the_group_of_an_address(host: str, group: str) -> None:
    assert group_of(Multiaddr.parse(host)) == group
