"""Bytes go to a socket without letting go of the interpreter, and what does not go is told."""

from __future__ import annotations

import socket

from ckb_node.runtime.brief_send import send_briefly


def test_bytes_arrive_as_they_are() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert send_briefly(one.fileno(), b"a\0b\n") == 4
        assert other.recv(10) == b"a\0b\n"
        assert send_briefly(one.fileno(), b"") == 0


def test_a_full_socket_takes_a_part_and_then_nothing() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(True)  # whatever the socket says: it does not wait
        data = b"x" * (16 << 20)
        assert 0 < send_briefly(one.fileno(), data) < len(data)
        while send_briefly(one.fileno(), data):
            pass
        assert send_briefly(one.fileno(), b"x") == 0


def test_nobody_at_the_other_end() -> None:
    one, other = socket.socketpair()
    with one:
        other.close()
        assert send_briefly(one.fileno(), b"x") == 0
    assert send_briefly(one.fileno(), b"x") == 0
