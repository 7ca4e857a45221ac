"""What a dialect is: which miners speak it, and how messages of theirs and ours look.

`Dialect` is the common one (leifjacky/ckb-gominer-demo, UUPool, btcpool): nonce1 of 4 bytes, nonce2 of 12, targets as
big-endian hex, the parent's hash in each job. Another is a subclass in a file of its own, which says what differs, and
a line in `ckb_node/stratum/dialects/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec

from ckb_node.stratum.limits import AGENT_CHARS, MESSAGE_ID_CHARS, USER_CHARS
from ckb_node.stratum.nonces import NONCE_BYTES

MessageId = int | float | str | None


class BadMessageError(Exception):
    """A message of a miner that makes no sense; the text is for the miner."""


class Action(Enum):
    """What a miner may want."""

    SUBSCRIBE = "to get work"
    AUTHORISE = "to say who it is"
    LOGIN = "both at once"
    SUBMIT = "to hand in a share"
    GET_WORK = "to get its job once more"
    SUGGEST_DIFFICULTY = "another difficulty"
    SUGGEST_TARGET = "another target"
    NOTE = "to tell something that changes nothing"
    CONFIGURE = "extensions, of which there are none"


class Fault(Enum):
    """Why a miner's message is refused, in the words that it is told."""

    OTHER = "other"
    STALE = "stale job"
    LOW = "low difficulty"
    DUPLICATE = "duplicate share"
    UNAUTHORISED = "unauthorised worker"
    NOT_SUBSCRIBED = "not subscribed"


class Request(msgspec.Struct, frozen=True):
    """A line of a miner."""

    method: str
    id: MessageId = None
    params: Any = None

    @property
    def items(self) -> list[Any]:
        """The parameters in order; BadMessageError when they are no list."""
        if self.params is None:
            return []
        if not isinstance(self.params, list):
            raise BadMessageError("params are no list")
        return self.params

    def text(self, place: int, what: str, most: int) -> str:
        """A parameter that must be a short printable text. BadMessageError."""
        return short_text(self.items[place] if place < len(self.items) else None, what, most)


_READER: Final = msgspec.json.Decoder(Request)


def read_request(line: bytes) -> Request:
    """Raises BadMessageError."""
    try:
        request = _READER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadMessageError("not a request") from None
    if isinstance(request.id, str) and len(request.id) > MESSAGE_ID_CHARS:
        raise BadMessageError("the id is too long")
    return request


def short_text(value: object, what: str, most: int) -> str:
    """Raises BadMessageError."""
    if not isinstance(value, str) or not value or len(value) > most or not value.isprintable():
        raise BadMessageError(f"{what} must be a text of 1 to {most} printable characters")
    return value


def hex_bytes(value: object, what: str, most: int) -> bytes:
    """Of a text in hex, with or without 0x, of an even number of digits. BadMessageError."""
    text = value.removeprefix("0x") if isinstance(value, str) else ""
    if not text or len(text) > 2 * most or len(text) % 2 or not text.isalnum():
        raise BadMessageError(f"{what} must be hex of 1 to {most} bytes")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise BadMessageError(f"{what} must be hex of 1 to {most} bytes") from None


POOL_CODES: Final[Mapping[Fault, int]] = {
    Fault.OTHER: 20,
    Fault.STALE: 21,
    Fault.DUPLICATE: 22,
    Fault.LOW: 23,
    Fault.UNAUTHORISED: 24,
    Fault.NOT_SUBSCRIBED: 25,
}
"""As most pools of other coins number them, and the ASICs of this one know them."""

COMMON_CODES: Final[Mapping[Fault, int]] = {**POOL_CODES, Fault.STALE: 20, Fault.LOW: 21}


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a miner."""

    request: Request
    agent: str

    @property
    def params(self) -> list[Any]:
        """[] when they are an object."""
        return self.request.params if isinstance(self.request.params, list) else []


def hello_of(request: Request) -> Hello:
    """The agent is the first parameter, cut; empty when there is none."""
    params = request.params
    first = params[0] if isinstance(params, list) and params else None
    if isinstance(params, dict):
        first = params.get("agent")
    agent = first if isinstance(first, str) and first.isprintable() else ""
    return Hello(request, agent[:AGENT_CHARS])


class Task(NamedTuple):
    """A job as miners get it. `target`: of its shares, 0 in a dialect whose jobs do not tell it."""

    job_id: str
    pow_hash: bytes
    height: int
    parent_hash: bytes
    target: int
    is_clean: bool


@dataclass(frozen=True, slots=True)
class Submitted:
    """A share as it was handed in. `key` names the job as `Dialect.job_key` does; `nonce`: 16 bytes as hashed."""

    user: str | None
    key: str
    nonce: bytes


class Dialect:
    """The common dialect, and what others differ from. Objects have no state."""

    name: str = "common"
    nonce1_size = 4
    """Bytes of the nonce that are the connection's; 0: the miner searches the whole nonce, so that each gets a header
    with a time of its own."""
    starts_at_subscribe = False
    """Target and first job come right after the answer to subscribe, and once more after the authorisation."""
    has_target_in_job = False
    """The same job with another target is another line."""
    actions: Mapping[str, Action] = {
        "mining.subscribe": Action.SUBSCRIBE,
        "mining.authorize": Action.AUTHORISE,
        "mining.submit": Action.SUBMIT,
        "mining.suggest_difficulty": Action.SUGGEST_DIFFICULTY,
        "mining.suggest_target": Action.SUGGEST_TARGET,
        "mining.extranonce.subscribe": Action.NOTE,
        "mining.get_transactions": Action.NOTE,
        "mining.ping": Action.NOTE,
        "mining.configure": Action.CONFIGURE,
    }
    codes: Mapping[Fault, int] = COMMON_CODES

    def is_spoken_by(self, hello: Hello) -> bool:
        """Whether a miner that begins so speaks it. The common one is asked last."""
        del hello
        return True

    # ------------------------------------------------------------ of miners

    def read_user(self, request: Request) -> tuple[str, str]:
        """Name and password. Raises BadMessageError."""
        password = request.items[1] if len(request.items) > 1 else ""
        return request.text(0, "the user", USER_CHARS), password if isinstance(password, str) else ""

    @staticmethod
    def user_of_share(request: Request) -> str | None:
        """The first field; some miners (cminer) leave it empty. Raises BadMessageError."""
        return None if request.items[:1] == [""] else request.text(0, "the user", USER_CHARS)

    def read_share(self, request: Request, nonce1: bytes) -> Submitted:
        """Raises BadMessageError."""
        user, key = self.user_of_share(request), request.text(1, "the job", 64)
        nonce2 = hex_bytes(request.items[2] if len(request.items) > 2 else None, "nonce2", NONCE_BYTES)
        if len(nonce1) + len(nonce2) != NONCE_BYTES:
            raise BadMessageError(f"nonce2 must have {NONCE_BYTES - len(nonce1)} bytes")
        return Submitted(user, key, nonce1 + nonce2)

    def job_key(self, task: Task) -> str:
        """By what a share names its job."""
        return task.job_id

    # ------------------------------------------------------------ to miners

    def answer(self, message_id: MessageId, result: object) -> bytes:
        """A line."""
        return line({"id": message_id, "result": result, "error": None})

    def refusal(self, message_id: MessageId, fault: Fault, text: str = "") -> bytes:
        """A line. `text` instead of the usual words."""
        return line({"id": message_id, "result": False, "error": [self.codes[fault], text or fault.value, None]})

    def subscribed(self, hello: Hello, nonce1: bytes) -> object:
        """The result of subscribe."""
        return [None, nonce1.hex(), NONCE_BYTES - len(nonce1)]

    def target(self, target: int) -> bytes:
        """What tells a miner the target of its shares; no line where each job does."""
        return push("mining.set_target", [f"{target:064x}"])

    def work(self, task: Task) -> object:
        """What a miner must know of a job: the content of `job`, and the answer to GET_WORK."""
        return [task.job_id, task.pow_hash.hex(), task.height, self.fourth(task), task.is_clean]

    def fourth(self, task: Task) -> str:
        """The field of `work` in which dialects differ."""
        return task.parent_hash.hex()

    def job(self, task: Task) -> bytes:
        """A line."""
        return push("mining.notify", self.work(task))


def push(method: str, params: object) -> bytes:
    """A line that answers nothing."""
    return line({"id": None, "method": method, "params": params})


def line(message: Mapping[str, Any]) -> bytes:
    """A message as it is sent."""
    return msgspec.json.encode(message) + b"\n"
