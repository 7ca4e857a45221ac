"""Each rule of Relay about transactions and proposals, broken once (PROTOCOL-NET 2.19)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from consensus.types.blockchain import Transaction
from network.limits import RELAY
from network.messages.protocols import (
    RELAY_MESSAGE,
    BlockProposal,
    GetRelayTransactions,
    RelayTransaction,
    RelayTransactionHashes,
    RelayTransactions,
)
from network.peer import Peer
from tests.simulation.sync.attack import THREE_DAYS, Attack, Strike, attacks, floods, hashes, says
from tests.simulation.sync.blocks import CYCLES, free_cell, locked_cell, output_of, spending
from tests.simulation.sync.impostor import Impostor, Message
from tests.support.builders.blocks import a_dep


def _offers(*offered: Callable[[Impostor], tuple[Transaction, int]]) -> Callable[[Impostor, Peer], None]:
    """Announces transactions, and gives them with these cycles when they are asked for."""

    def strike(evil: Impostor, peer: Peer) -> None:
        for make in offered:
            transaction, cycles = make(evil)
            evil.transactions[transaction.hash] = (transaction, cycles)
        evil.say(peer, RelayTransactionHashes(tx_hashes=list(evil.transactions)))

    return strike


def _good(number: int, cycles: int = CYCLES, fee: int = 1_000_000) -> Callable[[Impostor], tuple[Transaction, int]]:
    def make(evil: Impostor) -> tuple[Transaction, int]:
        consensus = evil.forge.consensus
        return spending(consensus, free_cell(consensus, number), fee=fee), cycles

    return make


def _script_fails(evil: Impostor) -> tuple[Transaction, int]:
    return spending(evil.forge.consensus, locked_cell(evil.forge.consensus, 1)), CYCLES


def _creates_money(evil: Impostor) -> tuple[Transaction, int]:
    return spending(evil.forge.consensus, free_cell(evil.forge.consensus, 250), fee=-1), CYCLES


def _without_parents(evil: Impostor) -> tuple[Transaction, int]:
    consensus = evil.forge.consensus
    nowhere = free_cell(consensus, 0).replace(tx_hash=b"\x09" * 32)
    return spending(consensus, nowhere), CYCLES


def _unasked_transactions(evil: Impostor) -> Message:
    offered = [_good(number)(evil) for number in range(260, 270)]
    return RelayTransactions(
        transactions=[RelayTransaction(cycles=cycles, transaction=transaction) for transaction, cycles in offered]
    )


def _fresh_hashes(number: int) -> Message:
    """Of transactions that nobody has."""
    return RelayTransactionHashes(tx_hashes=[(number << 64 | at).to_bytes(32, "big") for at in range(30_000)])


def _fresh_few(number: int) -> Message:
    return RelayTransactionHashes(tx_hashes=[(number << 64 | at).to_bytes(32, "big") for at in range(100)])


def _orphan_flood(evil: Impostor, peer: Peer) -> None:
    """Hundreds of transactions whose parents nobody has."""
    consensus = evil.forge.consensus
    for number in range(300):
        cell = free_cell(consensus, 0).replace(tx_hash=(number + 1).to_bytes(32, "little"))
        transaction = spending(consensus, cell)
        evil.transactions[transaction.hash] = (transaction, CYCLES)
    evil.say(peer, RelayTransactionHashes(tx_hashes=list(evil.transactions)))


def _malformed(evil: Impostor) -> tuple[Transaction, int]:
    """It has more data than outputs."""
    transaction, cycles = _good(283)(evil)
    return transaction.replace(body=transaction.body.replace(outputs_data=[b"", b""])), cycles


def _same_dep_twice(evil: Impostor) -> tuple[Transaction, int]:
    transaction, cycles = _good(284)(evil)
    deps = transaction.body.cell_deps
    return transaction.replace(body=transaction.body.replace(cell_deps=[*deps, deps[0]])), cycles


def _deps_without_end(evil: Impostor, peer: Peer) -> None:
    """Eight groups of deps, each as large as a cell can hold, have more members than a transaction may have."""
    consensus = evil.forge.consensus
    member = free_cell(consensus, 0).raw
    group = (270).to_bytes(4, "little") + member * 270
    parents = [spending(consensus, free_cell(consensus, 285 + number), data=group) for number in range(8)]
    child = spending(consensus, free_cell(consensus, 293))
    deps = [*child.body.cell_deps, *(a_dep(output_of(parent), dep_type=1) for parent in parents)]
    child = child.replace(body=child.body.replace(cell_deps=deps))
    for parent in parents:
        evil.transactions[parent.hash] = (parent, CYCLES)
    evil.say(peer, RelayTransactionHashes(tx_hashes=list(evil.transactions)))
    evil.transactions[child.hash] = (child, CYCLES)
    evil.say_later(2.0, peer, RelayTransactionHashes(tx_hashes=[child.hash]))


def _broken_inside(evil: Impostor, peer: Peer) -> None:
    """Asked for transactions, it sends a message whose second one cannot be read."""
    offered = [_good(number)(evil)[0] for number in (294, 295)]

    def answer(to: Peer, _: GetRelayTransactions) -> None:
        entries = [RelayTransaction(cycles=CYCLES, transaction=each) for each in offered]
        payload = bytearray(RELAY_MESSAGE.pack(RelayTransactions(transactions=entries)))
        at = payload.index(offered[1].raw)
        payload[at + 4 : at + 8] = b"\xff" * 4
        to.send(RELAY, bytes(payload))

    evil.on(GetRelayTransactions, answer)
    evil.say(peer, RelayTransactionHashes(tx_hashes=[each.hash for each in offered]))


def withhold(*transactions: Transaction) -> Strike:
    """Says that it has them, and never gives them."""

    def strike(evil: Impostor, peer: Peer) -> None:
        evil.on(GetRelayTransactions, lambda _peer, _message: None)
        evil.say(peer, RelayTransactionHashes(tx_hashes=[each.hash for each in transactions]))

    return strike


ATTACKS: Final = (
    *attacks(
        [
            ("too many hashes", says(lambda _: RelayTransactionHashes(tx_hashes=hashes(32_768))), "400"),
            ("hashes without an end", floods(4, 0.5, _fresh_hashes), "416"),
            ("asks for too many transactions", says(lambda _: GetRelayTransactions(tx_hashes=hashes(32_768))), "400"),
            (
                "asks twice for a transaction",
                says(lambda _: GetRelayTransactions(tx_hashes=[b"\x01" * 32, b"\x01" * 10 + bytes(22)])),
                "418",
            ),
            (
                "proposals that nobody asked for",
                says(lambda evil: BlockProposal(transactions=[_good(271)(evil)[0]])),
                "",
            ),
            ("too many proposals", says(lambda evil: BlockProposal(transactions=[_good(271)(evil)[0]] * 3001)), "400"),
            ("transactions that nobody asked for", says(_unasked_transactions), ""),
            ("transaction with a low fee", _offers(_good(272, fee=1)), ""),
            ("transaction that conflicts", _offers(_good(273), _good(273, fee=1_000_001)), ""),
            ("transaction without parents", _offers(_without_parents), ""),
            ("transactions without parents, hundreds", _orphan_flood, ""),
            ("malformed transaction", _offers(_malformed), "400"),
            ("transactions, one of them unreadable", _broken_inside, "relay: undecodable"),
            ("announces and gives nothing", floods(3, 1.0, _fresh_few), ""),
            (
                "questions without an end",
                floods(400, 0.01, lambda at: GetRelayTransactions(tx_hashes=[at.to_bytes(32, "big")])),
                "",
            ),
        ]
    ),
    *(
        Attack(name=name, strike=strike, ban=THREE_DAYS, reason=f"transaction: {reason}")
        for name, strike, reason in (
            ("cycles above the limit", _offers(_good(280, cycles=3_500_000_001)), "declared cycles above"),
            ("wrong cycles", _offers(_good(281, cycles=CYCLES + 1)), "wrong declared cycles"),
            ("too few cycles", _offers(_good(282, cycles=CYCLES - 1)), ""),
            ("script that fails", _offers(_script_fails), "invalid"),
            ("capacity out of nothing", _offers(_creates_money), "invalid"),
            ("a dep twice", _offers(_same_dep_twice), "invalid"),
            ("deps without an end", _deps_without_end, "invalid"),
        )
    ),
)
