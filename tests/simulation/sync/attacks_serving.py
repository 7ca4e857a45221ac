"""Each rule of LightClient and Filter, broken once (PROTOCOL-NET 2.21 and 2.22), and questions at their limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from consensus.crypto.hashing import ZERO_HASH
from consensus.types.core import HeaderDigest
from consensus.types.extensions import VerifiableHeader
from network.limits import FILTER, LIGHT_CLIENT, SYNC
from network.messages.protocols import (
    BlockFilters,
    GetBlockFilterCheckPoints,
    GetBlockFilterHashes,
    GetBlockFilters,
    GetBlocksProof,
    GetLastState,
    GetLastStateProof,
    GetTransactionsProof,
    SendBlocksProof,
    SendLastState,
)
from network.peer import Peer
from tests.simulation.sync.attack import Strike, attacks, hashes, says, sends_raw
from tests.simulation.sync.impostor import Impostor, Message

CLIENT: Final = (SYNC, LIGHT_CLIENT, FILTER)
UNKNOWN: Final = b"\x07" * 32
MANY: Final = hashes(1000)


def _tip(evil: Impostor) -> bytes:
    return evil.main[-1].hash


def _blocks(*hashes: bytes, last: bytes | None = None) -> Callable[[Impostor], Message]:
    return lambda evil: GetBlocksProof(last_hash=last or _tip(evil), block_hashes=list(hashes))


def _transactions(*hashes: bytes, last: bytes | None = None) -> Callable[[Impostor], Message]:
    return lambda evil: GetTransactionsProof(last_hash=last or _tip(evil), tx_hashes=list(hashes))


def _last_state(**changed: Any) -> Callable[[Impostor], Message]:
    """A question that is answered, but for what is changed."""

    def make(evil: Impostor) -> Message:
        fields: dict[str, Any] = {
            "last_hash": _tip(evil),
            "start_hash": evil.main[0].hash,
            "start_number": 0,
            "last_n_blocks": 10,
            "difficulty_boundary": 1,
            "difficulties": [],
        }
        return GetLastStateProof(**fields | changed)

    return make


def _of_genesis(question: type[GetBlocksProof | GetTransactionsProof | GetLastStateProof]) -> Strike:
    """The genesis block as the last one, which ends servers of release 0.206."""

    def make(evil: Impostor) -> Message:
        genesis = evil.main[0].hash
        if question is GetLastStateProof:
            return _last_state(last_hash=genesis)(evil)
        return (_blocks if question is GetBlocksProof else _transactions)(ZERO_HASH, last=genesis)(evil)

    return says(make)


def _cellbase_twice(evil: Impostor) -> Message:
    return _transactions(*[evil.main[1].transactions[0].hash] * 2)(evil)


def _a_tip(evil: Impostor) -> Message:
    return SendLastState(last_header=_verifiable(evil))


def _a_proof(evil: Impostor) -> Message:
    return SendBlocksProof(last_header=_verifiable(evil), proof=[], headers=[], missing_block_hashes=[])


def _verifiable(evil: Impostor) -> VerifiableHeader:
    """The tip as light clients get it, made of what is there: nobody looks into it."""
    return VerifiableHeader(
        header=evil.main[-1].header,
        uncles_hash=ZERO_HASH,
        extension=None,
        parent_chain_root=HeaderDigest.parse(bytes(120)),
    )


def _crowd(evil: Impostor, peer: Peer) -> None:
    """All that may be asked, hundreds of times."""
    known = [block.hash for block in evil.main[:-1]]
    for number in range(100):
        evil.say_later(number * 0.01, peer, GetBlocksProof(last_hash=_tip(evil), block_hashes=known))
        evil.say_later(number * 0.01, peer, _last_state(last_n_blocks=500)(evil))
        evil.say_later(number * 0.01, peer, GetBlockFilters(start_number=0))
        evil.say_later(number * 0.01, peer, GetBlockFilterHashes(start_number=0))


ATTACKS: Final = (
    *attacks(
        [
            ("light client: undecodable", sends_raw(LIGHT_CLIENT, b"\xff" * 40), "light client: undecodable"),
            ("light client: no truth value", says(lambda _: GetLastState(subscribe=b"\2")), "light client 400"),
            (
                "light client: a server's message",
                says(_a_tip),
                "light client 401",
            ),
            ("light client: a server's proof", says(_a_proof), "light client 401"),
            ("light client: no blocks", says(_blocks()), "light client 400"),
            ("light client: too many blocks", says(_blocks(*hashes(1001))), "light client 400"),
            ("light client: a block twice", says(_blocks(*hashes(1) * 2)), "light client 400"),
            ("light client: the last block itself", says(lambda evil: _blocks(_tip(evil))(evil)), "light client 400"),
            ("light client: no transactions", says(_transactions()), "light client 400"),
            ("light client: too many transactions", says(_transactions(*hashes(1001))), "light client 400"),
            ("light client: a transaction twice", says(_cellbase_twice), ""),
            ("light client: too many last blocks", says(_last_state(last_n_blocks=1 << 63)), "light client 400"),
            ("light client: too many samples", says(_last_state(difficulties=list(range(1, 990)))), "light client 400"),
            (
                "light client: difficulties that fall",
                says(_last_state(difficulties=[3, 2], difficulty_boundary=9)),
                "light client 410",
            ),
            (
                "light client: difficulties above the boundary",
                says(_last_state(difficulties=[3], difficulty_boundary=3)),
                "light client 410",
            ),
            (
                "light client: difficulties below the beginning",
                says(_last_state(start_number=20, difficulties=[1], difficulty_boundary=9)),
                "light client 410",
            ),
            (
                "light client: a boundary that is not reached",
                says(_last_state(difficulty_boundary=(1 << 256) - 1)),
                "light client 413",
            ),
            ("light client: a beginning above the end", says(_last_state(start_number=1 << 40)), ""),
            (
                "light client: an unknown last block",
                says(_last_state(last_hash=UNKNOWN), _blocks(ZERO_HASH, last=UNKNOWN)),
                "",
            ),
            ("light client: the genesis block is the last one, of blocks", _of_genesis(GetBlocksProof), ""),
            ("light client: the genesis block is the last one, of transactions", _of_genesis(GetTransactionsProof), ""),
            ("light client: the genesis block is the last one, of samples", _of_genesis(GetLastStateProof), ""),
            (
                "light client: unknown blocks and transactions",
                says(_blocks(*MANY), _transactions(*MANY)),
                "",
            ),
            ("light client: all at once", _crowd, ""),
            ("filters: undecodable", sends_raw(FILTER, b"\xff" * 40), "filter: undecodable"),
            (
                "filters: a server's message",
                says(lambda _: BlockFilters(start_number=0, block_hashes=hashes(2), filters=[b"", b""])),
                "",
            ),
            (
                "filters: beyond all",
                says(
                    lambda _: GetBlockFilters(start_number=1 << 63),
                    lambda _: GetBlockFilterHashes(start_number=(1 << 64) - 1),
                    lambda _: GetBlockFilterCheckPoints(start_number=(1 << 64) - 1),
                ),
                "",
            ),
        ],
        CLIENT,
    ),
)
