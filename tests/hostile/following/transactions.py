"""Floods of transactions, one for each reason for which the pool refuses them; announced and given as asked."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from typing import ClassVar, Final

from consensus.codec.molecule import Composite
from consensus.types.blockchain import CellInput, OutPoint, Transaction
from network.limits import RELAY
from network.messages.protocols import (
    GetBlockProposal,
    GetRelayTransactions,
    RelayTransaction,
    RelayTransactionHashes,
    RelayTransactions,
)
from network.peer import Peer
from tests.hostile.following.lab import Attack, Lab, say
from tests.hostile.peers import Say
from tests.support.builders.wallet import CKB

OFFERED: Final = 20_000
BATCH_BYTES: Final = 900_000
BATCH: Final = 2000
MARK: Final = b"mark me!"
_RELATIVE_BLOCKS: Final = 1 << 63


class TransactionFlood(Attack):
    """`make` gives the next one, with the cycles to be declared."""

    per_message: ClassVar[int] = 400
    rate = 5.0
    _cells_used = 0

    def __init__(self, lab: Lab, number: int) -> None:
        super().__init__(lab, number)
        self._offers = dict[bytes, tuple[Transaction, int]]()
        self.given = 0

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        assert lab.cells
        assert lab.cycles

    def make(self) -> tuple[Transaction, int]:
        raise NotImplementedError

    def cell(self) -> OutPoint:
        """A live one that no other transaction of the flood spends, as long as there are any."""
        TransactionFlood._cells_used += 1
        cells = self.lab.cells
        return cells[TransactionFlood._cells_used % len(cells)]

    def unknown(self) -> OutPoint:
        return OutPoint(tx_hash=self.rng.randbytes(32), index=0)

    def next(self) -> Say | None:
        if len(self._offers) > OFFERED:
            return None
        made = dict[bytes, tuple[Transaction, int]]()
        for _ in range(self.per_message):
            transaction, cycles = self.make()
            made[transaction.hash] = transaction, cycles
        self._offers |= made
        return say(RELAY, RelayTransactionHashes(tx_hashes=list(made)))

    def heard(self, peer: Peer, message: Composite) -> None:
        if not isinstance(message, GetRelayTransactions):
            return
        batch, size = list[RelayTransaction](), 0
        for tx_hash in message.tx_hashes:
            offer = self._offers.pop(tx_hash, None)
            if offer is None:
                continue
            batch.append(RelayTransaction(cycles=offer[1], transaction=offer[0]))
            size += len(offer[0].raw)
            if size > BATCH_BYTES or len(batch) >= BATCH:
                self._give(peer, batch)
                batch, size = [], 0
        self._give(peer, batch)

    def _give(self, peer: Peer, batch: Sequence[RelayTransaction]) -> None:
        if batch:
            self.given += len(batch)
            peer.send(*say(RELAY, RelayTransactions(transactions=batch)))


class GoodTransactions(TransactionFlood):
    """All valid."""

    def make(self) -> tuple[Transaction, int]:
        return self.lab.transaction(self.cell(), fee=10**5, data=self.rng.randbytes(4)), self.lab.cycles


class LowFee(TransactionFlood):
    def make(self) -> tuple[Transaction, int]:
        return self.lab.transaction(self.cell(), fee=1, data=self.rng.randbytes(4)), self.lab.cycles


class DeadCells(TransactionFlood):
    """Cells that blocks have spent."""

    _dead: ClassVar[list[OutPoint]] = []

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        super().prepare(lab)
        cls._dead = [
            each.previous_output for block in lab.blocks for tx in block.transactions[1:] for each in tx.body.inputs
        ]

    def make(self) -> tuple[Transaction, int]:
        return self.lab.transaction(self.rng.choice(self._dead), data=self.rng.randbytes(8)), 1000


class UnknownCells(TransactionFlood):
    """Orphans."""

    def make(self) -> tuple[Transaction, int]:
        return self.lab.transaction(self.unknown()), 1000


class LargeOrphans(TransactionFlood):
    """Of two thousand unknown parents each."""

    per_message = 40

    def make(self) -> tuple[Transaction, int]:
        small = self.lab.transaction(self.unknown(), data=bytes(1000))
        inputs = [CellInput(since=0, previous_output=self.unknown()) for _ in range(2000)]
        return Transaction(body=small.body.replace(inputs=inputs), witnesses=[]), 1000


class OrphansAskedFor(TransactionFlood):
    """Of three thousand unknown parents each; then they are asked for, as proposals of a block."""

    per_message = 10
    asked = 100

    def __init__(self, lab: Lab, number: int) -> None:
        super().__init__(lab, number)
        self._made: deque[bytes] = deque(maxlen=self.asked)

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        super().prepare(lab)
        points = [OutPoint(tx_hash=os.urandom(32), index=0) for _ in range(3000)]
        body = lab.transaction(points[0], data=MARK).body
        inputs = [CellInput(since=0, previous_output=each) for each in points]
        cls._raw = Transaction(body=body.replace(inputs=inputs), witnesses=[]).raw

    _raw: ClassVar[bytes]

    def make(self) -> tuple[Transaction, int]:
        made = Transaction.trusted(self._raw.replace(MARK, self.rng.randbytes(len(MARK))))
        self._made.append(made.short_id)
        return made, 1000

    def next(self) -> Say | None:
        if len(self._made) < self.asked:
            return super().next()
        return say(RELAY, GetBlockProposal(block_hash=bytes(32), proposals=list(self._made)))


class Conflicts(TransactionFlood):
    """The same few cells, each time for a little more."""

    _fee = 10**5

    def make(self) -> tuple[Transaction, int]:
        Conflicts._fee += 7
        cell = self.lab.cells[Conflicts._fee % 20]
        return self.lab.transaction(cell, fee=Conflicts._fee, data=self.rng.randbytes(4)), self.lab.cycles


class Replacements(Conflicts):
    """Each pays so much more that it replaces the one before."""

    def make(self) -> tuple[Transaction, int]:
        Conflicts._fee += 2000
        cell = self.lab.cells[self.rng.randrange(20)]
        return self.lab.transaction(cell, fee=Conflicts._fee, data=self.rng.randbytes(4)), self.lab.cycles


class LongScripts(TransactionFlood):
    """Scripts that do not end, as many cycles declared as a block may have."""

    per_message = 20
    expects_bans = True

    def make(self) -> tuple[Transaction, int]:
        made = self.lab.transaction(self.cell(), fee=10**8, data=self.rng.randbytes(4), type_=self.lab.endless)
        return made, self.lab.consensus.max_block_cycles


class FewDeclaredCycles(LongScripts):
    """The same, but small ones were declared."""

    per_message = 100

    def make(self) -> tuple[Transaction, int]:
        return super().make()[0], 5_000_000


class WrongCycles(TransactionFlood):
    """One cycle less than it takes."""

    expects_bans = True

    def make(self) -> tuple[Transaction, int]:
        return self.lab.transaction(self.cell(), data=self.rng.randbytes(4)), self.lab.cycles - 1


class TooManyCycles(TransactionFlood):
    """More declared than a block may have."""

    expects_bans = True

    def make(self) -> tuple[Transaction, int]:
        return self.lab.transaction(self.cell(), data=self.rng.randbytes(4)), self.lab.consensus.max_block_cycles + 1


class TooLarge(TransactionFlood):
    per_message = 5

    def make(self) -> tuple[Transaction, int]:
        return self.lab.transaction(self.cell(), fee=10**8, data=self.rng.randbytes(520_000)), self.lab.cycles


class Large(TransactionFlood):
    """As large as may be, and no fee to speak of."""

    per_message = 5

    def make(self) -> tuple[Transaction, int]:
        return self.lab.transaction(self.cell(), fee=1, data=self.rng.randbytes(450_000)), self.lab.cycles


class ManyOutputs(TransactionFlood):
    """Six thousand outputs each, for which there is not enough capacity."""

    per_message = 5
    expects_bans = True

    def make(self) -> tuple[Transaction, int]:
        return self.lab.transaction(self.cell(), fee=10**8, data=self.rng.randbytes(1), outputs=5400), self.lab.cycles


class ManyOutputsOfNobody(TransactionFlood):
    """The same as orphans, of which nothing is known before their parents come."""

    per_message = 5

    def make(self) -> tuple[Transaction, int]:
        return self.lab.transaction(self.unknown(), data=self.rng.randbytes(1), outputs=5400), 1000


class ManyInputs(TransactionFlood):
    """Twelve thousand live cells each, and no fee to speak of: nobody is banned for that."""

    per_message = 2

    def make(self) -> tuple[Transaction, int]:
        cells = self.rng.sample(self.lab.cells, min(12_000, len(self.lab.cells)))
        one = self.lab.transaction(cells[0])
        output = one.body.outputs[0].replace(capacity=len(cells) * 100 * CKB - 1)
        inputs = [CellInput(since=0, previous_output=each) for each in cells]
        return Transaction(body=one.body.replace(inputs=inputs, outputs=[output]), witnesses=[]), self.lab.cycles


class ManyWitnesses(TransactionFlood):
    """A hundred thousand empty ones."""

    per_message = 5

    def make(self) -> tuple[Transaction, int]:
        made = self.lab.transaction(self.cell(), fee=10**8)
        return made.replace(witnesses=[self.rng.randbytes(1)] + [b""] * 60_000), self.lab.cycles


class LockNotFound(TransactionFlood):
    """Cellbases of a moment ago, without the program of their lock. On the dev chain they need not mature."""

    expects_bans = True
    _young: ClassVar[list[OutPoint]] = []

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        super().prepare(lab)
        cls._young = [OutPoint(tx_hash=block.transactions[0].hash, index=0) for block in lab.blocks[-3:]]

    def make(self) -> tuple[Transaction, int]:
        return self.lab.transaction(self.rng.choice(self._young), data=self.rng.randbytes(8)), 1000


class ImmatureSince(TransactionFlood):
    """Not before ten thousand blocks have passed."""

    def make(self) -> tuple[Transaction, int]:
        since = _RELATIVE_BLOCKS | 10_000
        return self.lab.transaction(self.cell(), data=self.rng.randbytes(4), since=since), self.lab.cycles


class Malformed(TransactionFlood):
    """Outputs without data: 400."""

    expects_bans = True

    def make(self) -> tuple[Transaction, int]:
        made = self.lab.transaction(self.cell(), data=self.rng.randbytes(4))
        return Transaction(body=made.body.replace(outputs_data=[]), witnesses=[]), self.lab.cycles


class NothingLeft(TransactionFlood):
    """More goes out than comes in."""

    expects_bans = True

    def make(self) -> tuple[Transaction, int]:
        return self.lab.transaction(self.cell(), fee=-1, data=self.rng.randbytes(4)), self.lab.cycles


FLOODS: Final = (
    GoodTransactions,
    LowFee,
    DeadCells,
    UnknownCells,
    LargeOrphans,
    OrphansAskedFor,
    Conflicts,
    Replacements,
    LongScripts,
    FewDeclaredCycles,
    WrongCycles,
    TooManyCycles,
    TooLarge,
    Large,
    ManyOutputs,
    ManyOutputsOfNobody,
    ManyInputs,
    ManyWitnesses,
    LockNotFound,
    ImmatureSince,
    Malformed,
    NothingLeft,
)
