"""One connection of a miner, as a state machine: lines in, lines out. No sockets and no clock of its own."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Protocol

import structlog

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.stratum.desk import Desk
from ckb_node.stratum.dialects import COMMON, dialect_of
from ckb_node.stratum.dialects.dialect import (
    Action,
    BadMessageError,
    Dialect,
    Fault,
    Hello,
    Request,
    Submitted,
    Task,
    hello_of,
    hex_bytes,
    read_request,
)
from ckb_node.stratum.found import FoundBlock
from ckb_node.stratum.gate import Allowance
from ckb_node.stratum.handout import Job, Wanted, job_for
from ckb_node.stratum.jobs import Round
from ckb_node.stratum.limits import BAD_SHARES, JUNK_POINTS, LOGIN_SECONDS, ROUNDS, USERS_OF_CONNECTION
from ckb_node.stratum.nonces import nonce1_of
from ckb_node.stratum.payout import PayoutError, payout_of
from ckb_node.stratum.shares import Verdict
from ckb_node.stratum.vardiff import Vardiff, hashes_of, target_hashes
from ckb_node.stratum.workers import Worker
from consensus.types.blockchain import Script

log = structlog.get_logger("stratum")

_START: Final = re.compile(r"d=(\d{1,18}(?:\.\d{1,9})?)")
"""In the password: the difficulty to begin with."""

_FAULTS: Final = {
    Verdict.STALE: Fault.STALE,
    Verdict.LOW: Fault.LOW,
    Verdict.DUPLICATE: Fault.DUPLICATE,
    Verdict.UNKNOWN_JOB: Fault.STALE,
}


class Wire(Protocol):
    """The connection, as the session sees it."""

    def send(self, data: bytes) -> None:
        """Whole lines."""
        ...

    def drop(self, reason: str, *, is_ban: bool = False) -> None:
        """Disconnect; `is_ban`: and keep the address away for a while."""
        ...


class _NoWire:
    """A `Wire` that leads nowhere."""

    def send(self, data: bytes) -> None:
        """To nobody."""

    def drop(self, reason: str, *, is_ban: bool = False) -> None:
        """Nobody is left."""


class Issued(NamedTuple):
    """A job that this miner was given. `target`: the easiest with which it was."""

    round: Round
    job: Job
    target: int


class Session:
    """Belongs to the event loop. Call `close` at the end."""

    def __init__(self, desk: Desk, wire: Wire) -> None:
        self._desk = desk
        self._wire: Wire = wire
        now_s = desk.monotonic_s()
        self.number: Final = desk.nonces.take()
        self.agent = ""
        self._dialect: Dialect = COMMON
        self._hello: Hello | None = None
        self._is_subscribed = False
        self._time_offset = 0
        self._lock: Script | None = None
        self._users: Final[dict[str, Worker]] = {}
        self._issued: Final[BoundedMap[str, Issued]] = BoundedMap(max_count=ROUNDS)
        self._last: Task | None = None
        self._target = 0
        self._vardiff: Final = Vardiff(desk.rules.vardiff, now_s)
        self._allowance: Final = Allowance(now_s)
        self._junk = self._bad_shares = 0
        self._heard_s = self._since_s = now_s

    @property
    def dialect(self) -> str:
        """Its name."""
        return self._dialect.name

    @property
    def has_own_header(self) -> bool:
        """Nothing of ours is in its nonces: its jobs are for it alone."""
        return self._time_offset > 0

    @property
    def is_working(self) -> bool:
        """It has subscribed and said who it is."""
        return self._is_subscribed and bool(self._users)

    def close(self) -> None:
        """The connection has ended. It and this do not hold each other any more: thousands a second may come."""
        self._wire = _NoWire()
        self._desk.nonces.give_back(self.number)
        if self._time_offset:
            self._desk.times.give_back(self._time_offset)
        for worker in self._users.values():
            worker.connections -= 1

    # ------------------------------------------------------------ lines of the miner

    def line(self, line: bytes) -> None:
        """A line without its end."""
        now_s = self._desk.monotonic_s()
        if not self._allowance.take(now_s):
            self._wire.drop("too many messages")
            return
        if not line.strip():
            return
        self._heard_s = now_s
        try:
            request = read_request(line)
        except BadMessageError as error:
            self._refuse_junk(None, str(error), is_ban=True)
            return
        if self._hello is None:
            self._begin(hello_of(request))
        try:
            self._act(request)
        except BadMessageError as error:
            self._refuse_junk(request, str(error), is_ban=False)

    def junk(self, reason: str) -> None:
        """What came is no line at all."""
        self._wire.drop(reason, is_ban=True)

    def _refuse_junk(self, request: Request | None, text: str, *, is_ban: bool) -> None:
        """Whose nonces have the wrong length may share its address with a farm: only what is no message bans."""
        self._wire.send(self._dialect.refusal(None if request is None else request.id, Fault.OTHER, text))
        self._junk += 1
        if self._junk >= JUNK_POINTS:
            self._wire.drop("too many messages that make no sense", is_ban=is_ban)

    def _begin(self, hello: Hello) -> None:
        """The first message, or the first subscribe, tells the dialect."""
        self._hello, self.agent = hello, hello.agent
        self._dialect = dialect_of(hello)

    def _act(self, request: Request) -> None:
        action = self._dialect.actions.get(request.method)
        match action:
            case Action.SUBMIT:
                self._submit(request)
            case Action.SUBSCRIBE:
                self._subscribe(request)
            case Action.AUTHORISE | Action.LOGIN:
                self._authorise(request, is_login=action is Action.LOGIN)
            case Action.GET_WORK:
                self._get_work(request)
            case Action.SUGGEST_DIFFICULTY | Action.SUGGEST_TARGET:
                self._suggest(request, is_target=action is Action.SUGGEST_TARGET)
            case Action.NOTE:
                self._wire.send(self._dialect.answer(request.id, True))
            case Action.CONFIGURE:
                self._wire.send(self._dialect.answer(request.id, {}))
            case None:  # firmware asks for many things
                self._wire.send(self._dialect.refusal(request.id, Fault.OTHER, "unknown method"))

    # ------------------------------------------------------------ who it is

    def _subscribe(self, request: Request) -> None:
        if not self._is_subscribed:
            self._begin(hello_of(request))  # some authorise first, which says nothing of the dialect
            self._join()
        hello = self._hello
        assert hello is not None  # noqa: S101 - `line` has set it
        nonce1 = nonce1_of(self.number, self._dialect.nonce1_size)
        self._wire.send(self._dialect.answer(request.id, self._dialect.subscribed(hello, nonce1)))
        if self._dialect.starts_at_subscribe or self.is_working:
            self._start()

    def _join(self) -> None:
        """Raises BadMessageError when there is no room for a miner of this dialect."""
        if not self._dialect.nonce1_size:
            offset = self._desk.times.take()
            if offset is None:
                raise BadMessageError("too many miners of this kind")
            self._time_offset = offset
        self._is_subscribed = True

    def _authorise(self, request: Request, *, is_login: bool) -> None:
        user, password = self._dialect.read_user(request)
        rules = self._desk.rules
        try:
            lock = payout_of(rules.policy, user, rules.network)
        except PayoutError as error:
            self._refuse_user(request, str(error))
            return
        if self._users and _raw(lock) != _raw(self._lock):
            self._refuse_user(request, "all workers of a connection are paid to one address")
            return
        if user not in self._users and len(self._users) >= USERS_OF_CONNECTION:
            self._refuse_user(request, f"a connection has at most {USERS_OF_CONNECTION} workers")
            return
        if is_login and not self._is_subscribed:
            self._join()
        self._lock = lock
        if user not in self._users:
            worker = self._users[user] = self._desk.workers.of(user)
            worker.connections += 1
        if (start := _START.search(password[:64])) is not None:
            self._vardiff.suggest(hashes_of(float(start[1])), self._desk.monotonic_s())
        self._wire.send(self._dialect.answer(request.id, True))
        if self._is_subscribed:
            self._start()

    def _refuse_user(self, request: Request, text: str) -> None:
        """Counted as junk, so that nobody tries names without end."""
        self._wire.send(self._dialect.refusal(request.id, Fault.UNAUTHORISED, text))
        self._junk += 1
        if self._junk >= JUNK_POINTS:
            self._wire.drop("too many users refused", is_ban=True)

    def _suggest(self, request: Request, *, is_target: bool) -> None:
        value = request.items[0] if request.items else None
        if is_target:
            hashes = target_hashes(int.from_bytes(hex_bytes(value, "the target", 32), "big"))
        elif isinstance(value, int | float) and 0 < value <= 1e18:
            hashes = hashes_of(value)
        else:
            raise BadMessageError("the difficulty must be a number above 0")
        self._vardiff.suggest(hashes, self._desk.monotonic_s())
        self._wire.send(self._dialect.answer(request.id, True))
        if self.is_working:
            self._send_job(is_clean=False)

    # ------------------------------------------------------------ jobs

    def _start(self) -> None:
        """Target and job for one who just came; also once more: a miner may have read over the first."""
        self._target = 0
        self._send_job(is_clean=True)

    def new_round(self, *, is_clean: bool) -> None:
        """There is a new template."""
        if self.is_working or (self._is_subscribed and self._dialect.starts_at_subscribe):
            self._send_job(is_clean=is_clean)

    def look(self) -> None:
        """Every few seconds: is it gone, is its difficulty right?"""
        now_s = self._desk.monotonic_s()
        if not self.is_working:
            if now_s - self._since_s > LOGIN_SECONDS:
                self._wire.drop("no authorised user in time")
        elif now_s - self._heard_s > self._desk.rules.idle_s:
            self._wire.drop("idle for too long")
        elif self._vardiff.look(now_s):
            self._send_job(is_clean=False)

    def _send_job(self, *, is_clean: bool) -> None:
        """The current round's, with the target before it when that is another."""
        round_ = self._desk.rounds.current
        if round_ is None:
            return
        target = max(self._vardiff.target, round_.prepared.target)
        told = target if self._dialect.has_target_in_job else 0
        job = job_for(round_, Wanted(self._dialect, self._lock, self._time_offset, told, is_clean))
        known = self._issued.get(job.key)  # given with another target before: shares of either are right
        easiest = target if known is None else max(target, known.target)
        self._issued.put(job.key, Issued(round_, job, easiest))
        line = job.line if target == self._target else self._with_target(target, job.line)
        self._last = job.task
        self._desk.jobs_sent += 1
        self._wire.send(line)

    def _with_target(self, target: int, line: bytes) -> bytes:
        """It is another than the last."""
        self._target = target
        for worker in self._users.values():
            worker.target = target
        return self._dialect.target(target) + line

    def _get_work(self, request: Request) -> None:
        if not self.is_working:
            self._wire.send(self._dialect.refusal(request.id, Fault.UNAUTHORISED))
        elif self._last is None:
            self._wire.send(self._dialect.refusal(request.id, Fault.OTHER, "there is no job yet"))
        else:
            self._wire.send(self._dialect.answer(request.id, self._dialect.work(self._last)))

    # ------------------------------------------------------------ shares

    def _submit(self, request: Request) -> None:
        if not self._is_subscribed:
            self._refuse(request, Fault.NOT_SUBSCRIBED)
            return
        share = self._dialect.read_share(request, nonce1_of(self.number, self._dialect.nonce1_size))
        worker = self._worker_of(share)
        if worker is None:
            self._refuse(request, Fault.UNAUTHORISED)
            return
        issued = self._issued.get(share.key)
        verdict = Verdict.UNKNOWN_JOB if issued is None else self._judge(issued, share)
        hashes = 0 if issued is None else target_hashes(issued.target)
        desk = self._desk
        desk.workers.note(worker, verdict, hashes, desk.monotonic_s(), desk.now_ms())
        if verdict is Verdict.BLOCK and issued is not None:
            self._right(hashes)
            self._solved(request, issued, share, worker)
        elif verdict is Verdict.ACCEPTED:
            self._right(hashes)
            self._wire.send(self._dialect.answer(request.id, True))
            self._look_at_difficulty()
        else:
            self._refuse(request, _FAULTS[verdict])

    def _worker_of(self, share: Submitted) -> Worker | None:
        """Who handed it in; dialects that do not say have one user."""
        if share.user is None:
            return next(iter(self._users.values()), None)
        return self._users.get(share.user)

    def _judge(self, issued: Issued, share: Submitted) -> Verdict:
        desk = self._desk
        return desk.judge.verdict(
            issued.round,
            issued.job.task.pow_hash,
            (self._time_offset, share.nonce),
            max(issued.target, self._target if issued.round.superseded_s is None else 0),
            is_stale=issued.round.is_stale(desk.monotonic_s(), desk.rules.grace_s),
        )

    def _right(self, hashes: int) -> None:
        self._vardiff.note(hashes)
        self._bad_shares = max(0, self._bad_shares - 1)

    def _look_at_difficulty(self) -> None:
        if self._vardiff.look(self._desk.monotonic_s()):
            self._send_job(is_clean=False)

    def _refuse(self, request: Request, fault: Fault) -> None:
        self._wire.send(self._dialect.refusal(request.id, fault))
        self._bad_shares += 1
        if self._bad_shares >= BAD_SHARES:
            self._wire.drop("too many wrong shares")

    def _solved(self, request: Request, issued: Issued, share: Submitted, worker: Worker) -> None:
        """Submit first, answer when the chain has decided."""
        block = issued.job.work.solved(share.nonce, self._time_offset)
        found = FoundBlock(block.number, block.hash, worker.name, self._desk.now_ms())
        self._desk.found.add(found)
        self._desk.solve(block, found, lambda: self._decided(request, found))

    def _decided(self, request: Request, found: FoundBlock) -> None:
        answer = self._dialect.answer(request.id, True)
        if not found.is_taken:
            answer = self._dialect.refusal(request.id, Fault.OTHER, f"the block is refused: {found.error}"[:200])
        self._wire.send(answer)


def _raw(lock: Script | None) -> bytes | None:
    return None if lock is None else lock.raw
