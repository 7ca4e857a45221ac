"""Where the libp2p process begins: limits first, then the library, which takes most of a second and 84 MB."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence

from network.libp2p.messages import CONTROL, Failed, encode, frame

EXIT_FAULT = 1
EXIT_NO_LIBRARY = 3
MAX_REASON = 400
_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> int:
    """`FD MEMORY`: the socket to the node, and the bytes that this process may have."""
    descriptor, memory = int(arguments[0]), int(arguments[1])
    limit(memory)
    logging.disable(logging.CRITICAL)  # nobody reads it, and a hostile peer can cause any amount
    end = socket.socket(fileno=descriptor)
    try:
        from network.libp2p.child.run import run  # not before the limits
    except ImportError as error:
        _tell(end, f"cannot be imported: {error}")
        return EXIT_NO_LIBRARY
    try:
        run(end)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the node hears why
        _tell(end, describe(error))
        return EXIT_FAULT
    return 0


def limit(memory: int) -> None:
    """Bounded memory, the lowest wish for the processor, no core files, and the end when the node ends."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)
    os.environ["PY_YAMUX_RELEASE_ON_READ"] = "0"  # fewer window updates: a fifth less time for small messages
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def describe(error: BaseException) -> str:
    """The innermost fault and where it is."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f" ({place.tb_frame.f_code.co_filename}:{place.tb_lineno})"
    return f"{type(error).__name__}: {error}"[:MAX_REASON] + where


def _tell(end: socket.socket, reason: str) -> None:
    try:
        end.settimeout(1.0)
        end.sendall(frame(CONTROL, encode(Failed(reason))))
    except OSError:
        pass
