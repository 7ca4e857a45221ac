"""Epochs mined at chosen times, and the scene in which they grow and shrink."""

from __future__ import annotations

from dataclasses import dataclass

from tests.interop.kit_chain import Mirror, wait_until
from tests.interop.kit_json import Json, sent_block
from tests.interop.kit_mirror import assert_same_chain

MOVING_EPOCHS: dict[str, object] = {"permanent_difficulty_in_dummy": False, "genesis_epoch_length": 10}
START_MS = 1_600_000_000_000


@dataclass
class Pace:
    """How an epoch is mined: milliseconds between blocks, and its uncles."""

    step_ms: int
    uncles: int = 0


class Clockwork:
    """Mines epochs at chosen times."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror, self.now_ms = mirror, START_MS

    def block(self, step_ms: int, *, compare: bool) -> Json:
        self.now_ms += step_ms
        return self.mirror.mine(compare=compare, current_time=hex(self.now_ms))

    def uncle(self, template: Json) -> None:
        """A brother of the tip, on both nodes, which the next template takes."""
        brother = template | {"current_time": hex(self.now_ms + 1)}
        view = self.mirror.source.call("get_fork_block", self.mirror.make(brother))
        self.mirror.target.call("submit_block", "0x0", sent_block(view))
        wait_until(lambda: len(self.mirror.template()["uncles"]) == 1)

    def epoch(self, pace: Pace) -> tuple[int, int]:
        """Mine from the first block of an epoch (genesis' from its second) to its last; its length and uncles."""
        uncles = 0
        while True:
            template = self.mirror.template()
            index, length = fields(template["epoch"])
            view = self.block(pace.step_ms, compare=index % 20 == 0 or index + 2 >= length)
            uncles += len(view["uncles"])
            if index + 1 == length:
                return length, uncles
            if 0 < index < length - 3 and uncles < pace.uncles and not view["uncles"]:
                self.uncle(template)


def fields(epoch: str) -> tuple[int, int]:
    """Index and length."""
    packed = int(epoch, 16)
    return packed >> 24 & 0xFFFF, packed >> 40


def epochs_follow_time_and_uncles(mirror: Mirror) -> None:
    clockwork = Clockwork(mirror)
    paces = (Pace(100), Pace(60_000, uncles=1), Pace(150, uncles=10), Pace(400))
    lengths = [clockwork.epoch(pace) for pace in paces]
    clockwork.block(1000, compare=True)
    assert [length for length, _ in lengths[:3]] == [10, 20, 300]
    assert [uncles for _, uncles in lengths] == [0, 1, 10, 0]
    targets = {mirror.target.call("get_epoch_by_number", hex(number))["compact_target"] for number in range(5)}
    assert len(targets) > 3
    assert_same_chain(mirror.pair)
