"""Who gave an invalid block is banned; what says nothing of the giver costs him nothing."""

from __future__ import annotations

import pytest

from ckb_node.chain.events import BlockDecided, Verdict
from ckb_node.sync.blocks.refusals import Refusals
from ckb_node.sync.peers import SyncPeers
from ckb_node.sync.suspects import Suspects
from ckb_node.verification.stopping import TimeExceeded
from consensus.errors import BlockError, CkbError, ScriptError
from consensus.rules.block import ExtraHashError, ProposalsHashError, TransactionsRootError, UncleProposalsHashError
from consensus.rules.header import BlockTimeTooNewError, UnknownParentError
from consensus.script.errors import ARGV_TOO_LONG_TEXT
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.step_chain import StepChain
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer
from tests.sync.blocks.kit import empty_chain


@pytest.mark.parametrize(
    ("error", "is_banned"),
    [
        (BlockError("a rule"), True),
        (ScriptError("exit code 1"), True),
        (TransactionsRootError(), True),
        (ProposalsHashError(), True),
        (ExtraHashError(), True),
        (UncleProposalsHashError(bytes(32)), True),
        (UnknownParentError(bytes(32)), False),
        (BlockTimeTooNewError(1, 2), False),
        (TimeExceeded(1.0), False),
        (ScriptError(ARGV_TOO_LONG_TEXT), False),
        (None, False),
    ],
)
def test_all_who_gave_it_are_banned_for_a_rule(error: CkbError | None, is_banned: bool) -> None:
    chain, peers = StepChain(dev_consensus()), SyncPeers()
    givers, other = [FakePeer(seed) for seed in range(2)], FakePeer(9)
    for fake in (*givers, other):
        peers.add(fake)
    Refusals(chain, peers, Suspects(chain, peers, FakeScheduler(), lambda _: None))
    sources = [*(fake.session_id for fake in givers), "rpc", 10**9]
    verdict = Verdict.DROPPED if error is None else Verdict.REFUSED
    chain.tell(BlockDecided(empty_chain(40)[0], verdict, sources, error))
    assert [fake.banned is not None for fake in (*givers, other)] == [is_banned, is_banned, False]
    for fake in givers:
        assert fake.banned is None or (fake.banned[0] == 300 and fake.banned[1].startswith("401"))
