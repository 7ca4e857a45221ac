"""System calls, made without a program."""

from __future__ import annotations

from consensus.script.process import Process, Request
from consensus.script.syscalls import SYSCALLS
from vm.registers import A0


def call(process: Process, number: int, *args: int) -> int | Request | None:
    for index, value in enumerate(args):
        process.machine.set_register(A0 + index, value)
    return SYSCALLS[process.machine.version][number](process)
