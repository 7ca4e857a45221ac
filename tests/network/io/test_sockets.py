"""Sockets that share the listening port."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from network.io.sockets import dialling_socket, endpoint_of, listening_socket, source_for


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_dialling_socket_comes_from_the_listening_port(stack: ExitStack) -> None:
    own = stack.enter_context(listening_socket(("127.0.0.1", 0), is_shared=True))
    other = stack.enter_context(listening_socket(("127.0.0.1", 0), is_shared=False))
    other.setblocking(True)
    dialler = stack.enter_context(dialling_socket("127.0.0.1", own.getsockname()))
    dialler.setblocking(True)
    dialler.connect(other.getsockname())
    accepted, source = other.accept()
    stack.enter_context(accepted)
    assert endpoint_of(source) == own.getsockname()


@pytest.mark.parametrize("is_shared", [False, True])
def test_small_messages_do_not_wait_for_acknowledgements(stack: ExitStack, is_shared: bool) -> None:
    """Nagle's algorithm held back window updates for 40 ms each."""
    listener = stack.enter_context(listening_socket(("127.0.0.1", 0), is_shared=is_shared))
    listener.setblocking(True)
    dialler = stack.enter_context(dialling_socket("127.0.0.1", None))
    dialler.setblocking(True)
    dialler.connect(listener.getsockname())
    accepted, _ = listener.accept()
    stack.enter_context(accepted)
    assert all(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for end in (dialler, accepted))


def test_without_a_shared_port_any_port_is_taken(stack: ExitStack) -> None:
    own = stack.enter_context(listening_socket(("127.0.0.1", 0), is_shared=False))
    dialler = stack.enter_context(dialling_socket("127.0.0.1", own.getsockname()))
    assert dialler.getsockname()[1] == 0  # not bound


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_port_on_which_another_node_listens_is_in_use(stack: ExitStack, is_shared: bool) -> None:
    first = stack.enter_context(listening_socket(("127.0.0.1", 0), is_shared=True))
    with pytest.raises(OSError, match="in use") as caught:
        listening_socket(first.getsockname(), is_shared=is_shared)
    assert caught.value.errno == errno.EADDRINUSE


def test_a_port_is_free_again_when_its_listener_is_closed(stack: ExitStack) -> None:
    first = listening_socket(("127.0.0.1", 0), is_shared=True)
    name = first.getsockname()
    client = stack.enter_context(socket.create_connection(name))
    first.setblocking(True)
    accepted, _ = first.accept()
    accepted.close()
    first.close()
    client.close()
    stack.enter_context(listening_socket(name, is_shared=True))


@pytest.mark.parametrize(
    ("host", "listening", "source"),
    [
        ("192.0.2.1", [("0.0.0.0", 8115)], ("0.0.0.0", 8115)),  # noqa: S104
        ("127.0.0.1", [("0.0.0.0", 8115)], ("0.0.0.0", 8115)),  # noqa: S104
        ("192.0.2.1", [("127.0.0.1", 8115)], None),
        ("127.0.0.1", [("192.0.2.9", 8115), ("127.0.0.1", 8116)], ("127.0.0.1", 8116)),
        ("2001:db8::1", [("0.0.0.0", 8115), ("::", 8116)], ("::", 8116)),  # noqa: S104
        ("2001:db8::1", [("0.0.0.0", 8115)], None),  # noqa: S104
        ("192.0.2.1", [], None),
    ],
)
def test_from_where_a_host_can_be_reached(
    host: str, listening: list[tuple[str, int]], source: tuple[str, int] | None
) -> None:
    assert source_for(host, listening) == source


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        (("192.0.2.1", 5), ("192.0.2.1", 5)),
        (("::ffff:192.0.2.1", 5, 0, 0), ("192.0.2.1", 5)),
        (("fe80::1%eth0", 5, 0, 2), ("fe80::1", 5)),
    ],
)
def test_names_of_sockets(name: tuple[object, ...], endpoint: tuple[str, int]) -> None:
    assert endpoint_of(name) == endpoint
