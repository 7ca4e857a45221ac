"""Softfork signalling (RFC 43). The two runs of states: ckb `spec/src/tests/versionbits.rs`."""

from fractions import Fraction

import pytest

from consensus.crypto.difficulty import DIFFICULTY_TWO
from consensus.params import Consensus, Deployment
from consensus.rules.versionbits import DeploymentState, DeploymentTracker, is_signalling, version_to_signal
from consensus.types.blockchain import CellbaseWitness
from consensus.types.core import EpochExt
from tests.support.chains.unchecked import UncheckedChain, block, cellbase, header, make_consensus, script, transaction

LENGTH = 4
DUMMY = Deployment(
    name="testdummy", bit=1, start=3, timeout=11, min_activation_epoch=11, period=2, threshold=Fraction(3, 4)
)


class Signalling:
    """A chain of 4-block epochs whose miners signal as told."""

    def __init__(self, deployment: Deployment = DUMMY) -> None:
        self.consensus: Consensus = make_consensus(genesis_length=LENGTH)
        self.chain = UncheckedChain.with_genesis(self.consensus)
        self.tracker = DeploymentTracker(deployment)

    def mine(self, message: bytes | None = None) -> None:
        """The next block; without a message the miner signals what the state asks for."""
        tip, epoch = self.chain.tip_header(), self.chain.tip_epoch()
        if message is None:
            message = version_to_signal([self.tracker], tip, self.chain).to_bytes(4, "little")
        number = tip.number + 1
        if number == epoch.start_number + LENGTH:
            epoch = self._epoch_after(epoch, tip.hash, number)
        head = header(
            number=number, parent_hash=tip.hash, epoch=epoch.fraction_at(number), compact_target=DIFFICULTY_TWO
        )
        self.chain.attach(block(head, [cellbase(number, message=message)]), epoch)

    @staticmethod
    def _epoch_after(epoch: EpochExt, tail: bytes, number: int) -> EpochExt:
        return epoch.replace(number=epoch.number + 1, last_block_hash_in_previous_epoch=tail, start_number=number)

    def enter(self, epoch: int, message: bytes | None = None) -> None:
        """Mine up to and including the first block of `epoch`."""
        while self.chain.tip_epoch().number < epoch:
            self.mine(message)

    @property
    def state(self) -> tuple[DeploymentState, int]:
        tip = self.chain.tip_header()
        return self.tracker.state(tip, self.chain), self.tracker.since(tip, self.chain)


def test_a_supported_deployment_becomes_active() -> None:
    run = Signalling()
    assert run.state == (DeploymentState.DEFINED, 0)
    for epoch, expected in [
        (3, (DeploymentState.STARTED, 3)),
        (4, (DeploymentState.STARTED, 3)),
        *[(epoch, (DeploymentState.LOCKED_IN, 5)) for epoch in range(5, 11)],
        (11, (DeploymentState.ACTIVE, 11)),
        (12, (DeploymentState.ACTIVE, 11)),
        (17, (DeploymentState.ACTIVE, 11)),
    ]:
        run.enter(epoch)
        assert run.state == expected, epoch


def test_an_ignored_deployment_fails() -> None:
    run = Signalling()
    run.enter(2, b"")
    assert run.state == (DeploymentState.DEFINED, 0)
    for epoch in range(3, 11):
        run.enter(epoch, b"")
        assert run.state == (DeploymentState.STARTED, 3)
    for epoch in (11, 12, 15):
        run.enter(epoch, b"")
        assert run.state == (DeploymentState.FAILED, 11)


@pytest.mark.parametrize(("signals", "state"), [(6, DeploymentState.LOCKED_IN), (5, DeploymentState.STARTED)])
def test_threshold_is_three_quarters_of_the_period(signals: int, state: DeploymentState) -> None:
    """Of the eight blocks of epochs 3 and 4."""
    run = Signalling()
    while run.chain.tip_header().number < 3 * LENGTH - 1:
        run.mine(b"")
    for index in range(2 * LENGTH):
        run.mine((1 << 1).to_bytes(4, "little") if index < signals else b"")
    assert run.chain.tip_header().number == 5 * LENGTH - 1
    run.mine(b"")
    assert run.state[0] is state


def test_a_tracker_that_comes_later_finds_the_same() -> None:
    run = Signalling()
    run.enter(12)
    late = DeploymentTracker(DUMMY)
    tip = run.chain.tip_header()
    assert late.since(tip, run.chain) == 11
    assert late.state(tip, run.chain) is DeploymentState.ACTIVE


def test_forks_do_not_mix() -> None:
    """One tracker judges a branch that signals and one that does not."""
    loud, quiet = Signalling(), Signalling()
    quiet.tracker = loud.tracker
    loud.enter(5)
    quiet.enter(5, b"")
    assert loud.state[0] is DeploymentState.LOCKED_IN
    assert quiet.state[0] is DeploymentState.STARTED
    assert loud.state[0] is DeploymentState.LOCKED_IN


def test_fixed_states() -> None:
    always = Deployment("a", 1, 0, 0, 0, 10, Fraction(3, 4), is_always_active=True)
    never = Deployment("n", 2, 0, 0, 0, 10, Fraction(3, 4), is_never_active=True)
    run = Signalling(always)
    assert run.state == (DeploymentState.ACTIVE, 0)
    assert Signalling(never).state == (DeploymentState.FAILED, 0)
    trackers = [DeploymentTracker(always), DeploymentTracker(never)]
    assert version_to_signal(trackers, run.chain.tip_header(), run.chain) == 0


def test_bits_to_signal() -> None:
    run = Signalling()
    for epoch, version in [(2, 0), (3, 2), (5, 2), (11, 0)]:
        run.enter(epoch)
        assert version_to_signal([run.tracker], run.chain.tip_header(), run.chain) == version


@pytest.mark.parametrize(
    ("message", "counts"),
    [
        ("02000000", True),
        ("03000000", True),
        ("0200001f", True),
        ("02000000ff", True),
        ("01000000", False),
        ("02000020", False),
        ("02000040", False),
        ("02000080", False),
        ("020000", False),
        ("", False),
    ],
)
def test_signals(message: str, counts: bool) -> None:
    signal = block(header(), [cellbase(0, message=bytes.fromhex(message))])
    assert is_signalling(signal, 1) is counts


def test_a_witness_of_another_shape_signals_nothing() -> None:
    good = CellbaseWitness(lock=script(), message=(2).to_bytes(4, "little")).raw
    assert is_signalling(block(header(), [transaction(witnesses=[good])]), 1)
    assert not is_signalling(block(header(), [transaction(witnesses=[good[:-1]])]), 1)
    assert not is_signalling(block(header(), [transaction(witnesses=[])]), 1)
