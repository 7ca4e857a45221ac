"""What the node and its script processes tell each other over a socket: msgpack in frames, see network.framing."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import msgspec

from network.framing import frame

MAX_TO_PROCESS: Final = (1 << 32) - 1
"""Bytes of a message of the node, which the process trusts: outputs of a transaction's cells may be large."""
MAX_FROM_PROCESS: Final = 16 << 20
"""Bytes of a message of the process, mostly what scripts print, see debug_output."""


class Setup(msgspec.Struct, array_like=True, frozen=True, tag=0):
    """The first message. `hardforks` are the fields of consensus.params.Hardforks; `engines` a directory, see vm.

    `niceness` of translating programs, beside that of the process. `prints`: what scripts print is wanted.
    `own_niceness` of the process itself.
    """

    hardforks: dict[str, int]
    engines: str
    niceness: int
    prints: bool = False
    own_niceness: int = 0


class Cell(msgspec.Struct, array_like=True, frozen=True):
    """A CellMeta. `data` is None unless it is small: then the process asks for it."""

    out_point: bytes
    output: bytes
    data_size: int
    data_hash: bytes
    info: tuple[bytes, int, int, int] | None
    data: bytes | None


class Job(msgspec.Struct, array_like=True, frozen=True):
    """Run all scripts of a transaction. `seconds` of processor time, None: as long as it takes.

    `cell_deps`: Cells packed together, see `pack_cells`: most transactions have the same, which are read once.
    """

    id: int
    transaction: bytes
    inputs: list[Cell]
    cell_deps: msgspec.Raw
    epoch: int
    max_cycles: int
    seconds: float | None


class Jobs(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """Work, in order of ids."""

    jobs: list[Job]


class Subject(IntEnum):
    """What a worker can ask for."""

    CELL_DATA = 0
    HEADER = 1
    BLOCK = 2


class Ask(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """A script reads something that was not sent with the job. `key`: hash of the data, or of the block."""

    job: int
    subject: Subject
    key: bytes


class Answer(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """Reply to an Ask. `is_wanted` is false when the job was cancelled."""

    content: bytes | None
    is_wanted: bool = True


class ErrorData(msgspec.Struct, array_like=True, frozen=True):
    """An error by the name of its class, its arguments and its fields: text, numbers, bytes, and errors within it."""

    name: str
    args: list[Any]
    fields: dict[str, Any]
    errors: dict[str, ErrorData]


class Ending(IntEnum):
    """How a job ended."""

    PASSED = 0
    FAILED = 1
    STOPPED = 2
    OUT_OF_TIME = 3
    BROKEN = 4


class Done(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """The end of a job: cycles if it passed, the ScriptError if it failed. BROKEN: the process could not tell."""

    job: int
    ending: Ending
    cycles: int = 0
    error: ErrorData | None = None
    prints: list[tuple[bytes, str]] = []
    """What scripts printed, by the hash of each."""
    left_out: int = 0


class Ready(msgspec.Struct, array_like=True, frozen=True, tag=5):
    """The process has started."""


ToProcess = Setup | Jobs | Answer
FromProcess = Ask | Done | Ready

_ENCODER = msgspec.msgpack.Encoder()
DECODE_CELLS = msgspec.msgpack.Decoder(list[Cell]).decode
DECODE_TO_PROCESS = msgspec.msgpack.Decoder(ToProcess).decode
DECODE_FROM_PROCESS = msgspec.msgpack.Decoder(FromProcess).decode


def pack_cells(cells: list[Cell]) -> msgspec.Raw:
    """Cells as a part of a message."""
    return msgspec.Raw(_ENCODER.encode(cells))


def encode(message: ToProcess | FromProcess) -> bytes:
    """A message in its frame."""
    return frame(_ENCODER.encode(message))
