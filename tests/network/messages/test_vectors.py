"""Messages of the chain's protocols as they are on the wire, behind length and flag byte; bytes from other nodes."""

from __future__ import annotations

import pytest

from consensus.codec.molecule import Composite, UnionKind
from network.messages.protocols import (
    BLOCK_FILTER_MESSAGE,
    LIGHT_CLIENT_MESSAGE,
    RELAY_MESSAGE,
    SYNC_MESSAGE,
    GetBlockFilters,
    GetBlocks,
    GetHeaders,
    GetLastState,
    InIBD,
    RelayTransactionHashes,
    SendHeaders,
)

GENESIS = bytes.fromhex("92b197aa1fba0f63633922c61c92375c9c074a93e85963554f5499fe1450d0e5")
ONES = b"\x11" * 32
VECTORS = [
    (SYNC_MESSAGE, InIBD(), "0800000004000000"),
    (SYNC_MESSAGE, SendHeaders(headers=[]), "010000000c0000000800000000000000"),
    (
        SYNC_MESSAGE,
        GetHeaders(hash_stop=bytes(32), block_locator_hashes=[GENESIS]),
        "00000000500000000c0000002c000000" + "00" * 32 + "01000000" + GENESIS.hex(),
    ),
    (SYNC_MESSAGE, GetBlocks(block_hashes=[ONES]), "020000002c0000000800000001000000" + ONES.hex()),
    (RELAY_MESSAGE, RelayTransactionHashes(tx_hashes=[ONES]), "020000002c0000000800000001000000" + ONES.hex()),
    (BLOCK_FILTER_MESSAGE, GetBlockFilters(start_number=5), "000000000500000000000000"),
    (LIGHT_CLIENT_MESSAGE, GetLastState(subscribe=b"\1"), "00000000090000000800000001"),
]


@pytest.mark.parametrize(("union", "message", "wire"), VECTORS, ids=[type(each[1]).__name__ for each in VECTORS])
def test_bytes_on_the_wire(union: UnionKind, message: Composite, wire: str) -> None:
    assert union.pack(message).hex() == wire
    assert type(union.parse(bytes.fromhex(wire))) is type(message)
    assert union.parse(bytes.fromhex(wire)).raw == message.raw
