"""Headers, compact blocks and bodies: of branches not worth following, that nobody gives, or that are bad."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from consensus.codec.layout import U32
from consensus.codec.molecule import Composite, pack_parts
from consensus.types.blockchain import (
    Block,
    CellInput,
    CellOutput,
    Header,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
)
from consensus.types.core import EpochFraction
from network.limits import RELAY, SYNC
from network.messages.protocols import (
    BlockTransactions,
    CompactBlock,
    GetBlocks,
    GetBlockTransactions,
    GetHeaders,
    IndexTransaction,
    SendBlock,
    SendHeaders,
)
from network.peer import Peer
from tests.hostile.following.lab import Attack, Lab, say
from tests.hostile.following.transactions import Large
from tests.hostile.peers import Say
from tests.support.nodes.quiet import submit, template_block

BRANCH: Final = 1900
STOPPED_S: Final = 2.0


class LowWork(Attack):
    """The chain's first headers, and others on them, that have less work than the chain."""

    rate = 20.0

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        assert lab.blocks

    def next(self) -> Say:
        blocks = self.lab.blocks
        fork = self.rng.randrange(1, max(2, len(blocks) // 2))
        headers = [each.header for each in blocks[:fork]]
        last = headers[-1]
        own = _extend(last, min(200, len(blocks) - fork - 1), self.rng.getrandbits(60))
        return say(SYNC, SendHeaders(headers=[*headers[-1:], *own]))


class _Branch(Attack):
    """Headers above the tip: valid, for the dev chain asks for no work."""

    rate = 0.5
    peers = 4
    known: ClassVar[dict[bytes, Header]] = {}

    def branch(self) -> list[Header]:
        tip = self.lab.block(self.lab.victim.tip()).header
        made = _extend(tip, BRANCH, self.rng.getrandbits(60))
        _Branch.known.update({each.hash: each for each in made})
        return made

    def next(self) -> Say | None:
        branch = self.branch()
        return say(SYNC, SendHeaders(headers=branch)) if branch else None

    def answer_headers(self, question: GetHeaders) -> Sequence[Any]:
        """More of what it has told."""
        asked = self.known.get(question.block_locator_hashes[0])
        return [] if asked is None else _extend(asked, 100, 1)


class Withheld(_Branch):
    """The blocks never come."""


class FalseBodies(_Branch):
    """Blocks with the body of another block: other blocks than were asked for."""

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        cls._body = lab.block(5)

    _body: ClassVar[Block]

    def heard(self, peer: Peer, message: Composite) -> None:
        if isinstance(message, GetBlocks):
            for block_hash in message.block_hashes:
                header = self.known.get(block_hash)
                if header is not None:
                    peer.send(*say(SYNC, SendBlock(block=self._body.replace(header=header))))


class HeavyBodies(FalseBodies):
    """The same with bodies of half a megabyte of outputs."""

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        cls._body = lab.block(5).replace(transactions=[_many_outputs(5500)])


class OddBodies(FalseBodies):
    """The same with thousands of small transactions, no two of one structure."""

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        cls._body = lab.block(5).replace(transactions=odd_transactions(560_000))


class BadHeaderDeep(_Branch):
    """One header of the branch is invalid, at ever other depths: 415."""

    rate = 2.0
    expects_bans = True

    def next(self) -> Say | None:
        branch = self.branch()
        if not branch:
            return None
        at = self.rng.randrange(len(branch))
        return say(SYNC, SendHeaders(headers=[*branch[:at], branch[at].with_fields(version=1)]))


class BadBlock(_Branch):
    """A block whose cellbase takes more than is due, by headers and on demand: 401."""

    expects_bans = True
    rate = 2.0
    blocks: ClassVar[dict[bytes, Block]] = {}

    def next(self) -> Say:
        good = self.lab.template()
        cellbase = good.transactions[0]
        outputs = [each.replace(capacity=each.capacity + 1) for each in cellbase.body.outputs]
        if not outputs:  # nobody is due anything yet
            outputs = [CellOutput(capacity=1, lock=self.lab.free, type_=None)]
        body = cellbase.body.replace(outputs=outputs, outputs_data=[b""] * len(outputs))
        bad = good.replace(transactions=[cellbase.replace(body=body), *good.transactions[1:]]).with_roots()
        bad = bad.replace(header=bad.header.with_fields(nonce=self.rng.getrandbits(60)))
        self.blocks[bad.hash] = bad
        return say(SYNC, SendHeaders(headers=[bad.header]))

    def heard(self, peer: Peer, message: Composite) -> None:
        if isinstance(message, GetBlocks):
            for block_hash in message.block_hashes:
                if block_hash in self.blocks:
                    peer.send(*say(SYNC, SendBlock(block=self.blocks[block_hash])))


class Stopped(Attack):
    """Tells of a block first, and is stopped (SIGSTOP) when it is asked for it. The miner has it from then on."""

    rate = 1.0
    blocks: ClassVar[dict[bytes, Block]] = {}

    def next(self) -> Say:
        good = template_block(self.lab.miner)
        block = good.replace(header=good.header.with_fields(nonce=self.rng.getrandbits(60)))
        self.blocks[block.hash] = block
        return say(SYNC, SendHeaders(headers=[block.header]))

    def heard(self, peer: Peer, message: Composite) -> None:
        asked = message.block_hashes if isinstance(message, GetBlocks) else ()
        held = [self.blocks.pop(each) for each in asked if each in self.blocks]
        for block in held:
            submit(self.lab.miner, block)
        if held:
            _stop_for(STOPPED_S)


def _stop_for(seconds: float) -> None:
    """This process, and all peers in it; its connections stay."""
    own = os.getpid()
    subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -CONT {own}"])
    os.kill(own, signal.SIGSTOP)


class _Compact(Attack):
    """Compact blocks on the tip, valid by dummy proof of work."""

    made: ClassVar[int] = 0

    def header(self, **changes: object) -> Header:
        _Compact.made += 1
        nonce = self.number << 64 | _Compact.made
        return self.lab.template().header.with_fields(nonce=nonce, **changes)

    def compact(self, header: Header, ids: Sequence[bytes], more: Sequence[Transaction] = (), **other: Any) -> Say:
        template = self.lab.template()
        prefilled = [template.transactions[0], *more]
        parts = {"uncles": [], "proposals": [], "extension": template.extension} | other
        message = CompactBlock(
            header=header,
            short_ids=ids,
            prefilled_transactions=[
                IndexTransaction(index=at, transaction=transaction) for at, transaction in enumerate(prefilled)
            ],
            **parts,
        )
        return say(RELAY, message)


class NeverComplete(_Compact):
    """Of transactions that nobody has."""

    def next(self) -> Say:
        return self.compact(self.header(), [self.rng.randbytes(10) for _ in range(2900)])


class TooManyIds(_Compact):
    """More transactions than a block can hold: 400."""

    expects_bans = True

    def next(self) -> Say:
        return self.compact(self.header(), [self.rng.randbytes(10) for _ in range(55_000)])


class UnknownUncles(_Compact):
    def next(self) -> Say:
        uncles = [self.rng.randbytes(32), self.rng.randbytes(32)]
        proposals = [self.rng.randbytes(10) for _ in range(1500)]
        return self.compact(self.header(), [], uncles=uncles, proposals=proposals)


class WrongRoot(_Compact):
    """All is there, and wrong: 409."""

    expects_bans = True

    def next(self) -> Say:
        return self.compact(self.header(transactions_root=bytes(32)), [])


class ManyPrefilled(_Compact):
    """Seven thousand transactions besides the cellbase, no two of one structure: 409."""

    expects_bans = True
    peers = 16

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        del lab
        cls._many = odd_transactions(560_000)

    _many: ClassVar[list[Transaction]]

    def next(self) -> Say:
        return self.compact(self.header(), [], self._many)


class LargePrefilled(ManyPrefilled):
    """One of half a megabyte of outputs."""

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        del lab
        cls._many = [_many_outputs(5500)]


class WrongAnswers(NeverComplete):
    """Who is asked for what its compact block lacks gives other transactions: 411."""

    expects_bans = True
    peers = 16

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        del lab
        some = odd_transactions(540_000)
        cls._answer = some[:2900]

    _answer: ClassVar[list[Transaction]]

    def next(self) -> Say:
        return self.compact(self.header(), [self.rng.randbytes(10) for _ in range(len(self._answer))])

    def heard(self, peer: Peer, message: Composite) -> None:
        if isinstance(message, GetBlockTransactions):
            answer = BlockTransactions(block_hash=message.block_hash, transactions=self._answer, uncles=[])
            peer.send(*say(RELAY, answer))


class SideBlocks(_Compact):
    """Valid blocks by the thousand on one parent."""

    def next(self) -> Say:
        template = self.lab.template()
        return self.compact(
            self.header(),
            [each.short_id for each in template.transactions[1:]],
            uncles=[each.hash for each in template.uncles],
            proposals=template.proposals,
        )


class OldBlocks(_Compact):
    """Compact blocks that are long stale, or could become uncles."""

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        assert lab.blocks

    def next(self) -> Say:
        old = self.rng.choice(self.lab.blocks[:20]).header.with_fields(nonce=self.rng.getrandbits(60))
        return self.compact(old, [self.rng.randbytes(10) for _ in range(100)])


class LargeOnesNamed(Large, _Compact):
    """Large transactions that pay too little, but are kept to rebuild blocks; then compact blocks that name all of
    them, many times what a block may hold."""

    named = 32

    def __init__(self, lab: Lab, number: int) -> None:
        super().__init__(lab, number)
        self._ids: deque[bytes] = deque(maxlen=self.named)

    def make(self) -> tuple[Transaction, int]:
        transaction, cycles = super().make()
        self._ids.append(transaction.short_id)
        return transaction, cycles

    def next(self) -> Say | None:
        if len(self._ids) < self.named:
            return super().next()
        return self.compact(self.header(), list(self._ids))


class UnaskedMonsters(Attack):
    """Messages of eight megabytes that nobody asked for: seconds of decoding each, for whoever decodes them. One is
    larger than any block: 400."""

    expects_bans = True

    _said: ClassVar[list[Say]] = []

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        del lab
        raws = [each.raw for each in odd_transactions(7_500_000)]
        vector = pack_parts(raws)
        relayed = pack_parts([pack_parts([bytes(8), raw]) for raw in raws])
        block = pack_parts([pack_parts([bytes(208), U32.pack(4), vector, U32.pack(0)])])
        cls._said = [
            (RELAY, U32.pack(1) + pack_parts([relayed])),
            (RELAY, U32.pack(5) + pack_parts([bytes(32), vector, U32.pack(4)])),
            (RELAY, U32.pack(7) + pack_parts([vector])),
            (SYNC, U32.pack(3) + block),
        ]

    def next(self) -> Say:
        return self.rng.choice(self._said)


def _extend(last: Header, count: int, nonce: int) -> list[Header]:
    """Headers on one, within its epoch."""
    epoch, made = EpochFraction.unpack(last.epoch), list[Header]()
    for index in range(epoch.index + 1, min(epoch.length, epoch.index + 1 + count)):
        last = last.with_fields(
            parent_hash=last.hash,
            number=last.number + 1,
            timestamp=last.timestamp + 1,
            epoch=EpochFraction(epoch.number, index, epoch.length).pack(),
            nonce=nonce,
        )
        made.append(last)
    return made


def _many_outputs(count: int) -> Transaction:
    script = Script(code_hash=bytes(32), hash_type=0, args=b"")
    body = RawTransaction(
        version=0,
        cell_deps=[],
        header_deps=[],
        inputs=[CellInput(since=0, previous_output=OutPoint(tx_hash=bytes(32), index=0))],
        outputs=[CellOutput(capacity=0, lock=script, type_=None)] * count,
        outputs_data=[b""] * count,
    )
    return Transaction(body=body, witnesses=[])


def odd_transactions(size: int) -> list[Transaction]:
    """Small ones of so many bytes together, with as many structures as there can be."""
    script = Script(code_hash=bytes(32), hash_type=0, args=b"")
    point = OutPoint(tx_hash=bytes(32), index=0)
    made, left = list[Transaction](), size
    while left > 0:
        at = len(made)
        body = RawTransaction(
            version=0,
            cell_deps=[],
            header_deps=[],
            inputs=[CellInput(since=at, previous_output=point)],
            outputs=[CellOutput(capacity=0, lock=script, type_=None)] * (at % 3),
            outputs_data=[bytes(at // 3 % 61)] * (at % 3),
        )
        made.append(Transaction(body=body, witnesses=[bytes(at // 183 % 19)] * (at // 3477 % 5)))
        left -= len(made[-1].raw) + 2 * U32.size
    return made


BRANCHES: Final = (
    LowWork,
    Withheld,
    FalseBodies,
    HeavyBodies,
    OddBodies,
    BadHeaderDeep,
    BadBlock,
    Stopped,
    NeverComplete,
    TooManyIds,
    UnknownUncles,
    WrongRoot,
    ManyPrefilled,
    LargePrefilled,
    WrongAnswers,
    SideBlocks,
    OldBlocks,
    LargeOnesNamed,
    UnaskedMonsters,
)
