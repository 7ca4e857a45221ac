"""The strict molecule check of an ordinary block's frame, at a fifth of what the check of any block costs.

Most blocks have no uncles, and then only three numbers of their frame are free: where the proposals and the extension
begin, and where the block ends. `Table.check` of `Block` is the plain rule that tests compare this with.
"""

from __future__ import annotations

from struct import Struct

from consensus.codec.layout import HEADER_SIZE, NUMBER_SIZE, SHORT_ID_SIZE, U32


class _Layout:
    """A block of so many fields: 4, or 5 with the extension."""

    def __init__(self, fields: int) -> None:
        header_at = NUMBER_SIZE * (fields + 1)
        uncles_at = header_at + HEADER_SIZE
        self.transactions_at = uncles_at + NUMBER_SIZE
        self.head = Struct(f"<{fields + 1}I")
        self.begins = (header_at, uncles_at, self.transactions_at)
        self.no_uncles = uncles_at, U32.pack(NUMBER_SIZE)


_WITHOUT_EXTENSION, _WITH_EXTENSION = _Layout(4), _Layout(5)


def ordinary_frame(data: bytes) -> tuple[int, ...] | None:
    """Bounds of a block's fields, see `Block.bounds`: all but its transactions are strictly well formed then.

    None if it has uncles or anything else out of the ordinary, well formed or not.
    """
    if len(data) < _WITH_EXTENSION.transactions_at:
        return None
    layout = _WITHOUT_EXTENSION if data[NUMBER_SIZE] == _WITHOUT_EXTENSION.head.size else _WITH_EXTENSION
    size, *begins = layout.head.unpack_from(data)
    bounds = (*begins, size)
    uncles_at, no_uncles = layout.no_uncles
    if size != len(data) or bounds[:3] != layout.begins or not data.startswith(no_uncles, uncles_at):
        return None
    proposals_at, proposals_end = bounds[3:5]
    if not layout.transactions_at <= proposals_at <= proposals_end - NUMBER_SIZE <= size - NUMBER_SIZE:
        return None
    if U32.unpack_from(data, proposals_at)[0] * SHORT_ID_SIZE + NUMBER_SIZE != proposals_end - proposals_at:
        return None
    if layout is _WITHOUT_EXTENSION:
        return bounds
    extension_size = size - proposals_end
    if extension_size < NUMBER_SIZE or U32.unpack_from(data, proposals_end)[0] + NUMBER_SIZE != extension_size:
        return None
    return bounds
