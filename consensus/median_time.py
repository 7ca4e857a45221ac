"""Median time past (RFC 17, RFC 20): the clock that miners cannot move alone."""

from consensus.context import HeaderProvider
from consensus.errors import HeaderError


class MissingAncestorError(HeaderError):
    """A header that must be stored is not."""

    def __init__(self, block_hash: bytes) -> None:
        super().__init__(f"the header of 0x{block_hash.hex()} is missing")
        self.block_hash = block_hash


def median_time(headers: HeaderProvider, block_hash: bytes, block_count: int) -> int:
    """Median timestamp (ms) of the `block_count` blocks ending in `block_hash`; the upper one of an even number.

    Near the genesis block there are fewer. MissingAncestorError when an ancestor is not stored.
    """
    timestamps = []
    for _ in range(block_count):
        header = headers.header(block_hash)
        if header is None:
            raise MissingAncestorError(block_hash)
        timestamps.append(header.timestamp)
        if header.number == 0:
            break
        block_hash = header.parent_hash
    timestamps.sort()
    return timestamps[len(timestamps) // 2]
