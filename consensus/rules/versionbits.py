"""Softfork deployments by signalling miners (RFC 43). Miners signal in the message of the cellbase witness.

A deployment has one state per period of epochs, which depends on the ancestors of the period only.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from consensus.context import StoredBlocksReader
from consensus.errors import MoleculeError
from consensus.lookup import require
from consensus.params import Deployment
from consensus.types.blockchain import Block, CellbaseWitness, Header
from consensus.types.core import EpochExt, EpochFraction

TOP_BITS = 0x00000000
TOP_MASK = 0xE0000000
"""A signal counts only when its top three bits are 000."""

_SIGNAL_SIZE = 4


class DeploymentState(Enum):
    """States of RFC 43; the values are the names that RPC shows."""

    DEFINED = "defined"
    STARTED = "started"
    LOCKED_IN = "locked_in"
    ACTIVE = "active"
    FAILED = "failed"


def is_signalling(block: Block, bit: int) -> bool:
    """The block's miner set the deployment's bit."""
    witnesses = block.transactions[0].witnesses
    if not witnesses:
        return False
    try:
        message = CellbaseWitness.parse(witnesses[0]).message
    except MoleculeError:
        return False
    if len(message) < _SIGNAL_SIZE:
        return False
    version = int.from_bytes(message[:_SIGNAL_SIZE], "little")
    return version & TOP_MASK == TOP_BITS and bool(version >> bit & 1)


class DeploymentTracker:
    """The states of one deployment. Remembers them by the block before each period, so forks cannot mix."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._states: dict[bytes, DeploymentState] = {}

    def state(self, parent: Header, reader: StoredBlocksReader) -> DeploymentState:
        """State of the period that the block after `parent` is judged by."""
        if self.deployment.is_always_active:
            return DeploymentState.ACTIVE
        if self.deployment.is_never_active:
            return DeploymentState.FAILED
        return self._state_from(self._period_start(parent, reader), reader)

    def since(self, parent: Header, reader: StoredBlocksReader) -> int:
        """First epoch that has the state."""
        state = self.state(parent, reader)
        deployment = self.deployment
        if deployment.is_always_active or deployment.is_never_active or state is DeploymentState.DEFINED:
            return 0
        if state is DeploymentState.STARTED:
            return deployment.start
        epoch = self._period_start(parent, reader)
        while self._state_from(epoch, reader) is state:
            epoch = self._previous_period(epoch, reader)
        return epoch.number + deployment.period

    def _period_start(self, parent: Header, reader: StoredBlocksReader) -> EpochExt:
        """The epoch at whose start the state was last decided: periods end with epochs period - 1, 2 period - 1, …"""
        number = EpochFraction.unpack(parent.epoch).number
        start = max(number - (number + 1) % self.deployment.period, 0)
        return _ancestor_epoch(require(reader.block_epoch(parent.hash), "epoch", parent.hash), start, reader)

    def _previous_period(self, epoch: EpochExt, reader: StoredBlocksReader) -> EpochExt:
        return _ancestor_epoch(epoch, max(epoch.number - self.deployment.period, 0), reader)

    def _state_from(self, epoch: EpochExt, reader: StoredBlocksReader) -> DeploymentState:
        """State as decided at the start of `epoch`; earlier periods are computed first where not remembered."""
        to_compute = []
        while epoch.last_block_hash_in_previous_epoch not in self._states:
            if epoch.number == 0 or epoch.number < self.deployment.start:
                self._states[epoch.last_block_hash_in_previous_epoch] = DeploymentState.DEFINED
                break
            to_compute.append(epoch)
            epoch = self._previous_period(epoch, reader)
        state = self._states[epoch.last_block_hash_in_previous_epoch]
        for later in reversed(to_compute):
            state = self._next_state(state, later, reader)
            self._states[later.last_block_hash_in_previous_epoch] = state
        return state

    def _next_state(self, state: DeploymentState, epoch: EpochExt, reader: StoredBlocksReader) -> DeploymentState:
        """The transition at the start of `epoch` (RFC 43, "State transitions")."""
        deployment = self.deployment
        if state is DeploymentState.DEFINED and epoch.number >= deployment.start:
            return DeploymentState.STARTED
        if state is DeploymentState.STARTED:
            if self._is_threshold_reached(epoch, reader):
                return DeploymentState.LOCKED_IN
            return DeploymentState.FAILED if epoch.number >= deployment.timeout else state
        if state is DeploymentState.LOCKED_IN and epoch.number >= deployment.min_activation_epoch:
            return DeploymentState.ACTIVE
        return state

    def _is_threshold_reached(self, epoch: EpochExt, reader: StoredBlocksReader) -> bool:
        """Enough of the blocks before `epoch` signal.

        As many blocks are counted as `epoch` and the period - 1 epochs before it hold, which differs from the length of
        the period that ended when epoch lengths change; nodes have always counted so.
        """
        total, counted_epoch = epoch.length, epoch
        for _ in range(self.deployment.period - 1):
            counted_epoch = _previous_epoch(counted_epoch, reader)
            total += counted_epoch.length
        block_hash, signals = epoch.last_block_hash_in_previous_epoch, 0
        for _ in range(total):
            block = require(reader.block(block_hash), "block", block_hash)
            signals += is_signalling(block, self.deployment.bit)
            block_hash = block.parent_hash
        threshold = self.deployment.threshold
        return signals >= total * threshold.numerator // threshold.denominator


def _previous_epoch(epoch: EpochExt, reader: StoredBlocksReader) -> EpochExt:
    block_hash = epoch.last_block_hash_in_previous_epoch
    return require(reader.block_epoch(block_hash), "epoch", block_hash)


def _ancestor_epoch(epoch: EpochExt, number: int, reader: StoredBlocksReader) -> EpochExt:
    while epoch.number > number:
        epoch = _previous_epoch(epoch, reader)
    return epoch


def version_to_signal(trackers: Iterable[DeploymentTracker], parent: Header, reader: StoredBlocksReader) -> int:
    """The u32 that a miner puts in front of the message of the cellbase after `parent`."""
    version = TOP_BITS
    for tracker in trackers:
        if tracker.state(parent, reader) in {DeploymentState.STARTED, DeploymentState.LOCKED_IN}:
            version |= 1 << tracker.deployment.bit
    return version
