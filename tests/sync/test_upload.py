"""All that peers ask for is counted, and shares one limit of bytes."""

from __future__ import annotations

from ckb_node.sync.relay.status import RelayStatus
from ckb_node.sync.upload import Upload, UploadKind
from network.budget import Allowance
from network.messages.protocols import (
    BlockProposal,
    BlockTransactions,
    GetBlockProposal,
    GetBlockTransactions,
    RelayTransactions,
    SendHeaders,
)
from tests.support.network.clock import WALL_MS
from tests.sync.headers.kit_headers import GENESIS, INTERVAL_MS, branch, sent
from tests.sync.headers.kit_headers import Case as Headers
from tests.sync.relay.kit import Case as Relay
from tests.sync.relay.kit import messages, story
from tests.sync.relay.kit_transactions import Relays, a_transaction, some_hashes, taken

MAIN = branch(GENESIS, 50, first_ms=WALL_MS - 1000 * INTERVAL_MS)
START = 1000.0


def overdrawn(by: float = 100.0) -> Upload:
    """A hundred bytes a second, and a burst of a thousand; nothing is left."""
    allowance = Allowance(100.0, 1000.0, START)
    allowance.spend(1000.0 + by, START)
    return Upload(allowance)


def test_headers_are_counted_and_wait() -> None:
    upload = overdrawn()
    case = Headers(upload=upload)
    case.ibd.end()
    case.chain.grow(MAIN)
    peer = case.connect(1)
    sent(peer)
    case.get(peer, [GENESIS.hash])
    served = upload.served[UploadKind.HEADERS]
    assert (sent(peer), served.asked, served.waiting(), served.messages) == ([], 1, 1, 0)
    case.advance(3.0)
    answers = [each for each in sent(peer) if isinstance(each, SendHeaders)]
    assert len(answers) == 1
    assert (served.waiting(), served.messages, served.refused) == (0, 1, 0)
    assert served.bytes > 50 * 208
    assert upload.wait(case.scheduler.now()) > 60.0, "it has paid"


def test_questions_for_headers_that_make_no_sense_are_refused() -> None:
    case = Headers(upload=(upload := Upload()))
    case.ibd.end()
    case.get(case.connect(1), [bytes(32)])
    assert (upload.served[UploadKind.HEADERS].asked, upload.served[UploadKind.HEADERS].refused) == (1, 1)


def test_transactions_wait() -> None:
    relays = Relays(upload=overdrawn())
    peer, tx = relays.peer(), a_transaction(1, size=5000)
    relays.pool.add(tx)
    relays.ask(peer, tx.hash)
    served = relays.upload.served[UploadKind.TRANSACTIONS]
    assert (taken(peer, RelayTransactions), served.waiting()) == ([], 1)
    relays.clock.advance(2.0)
    assert len(taken(peer, RelayTransactions)) == 1
    assert (served.asked, served.messages, served.waiting()) == (1, 1, 0)
    assert relays.upload.wait(relays.clock.now()) > 40.0
    relays.ask(peer, *some_hashes(32_768))
    assert served.refused == 1


def test_proposals_wait() -> None:
    relays = Relays(upload=overdrawn())
    peer, tx = relays.peer(), a_transaction(1)
    relays.pool.add(tx)
    question = GetBlockProposal(block_hash=bytes(32), proposals=[tx.short_id])
    relays.proposals.received_get_block_proposal(peer, question)
    assert taken(peer, BlockProposal) == []
    relays.clock.advance(2.0)
    assert len(taken(peer, BlockProposal)) == 1
    served = relays.upload.served[UploadKind.PROPOSALS]
    assert (served.asked, served.messages) == (1, 1)
    assert served.bytes >= tx.raw_size


def ask_for_transactions(upload: Upload, *, is_recent: bool) -> RelayStatus | None:
    block = story().block
    case = Relay(blocks=[*story().base, block], upload=upload)
    if is_recent:
        case.announcer.announce(block)
    peer = case.peer()
    messages(peer)
    status = case.say(peer, GetBlockTransactions(block_hash=block.hash, indexes=[1], uncle_indexes=[]))
    case.run()
    assert len([each for each in messages(peer) if isinstance(each, BlockTransactions)]) == (status is RelayStatus.OK)
    return status


def test_new_blocks_may_run_up_a_debt() -> None:
    upload = overdrawn()
    assert ask_for_transactions(upload, is_recent=True) is RelayStatus.OK
    served = upload.served[UploadKind.BLOCK_TRANSACTIONS]
    assert (served.asked, served.messages, served.refused) == (1, 1, 0)
    assert served.bytes > 0


def test_but_no_large_one_and_old_blocks_none() -> None:
    for upload, is_recent in ((overdrawn(1001.0), True), (overdrawn(), False)):
        assert ask_for_transactions(upload, is_recent=is_recent) is RelayStatus.IGNORED
        assert upload.served[UploadKind.BLOCK_TRANSACTIONS].refused == 1


def test_without_a_limit_nobody_waits() -> None:
    upload = Upload()
    upload.sent(UploadKind.BLOCKS, 10**12, START)
    assert upload.wait(START) == 0.0
    assert upload.is_urgent_allowed(START)
    assert upload.served[UploadKind.BLOCKS].bytes == 10**12
