"""What is said on one connection to a pool, without the connection: lines in, lines out.

The pool is a stranger: its lines are bounded (`pool_source`), what is kept of them is one job, and what makes no sense
is a PoolError, which ends the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

import msgspec
import structlog

from ckb_node.miner.pool_login import PoolError, PoolForm, Subscription, read_prefix, read_subscription
from ckb_node.miner.pool_target import target_of_difficulty, target_of_text
from ckb_node.miner.work import Desk, Work
from ckb_node.runtime.bounded import BoundedMap
from consensus.crypto.hashing import HASH_SIZE

log = structlog.get_logger("miner")

MAX_UNANSWERED: Final = 256
"""Shares that wait for the pool's answer; more are not sent."""
MAX_JOB_CHARS: Final = 128
MAX_MESSAGES: Final = 20
"""Texts for people that are shown of one connection."""
_HINTS_OF_UNKNOWN: Final = ("method", "support", "unknown", "-32601")
"""What is in an answer to an unknown method."""


class Asked(Enum):
    """What a request of ours was."""

    SUBSCRIBE = auto()
    AUTHORIZE = auto()
    EXTRANONCE = auto()
    LOGIN = auto()
    GET_WORK = auto()
    SHARE = auto()


class _Message(msgspec.Struct):
    id: Any = None
    method: str | None = None
    params: Any = None
    result: Any = None
    error: Any = None


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are."""

    user: str
    password: str
    agent: str


class PoolSession:
    """One connection. `send` takes a line without its end."""

    def __init__(self, login: Login, desk: Desk, send: Callable[[bytes], None]) -> None:
        self._login: Final = login
        self._desk: Final = desk
        self._send: Final = send
        self._asked: Final[BoundedMap[int, Asked]] = BoundedMap(max_count=MAX_UNANSWERED + len(Asked))
        self._next_id = 1
        self._subscription: Subscription | None = None
        self._target: int | None = None
        self._job: Sequence[Any] | None = None
        self._messages = 0
        self.unanswered = 0
        """Shares."""
        self.has_work = False
        self.is_refused = False
        """The pool does not know the user; to try again at once is no use."""
        self.knows_other_methods = False
        """The pool does not know the first method that it was sent."""

    def begin(self, *, is_get_work: bool = False) -> None:
        """Say who we are; `is_get_work` in the way of before `mining.*`."""
        if is_get_work:
            self._subscription = Subscription(PoolForm.GET_WORK, b"")
            name, _, worker = self._login.user.partition(".")
            self._ask(Asked.LOGIN, "ckb_submitLogin", {"login": name, "agent": self._login.agent, "worker": worker})
        else:
            self._ask(Asked.SUBSCRIBE, "mining.subscribe", [self._login.agent, None])

    def share(self, work: Work, nonce: bytes) -> bool:
        """Send a share; whether it was sent."""
        if self._subscription is None or self.unanswered >= MAX_UNANSWERED:
            return False
        self.unanswered += 1
        if self._subscription.form is PoolForm.GET_WORK:
            number = hex(int.from_bytes(nonce, "little"))
            self._ask(Asked.SHARE, "ckb_submitWork", {"pow_hash": work.job, "nonce": number})
        else:
            share = self._subscription.share(self._login.user, work.job, nonce)
            self._ask(Asked.SHARE, "mining.submit", share)
        return True

    def on_line(self, line: bytes) -> None:
        """A line of the pool. Raises PoolError."""
        try:
            message = msgspec.json.decode(line, type=_Message)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise PoolError("a line is no JSON-RPC message") from error
        if message.method is not None:
            self._on_method(message.method, message)
        elif isinstance(message.id, int) and (asked := self._asked.pop(message.id)) is not None:
            self._on_answer(asked, message)
        elif self._is_get_work and message.id in (0, None) and isinstance(message.result, dict):
            self._on_get_work(message.result)

    # ------------------------------------------------ answers

    def _on_answer(self, asked: Asked, message: _Message) -> None:
        error = _error_text(message.error)
        match asked:
            case Asked.SUBSCRIBE if error is not None:
                self.knows_other_methods = _is_of_unknown_method(error)
                raise PoolError(f"mining.subscribe: {error}")
            case Asked.SUBSCRIBE:
                self._on_subscribed(read_subscription(message.result))
            case Asked.AUTHORIZE | Asked.LOGIN if error is not None or message.result is not True:
                self.knows_other_methods = asked is Asked.LOGIN and _is_of_unknown_method(error or "")
                self.is_refused = not self.knows_other_methods
                raise PoolError(f"the pool does not let {self._login.user!r} in: {error or 'it answered false'}")
            case Asked.LOGIN:
                self._ask(Asked.GET_WORK, "ckb_getWork", None)
            case Asked.GET_WORK if isinstance(message.result, dict):
                self._on_get_work(message.result)
            case Asked.SHARE:
                self._on_share(message.result, error)

    def _on_subscribed(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._ask(Asked.AUTHORIZE, "mining.authorize", [self._login.user, self._login.password])
        if subscription.form is PoolForm.NICEHASH:
            self._ask(Asked.EXTRANONCE, "mining.extranonce.subscribe", [])
        self._assign()

    def _on_share(self, result: Any, error: str | None) -> None:
        self.unanswered -= 1
        if error is None and result is True:
            self._desk.accepted("share")
        else:
            self._desk.rejected(error or "the pool answered false")

    # ------------------------------------------------ what the pool says unasked

    def _on_method(self, method: str, message: _Message) -> None:
        params = message.params if isinstance(message.params, list) else []
        match method:
            case "mining.notify":
                self._on_job(params)
            case "mining.set_target":
                is_reversed = self._subscription is not None and self._subscription.has_little_endian_targets
                self._target = target_of_text(_at(params, 0), is_little_endian=is_reversed)
                self._assign()
            case "mining.set_difficulty":
                self._target = target_of_difficulty(_at(params, 0))
                self._assign()
            case "mining.set_extranonce" if self._subscription is not None:
                prefix = read_prefix(_at(params, 0), _at(params, 1))
                self._subscription = self._subscription.with_prefix(prefix)
                self._assign()
            case "mining.ping":
                self._reply(message.id, "pong")
            case "client.get_version":
                self._reply(message.id, self._login.agent)
            case "client.reconnect":
                raise PoolError("the pool asks for another connection")
            case "client.show_message" if self._messages < MAX_MESSAGES:
                self._messages += 1
                log.info("the pool says", text=_text(_at(params, 0)))

    def _on_job(self, params: Sequence[Any]) -> None:
        job, pow_hash = _at(params, 0), _at(params, 1)
        if not isinstance(job, str) or not 0 < len(job) <= MAX_JOB_CHARS:
            raise PoolError("mining.notify has no job's name")
        _hash_of(pow_hash)
        self._job = params[:5]
        self._assign()

    def _on_get_work(self, result: dict[str, Any]) -> None:
        self._target = target_of_text(result.get("target"), is_little_endian=False)
        self._job = [result.get("pow_hash"), result.get("pow_hash")]
        _hash_of(self._job[1])
        self._assign()

    def _assign(self) -> None:
        """Give out the job, once all is known that belongs to it."""
        if self._job is None or self._subscription is None:
            return
        target = self._target or self._target_in_job()
        if target is None:
            return
        number = _at(self._job, 2)
        self.has_work = True
        self._desk.assign(
            Work(
                _hash_of(self._job[1]),
                target,
                self._subscription.prefix,
                self._job[0],
                number if type(number) is int and 0 <= number < 1 << 64 else None,
            )
        )

    def _target_in_job(self) -> int | None:
        """The K7's pools have one there instead of the parent's hash. What `mining.set_target` says counts more."""
        text = _at(self._job or (), 3)
        if self._subscription is None or len(self._subscription.prefix) != 8:
            return None
        try:
            return target_of_text(text, is_little_endian=self._subscription.has_little_endian_targets)
        except PoolError:
            return None

    # ------------------------------------------------ what we say

    @property
    def _is_get_work(self) -> bool:
        return self._subscription is not None and self._subscription.form is PoolForm.GET_WORK

    def _ask(self, asked: Asked, method: str, params: Any) -> None:
        number, self._next_id = self._next_id, self._next_id + 1
        self._asked.put(number, asked)
        self._send(msgspec.json.encode({"id": number, "method": method, "params": params}))

    def _reply(self, number: Any, result: str) -> None:
        if isinstance(number, int | str):
            self._send(msgspec.json.encode({"id": number, "result": result, "error": None}))


def _text(value: Any) -> str:
    return value[:500] if isinstance(value, str) else "nothing that is text"


def _at(params: Sequence[Any], index: int) -> Any:
    return params[index] if len(params) > index else None


def _hash_of(text: Any) -> bytes:
    digits = text.removeprefix("0x") if isinstance(text, str) and len(text) <= 2 + 2 * HASH_SIZE else ""
    try:
        found = bytes.fromhex(digits)
    except ValueError:
        found = b""
    if len(found) != HASH_SIZE or len(digits) != 2 * HASH_SIZE:
        raise PoolError("a pow hash is no text of 64 hexadecimal digits")
    return found


def _error_text(error: Any) -> str | None:
    """`[21, "low difficulty", null]` or {"code": 21, "message": …} as text."""
    match error:
        case None | False | "" | []:
            return None
        case [int() | str() as code, str(message), *_] | {"code": int() | str() as code, "message": str(message)}:
            return f"{str(code)[:20]}: {message[:200]}"
        case str(message):
            return message[:200]
    return "an error without a text"


def _is_of_unknown_method(error: str) -> bool:
    return any(hint in error.lower() for hint in _HINTS_OF_UNKNOWN)
