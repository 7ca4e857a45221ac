"""Each rule of Sync, broken once (PROTOCOL-NET 2.15 and 2.16)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from consensus.types.blockchain import Block, CellOutput, Header
from consensus.types.core import EpochFraction
from network.limits import SYNC
from network.messages.protocols import GetBlocks, InIBD, SendBlock, SendHeaders
from network.peer import Peer
from tests.simulation.sync.attack import LONGER, Attack, hashes, says, sends_raw
from tests.simulation.sync.blocks import EPOCH_LENGTH, FREE_CELLS, free_cell, locked_cell, spending
from tests.simulation.sync.forge import Forge
from tests.simulation.sync.impostor import Impostor, Message, locator


def _genesis(evil: Impostor) -> bytes:
    return evil.main[0].hash


def _next_header(evil: Impostor, **fields: object) -> Header:
    return evil.forge.make().header.with_fields(**fields)


def _headers(*headers: Header) -> SendHeaders:
    return SendHeaders(headers=list(headers))


# --- bad branches: headers that are sound, and a block among theirs that is not ---


def spoil_dao(forge: Forge) -> Block:
    """Only its parent's state shows it."""
    block = forge.make()
    dao = block.header.dao
    return block.replace(header=block.header.with_fields(dao=dao[:16] + bytes([dao[16] ^ 1]) + dao[17:]))


def spoil_script(forge: Forge) -> Block:
    """Commits a transaction whose script fails; proposed in time."""
    bad = spending(forge.consensus, locked_cell(forge.consensus, 0))
    forge.add(proposals=[bad.short_id])
    forge.grow(1)
    return forge.make([bad])


def spoil_commit(forge: Forge) -> Block:
    """Commits what nobody has proposed."""
    return forge.make([spending(forge.consensus, free_cell(forge.consensus, FREE_CELLS - 1))])


def spoil_double_spend(forge: Forge) -> Block:
    """The second of its transactions spends what the first has spent."""
    cell = free_cell(forge.consensus, FREE_CELLS - 2)
    pair = [spending(forge.consensus, cell), spending(forge.consensus, cell, data=b"again")]
    forge.add(proposals=[each.short_id for each in pair])
    forge.grow(1)
    good = forge.make(pair[:1])
    return good.replace(transactions=[*good.transactions, pair[1]]).with_roots()


def spoil_reward(forge: Forge) -> Block:
    """Its cellbase pays too much."""
    block = forge.make()
    cellbase = block.transactions[0]
    outputs = [_richer(each) for each in cellbase.body.outputs]
    rich = cellbase.replace(body=cellbase.body.replace(outputs=outputs))
    return block.replace(transactions=[rich]).with_roots()


def _richer(output: CellOutput) -> CellOutput:
    return output.replace(capacity=output.capacity + 1)


SPOILS: Final = (spoil_dao, spoil_script, spoil_commit, spoil_double_spend, spoil_reward)


def bad_branch(spoil: Callable[[Forge], Block], back: int, at: int, above: int) -> Callable[[Impostor, Peer], None]:
    """A branch that begins `back` blocks below the tip, with `at` good blocks, a bad one and `above` more. The good
    ones must not get ahead of the honest tip: they are the tip as long as they have the most work."""

    def strike(evil: Impostor, peer: Peer) -> None:
        forge = evil.forge.fork(back, "liar")
        forge.grow(at, 1.0)
        forge.take_bad(spoil(forge))
        for _ in range(above):
            forge.take_bad(forge.make(after=1.0))
        evil.forge = forge
        evil.follow_forge()
        evil.say(peer, _headers(*evil.headers_after([evil.main[-1 - at - above - 8].hash])))

    return strike


# --- blocks that come otherwise than asked ---


def _heavier(evil: Impostor, count: int = 3) -> Sequence[Block]:
    """Blocks on the tip that only the liar has."""
    blocks = evil.forge.grow(count, 1.0)
    evil.follow_forge()
    return blocks


def _withhold(evil: Impostor, peer: Peer) -> None:
    """Tells of headers, and never gives their blocks."""
    evil.on(GetBlocks, lambda _peer, _message: None)
    evil.say(peer, _headers(*(block.header for block in _heavier(evil))))


def _give_other_bodies(evil: Impostor, peer: Peer) -> None:
    """Gives blocks whose bodies do not belong to their headers."""

    def answer(to: Peer, message: GetBlocks) -> None:
        for each in message.block_hashes:
            block = next((block for block in evil.main if block.hash == bytes(each)), None)
            if block is not None:
                evil.say(to, SendBlock(block=block.replace(proposals=[b"0123456789"])))

    evil.on(GetBlocks, answer)
    evil.say(peer, _headers(*(block.header for block in _heavier(evil))))


def _give_malformed(evil: Impostor, peer: Peer) -> None:
    """Gives what it is asked for with an output whose lock has a hash type that does not exist."""

    def answer(to: Peer, message: GetBlocks) -> None:
        block = next(block for block in evil.main if block.hash == bytes(message.block_hashes[0]))
        cellbase = block.transactions[0]
        output = evil.main[0].transactions[0].body.outputs[0]
        strange = output.replace(lock=output.lock.replace(hash_type=77))
        body = cellbase.body.replace(outputs=[strange], outputs_data=[b""])
        evil.say(to, SendBlock(block=block.replace(transactions=[cellbase.replace(body=body)])))

    evil.on(GetBlocks, answer)
    evil.say(peer, _headers(*(block.header for block in _heavier(evil))))


def _give_too_much(evil: Impostor, peer: Peer) -> None:
    """Gives what it is asked for, with more transactions than any block may have."""

    def answer(to: Peer, message: GetBlocks) -> None:
        block = next(block for block in evil.main if block.hash == bytes(message.block_hashes[0]))
        genesis = evil.main[0].transactions[0]
        evil.say(to, SendBlock(block=block.replace(transactions=[genesis] * 20)))

    evil.on(GetBlocks, answer)
    evil.say(peer, _headers(*(block.header for block in _heavier(evil))))


def _unrequested(evil: Impostor, peer: Peer) -> None:
    """Blocks that nobody has asked for, hundreds of them."""
    blocks = [evil.know(evil.forge.fork(miner=f"u{number}").make()) for number in range(20)]
    for _ in range(10):
        for block in blocks:
            evil.say(peer, SendBlock(block=block))


def _branch_of_headers(evil: Impostor, count: int, salt: int, **fields: object) -> SendHeaders:
    """Headers on the genesis block whose blocks nobody has."""
    parent, template = evil.main[0].header, evil.main[1].header
    headers: list[Header] = []
    for number in range(1, count + 1):
        parent = template.with_fields(
            number=number,
            parent_hash=parent.hash,
            timestamp=parent.timestamp + 1 + salt,
            epoch=EpochFraction(number // EPOCH_LENGTH, number % EPOCH_LENGTH, EPOCH_LENGTH).pack(),
            **fields,
        )
        headers.append(parent)
    return _headers(*headers)


def _low_work_flood(evil: Impostor, peer: Peer) -> None:
    """A hundred branches on the genesis block, none of which has the most work."""
    for salt in range(100):
        evil.say_later(salt * 0.05, peer, _branch_of_headers(evil, 50, salt))


def _twice(evil: Impostor) -> Message:
    return GetBlocks(block_hashes=[evil.main[-1].hash] * 2)


ATTACKS: Final = (
    Attack(name="sync: undecodable", strike=sends_raw(SYNC, b"\xff" * 40), reason="sync: undecodable"),
    Attack(name="empty message", strike=sends_raw(SYNC, b"\x00\x00"), reason="sync: undecodable"),
    Attack(
        name="unknown field",
        strike=sends_raw(SYNC, b"\x08\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00\x00"),
        reason="sync: undecodable",
    ),
    Attack(
        name="locator too long",
        strike=says(lambda evil: locator(*hashes(101), _genesis(evil))),
        reason="400",
    ),
    Attack(name="locator empty", strike=says(lambda _: locator()), ban=LONGER, reason="414"),
    Attack(
        name="locator of another chain",
        strike=says(lambda _: locator(*hashes(3))),
        ban=LONGER,
        reason="414",
    ),
    Attack(
        name="too many headers",
        strike=says(lambda evil: SendHeaders(headers=[evil.main[0].header] * 2001)),
        reason="415",
    ),
    Attack(
        name="headers that do not stand on each other",
        strike=says(lambda evil: _headers(evil.main[1].header, evil.main[3].header)),
        reason="415",
    ),
    Attack(
        name="header of a wrong number",
        strike=says(lambda evil: _headers(_next_header(evil, number=evil.main[-1].number + 2))),
        reason="415",
    ),
    Attack(
        name="header of another version",
        strike=says(lambda evil: _headers(_next_header(evil, version=1))),
        reason="415",
    ),
    Attack(
        name="header of a wrong epoch",
        strike=says(lambda evil: _headers(_next_header(evil, epoch=EpochFraction(99, 1, 40).pack()))),
        reason="415",
    ),
    Attack(
        name="header that is too old",
        strike=says(lambda evil: _headers(_next_header(evil, timestamp=evil.main[0].header.timestamp))),
        reason="415",
    ),
    Attack(
        name="header on an unknown one",
        strike=says(lambda evil: _headers(_next_header(evil, parent_hash=b"\x07" * 32))),
        reason="415",
    ),
    Attack(
        name="header from the future",
        strike=says(lambda evil: _headers(_next_header(evil, timestamp=evil.clock.wall_ms() + 3_600_000))),
        ban=0,
    ),
    Attack(name="header flood of low work", strike=_low_work_flood, ban=0),
    Attack(
        name="headers that claim less work than their epoch has",
        strike=says(lambda evil: _branch_of_headers(evil, 2000, 0, compact_target=0x20FFFFFF)),
        reason="415",
    ),
    Attack(
        name="asks for too many blocks",
        strike=says(lambda _: GetBlocks(block_hashes=hashes(2001))),
        reason="400",
    ),
    Attack(
        name="asks for the genesis block",
        strike=says(lambda evil: GetBlocks(block_hashes=[_genesis(evil)])),
        reason="417",
    ),
    Attack(name="asks twice for a block", strike=says(_twice), reason="418"),
    Attack(name="unrequested blocks", strike=_unrequested, ban=0),
    Attack(name="withheld blocks", strike=_withhold, ban=0),
    Attack(name="wrong bodies", strike=_give_other_bodies, reason="401"),
    Attack(name="malformed block", strike=_give_malformed, reason="400"),
    Attack(name="block too large", strike=_give_too_much, reason="400"),
    Attack(name="says that it is in its initial download", strike=says(lambda _: InIBD()), ban=0),
    *(
        Attack(
            name=f"bad block: {spoil.__name__[6:]}, fork {back} deep, {at} good below, {above} above",
            strike=bad_branch(spoil, back, at, above),
            reason="401",
        )
        for spoil, back, at, above in (
            (spoil_dao, 0, 0, 0),
            (spoil_dao, 2, 2, 3),
            (spoil_dao, 5, 3, 6),
            (spoil_dao, 7, 7, 2),
            (spoil_script, 2, 0, 3),
            (spoil_script, 8, 6, 4),
            (spoil_commit, 2, 1, 4),
            (spoil_double_spend, 2, 0, 2),
            (spoil_reward, 3, 3, 3),
            (spoil_dao, 20, 1, 24),
        )
    ),
)
