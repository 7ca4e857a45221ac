"""A send that keeps the interpreter: for the same few bytes to hundreds of sockets, one after the other.

`socket.send` lets other threads run each time, and a busy one comes back after half a millisecond
(ckb_node.runtime.interpreter): with 500 sockets the last would have to wait for a quarter of a second.
"""

from __future__ import annotations

import ctypes
import socket
from typing import Final

_FLAGS: Final = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
_send: Final = ctypes.PyDLL(None).send
_send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
_send.restype = ctypes.c_ssize_t


def send_briefly(descriptor: int, data: bytes) -> int:
    """How many bytes the system took without waiting; 0 as well when the connection has ended."""
    taken: int = _send(descriptor, data, len(data), _FLAGS)
    return max(0, taken)
