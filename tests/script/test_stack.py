"""The stack of a new program: laid out at once, it is the same as step by step."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm.errors import MemOutOfStack, VmError
from vm.machine import MachineState
from vm.reference.engine import ReferenceMachine


def lay_out(version: int, args: list[bytes], *, by_steps: bool) -> tuple[bytes, tuple[int, ...], str]:
    machine = ReferenceMachine(version, 0)
    error = ""
    try:
        if by_steps:
            with patch.object(MachineState, "_store_stack_at_once", return_value=False):
                machine.initialize_stack(args)
        else:
            machine.initialize_stack(args)
    except VmError as caught:
        error = str(caught)
    return bytes(machine.memory.data), tuple(machine.get_register(index) for index in range(32)), error


@given(
    version=st.sampled_from([1, 2]),
    args=st.lists(st.binary(max_size=40).map(lambda arg: arg.replace(b"\0", b"x")), min_size=1, max_size=12),
)
def test_both_ways_agree(version: int, args: list[bytes]) -> None:
    assert lay_out(version, args, by_steps=False) == lay_out(version, args, by_steps=True)


@pytest.mark.parametrize("count", [1, 7])
def test_both_ways_agree_about_a_stack_that_is_too_small(count: int) -> None:
    args = [b"x" * (((1 << 20) // count) - 10)] * count
    at_once, steps = lay_out(1, args, by_steps=False), lay_out(1, args, by_steps=True)
    assert at_once == steps
    with pytest.raises(MemOutOfStack):
        ReferenceMachine(2, 0).initialize_stack([b"x" * (1 << 20)])


def test_arguments_below_the_memory_are_refused_by_steps() -> None:
    assert lay_out(1, [b"x" * (5 << 20)], by_steps=False)[2] == "MemOutOfBound"
