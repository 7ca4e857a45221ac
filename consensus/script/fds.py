"""File descriptors of a script group: ends of pipes, each owned by one process (RFC 50)."""

from __future__ import annotations

FIRST_FD = 2
MAX_FDS = 64
FD_SIZE = 8
"""Bytes of a descriptor in the memory of a script."""


def is_read_end(fd: int) -> bool:
    """A pipe has two consecutive descriptors: the even one to read from, the odd one to write to."""
    return fd % 2 == 0


def other_end(fd: int) -> int:
    """The other descriptor of the same pipe."""
    return fd ^ 1


class FdTable:
    """Open descriptors and their owners. Numbers are never used twice."""

    def __init__(self) -> None:
        self._owners: dict[int, int] = {}
        self._next = FIRST_FD

    def create_pipe(self, owner: int) -> tuple[int, int] | None:
        """Read end and write end of a new pipe; None if MAX_FDS descriptors are open (one less is enough for two)."""
        if len(self._owners) >= MAX_FDS:
            return None
        read_end, write_end = self._next, self._next + 1
        self._next += 2
        self._owners[read_end] = self._owners[write_end] = owner
        return read_end, write_end

    def is_owned(self, fd: int, process_id: int) -> bool:
        return self._owners.get(fd) == process_id

    def owned_by(self, process_id: int) -> set[int]:
        return {fd for fd, owner in self._owners.items() if owner == process_id}

    def is_open(self, fd: int) -> bool:
        return fd in self._owners

    def give(self, fd: int, owner: int) -> None:
        """Hand an open descriptor to another process."""
        self._owners[fd] = owner

    def close(self, fd: int) -> None:
        del self._owners[fd]

    def close_all(self, process_id: int) -> None:
        """Close what an ended process owned."""
        self._owners = {fd: owner for fd, owner in self._owners.items() if owner != process_id}
