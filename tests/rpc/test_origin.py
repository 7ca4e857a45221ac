"""Which pages may call the RPC, and by which names."""

from __future__ import annotations

import pytest

from ckb_node.rpc.origin import BadOriginError, Standing, parse_host, parse_origin, policy_of

TRUSTED, FOREIGN, REFUSED = Standing.TRUSTED, Standing.FOREIGN, Standing.REFUSED
HERE = "127.0.0.1:8114"


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:3000",
        "http://LocalHost:3000",
        "http://app.localhost:5173",
        "http://127.0.0.1:8080",
        "http://127.1.2.3",
        "http://[::1]:3000",
        "http://0.0.0.0:3000",
    ],
)
def test_pages_of_this_machine_are_served(origin: str) -> None:
    assert policy_of([], []).standing(origin, HERE) is TRUSTED


@pytest.mark.parametrize(
    "origin",
    [
        "https://dapp.example",
        "http://192.168.1.5:3000",
        "null",
        "",
        "file://",
        "file:///home/me/page.html",
        "chrome-extension://abcdefghijklmnop",
        "tauri://localhost",
        "http://localhost.evil.example",
        "http://evil.example:3000",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1.nip.example",
        "http://localhost@evil.example",
        "http://evil.example#localhost",
        "http://evil.example/localhost",
        "http://[::1]evil.example",
        "http://localhost evil.example",
        "http://localhost, http://evil.example",
        "http://128.0.0.1",
        "http://127.0.0.1:99999",
        "localhost:3000",
        "http://",
        "*",
        "http://" + "a" * 5000,
        "http://localhost\x00.evil.example",
    ],
)
def test_other_pages_are_refused_and_are_foreign_where_all_are_let_in(origin: str) -> None:
    assert policy_of([], []).standing(origin, HERE) is REFUSED
    assert policy_of(["*"], []).standing(origin, HERE) is FOREIGN


def test_named_origins_are_served_but_command_nothing() -> None:
    policy = policy_of(["https://dapp.example", "http://192.168.1.5:3000", "chrome-extension://abc"], [])
    for origin in (
        "https://dapp.example",
        "https://DAPP.example:443",
        "http://192.168.1.5:3000",
        "chrome-extension://abc",
    ):
        assert policy.standing(origin, HERE) is FOREIGN
    for origin in ("http://dapp.example", "https://dapp.example:444", "https://a.dapp.example", "http://192.168.1.5"):
        assert policy.standing(origin, HERE) is REFUSED


@pytest.mark.parametrize(
    "host",
    [
        None,
        "127.0.0.1:8114",
        "127.0.0.1",
        "127.1:8114",
        "192.168.1.5:8114",
        "[::1]:8114",
        "[fe80::1%25eth0]:8114",
        "localhost:8114",
        "LOCALHOST",
        "localhost.:8114",
        "a.localhost",
        "ckb-node:8114",
        "x",
    ],
)
def test_names_of_this_machine(host: str | None) -> None:
    assert policy_of([], []).standing(None, host) is TRUSTED


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8114",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example:8114:8114",
        "evil.example@localhost",
        "evil.example@127.0.0.1",
        "user:pass@127.0.0.1",
        "evil example.1",
        "[localhost]",
        "[evil.1]",
        "",
        " ",
        "[::1",
        "[::1]evil.example",
        "127.0.0.1:port",
        "a" * 5000,
        "ü.example",
    ],
)
def test_a_name_that_a_page_points_here_is_refused(host: str) -> None:
    """Whether the page is of that name or none is told: DNS rebinding."""
    policy = policy_of(["https://dapp.example"], ["node.example"])
    for origin in (None, f"http://{host}", "http://localhost:3000", "https://dapp.example"):
        assert policy.standing(origin, host) is REFUSED
    assert policy_of(["*"], []).standing(None, host) is FOREIGN


def test_listed_names_and_pages_of_the_node_itself() -> None:
    policy = policy_of([], ["Node.example."])
    assert policy.standing(None, "node.example:8114") is TRUSTED
    assert policy.standing("http://node.example:8114", "node.example:8114") is TRUSTED
    assert policy.standing("https://node.example", "node.example") is TRUSTED, "behind a proxy that speaks TLS"
    assert policy.standing("http://192.168.1.5:8114", "192.168.1.5:8114") is TRUSTED
    assert policy.standing("http://192.168.1.5:3000", "192.168.1.5:8114") is REFUSED
    assert policy.standing("http://router:8114", "router:8114") is REFUSED, "the network's names are not certain"


@pytest.mark.parametrize(
    "text", ["null", "dapp.example", "https://", "https://a b", "https://a/b", "https://u@a", "//a"]
)
def test_texts_that_are_no_origin(text: str) -> None:
    with pytest.raises(BadOriginError):
        parse_origin(text)


@pytest.mark.parametrize("text", ["", "a b", "node.example:8114", "https://node.example", "*", "-a-"])
def test_texts_that_are_no_host(text: str) -> None:
    with pytest.raises(BadOriginError):
        parse_host(text)
