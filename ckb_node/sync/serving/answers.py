"""Works out answers to peers in turns, a slice at a time, at the pace that is set.

A question is taken apart on the network's thread, which costs little, and put in its peer's line. Its answer is worked
out in reader threads, in slices of a few milliseconds, one slice at a time: next comes the peer that has had the least
time. So many askers wait for each other, and the node does not wait for them: between slices are pauses, so that
readers get only a share of the time that one thread has. Time is taken as it passes, so where a reader must wait for
busier threads it gets less, not more.

A peer with too many open questions is not read on (`Peer.hold`), nor is anything worked out for one that does not take
what was sent. Nobody is punished for asking much.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from ckb_node.sync.serving.chain import ReadChain
from ckb_node.sync.serving.errors import RefusedQuestion, UnansweredQuestion
from ckb_node.sync.serving.pace import Answer, Line, PaceLimits, Question, Work, spend_ms
from ckb_node.sync.upload import Upload, UploadKind
from consensus.lookup import ChainDataError
from network.limits import FILTER, ProtocolSpec
from network.peer import MessageTooLarge, Peer, Scheduler, Timer
from network.peers.penalties import apply_penalty
from storage.chain_store import ChainView
from storage.errors import StorageError

__all__ = ["Answers"]

log = structlog.get_logger("serving")


@dataclass(frozen=True, slots=True)
class _Slice:
    """How far a slice came: to the end with the message, if there is one, or with an error."""

    seconds: float
    is_end: bool
    message: bytes | None = None
    error: Exception | None = None


class Answers:
    """Shared by the handlers of protocols that are served alike. All is called on the network's thread but `_work`."""

    def __init__(
        self, chain: ReadChain, scheduler: Scheduler, limits: PaceLimits, upload: Upload | None = None
    ) -> None:
        """`upload` is shared with others."""
        now = scheduler.now()
        self._chain, self._scheduler, self._limits = chain, scheduler, limits
        self._lines: Final[dict[int, Line]] = {}
        self._time: Final = limits.time_of_all(now)
        self._bytes: Final = limits.bytes_of_all(now)
        self._upload: Final = upload or Upload()
        for kind in (UploadKind.FILTER, UploadKind.LIGHT_CLIENT):
            self._upload.served[kind].waiting = partial(self._waiting_of, kind)
        self._working: Line | None = None
        self._timer: Timer | None = None
        self._used = 0.0
        self._is_stopped = False
        self.answered = 0
        """Messages that were sent."""
        self.sent_bytes = 0

    @property
    def open_questions(self) -> int:
        """Those that wait, and those that are in work."""
        return sum(len(line.questions) for line in self._lines.values())

    def _waiting_of(self, kind: UploadKind) -> int:
        return sum(_kind_of(each.protocol) is kind for line in self._lines.values() for each in line.questions)

    def ask(self, peer: Peer, protocol: ProtocolSpec, work: Work, price: float) -> None:
        """Work out a message and send it to the peer. `price`: seconds that it will take, about."""
        if self._is_stopped:
            return
        line = self._lines.get(peer.session_id)
        if line is None:
            line = Line.of(peer, self._limits, self._scheduler.now(), self._used)
            self._lines[peer.session_id] = line
        elif not line.questions:
            line.used = max(line.used, self._used)
        self._upload.served[_kind_of(protocol)].asked += 1
        line.protocols.add(protocol)
        line.questions.append(Question(protocol, work, price))
        if len(line.questions) >= self._limits.max_questions and protocol not in line.held:
            line.held.add(protocol)
            peer.hold(protocol)
        self._go_on()

    def closed(self, peer: Peer, protocol: ProtocolSpec) -> None:
        """The peer gets no more answers on this protocol."""
        line = self._lines.get(peer.session_id)
        if line is None:
            return
        first = line.questions[0] if line.questions else None
        kept = [each for each in line.questions if each.protocol is not protocol]
        if first is not None and first.protocol is protocol:
            if line is self._working:
                line.is_dropped = True
                kept.insert(0, first)
            else:
                line.drop()
        line.questions.clear()
        line.questions.extend(kept)
        line.held.discard(protocol)
        line.protocols.discard(protocol)
        if not line.protocols:
            del self._lines[peer.session_id]
        self._release(line)

    def stop(self) -> None:
        """No more answers. What a thread works at ends with its slice."""
        self._is_stopped = True
        self._cancel_timer()
        for line in self._lines.values():
            if line is self._working:
                line.is_dropped = True
            else:
                line.drop()
        self._lines.clear()

    # One slice after the other

    def _go_on(self) -> None:
        """Begin the next slice, now or when it may begin."""
        if self._working is not None or self._is_stopped:
            return
        self._cancel_timer()
        now = self._scheduler.now()
        pause = max(self._time.wait(now), self._bytes.wait(now), self._upload.wait(now))
        waiting = [line for line in self._lines.values() if line.questions]
        if not waiting:
            return
        ready = [] if pause > 0 else list(self._ready(waiting, now))
        if ready:
            self._start(min(ready, key=lambda line: line.used))
            return
        if pause <= 0:
            pause = min(line.wait(now) or self._limits.poll for line in waiting)
        self._timer = self._scheduler.call_later(pause, self._go_on)

    def _ready(self, waiting: list[Line], now: float) -> Iterator[Line]:
        """Those that may be served now."""
        limits = self._limits
        dear = sum(line.answer is not None and line.questions[0].price >= limits.dear for line in waiting)
        for line in waiting:
            may_begin = line.answer is not None or dear < limits.max_dear or line.questions[0].price < limits.dear
            if may_begin and line.wait(now) <= 0 and line.peer.queued_bytes <= limits.max_unsent:
                yield line

    def _start(self, line: Line) -> None:
        self._working = line
        self._used = max(self._used, line.used)
        try:
            answer = line.answer or line.begin(self._chain.view())
        except StorageError as error:
            self._scheduler.call_later(0.0, partial(self._worked, line, error))
            return
        self._chain.read(partial(self._work, answer), partial(self._worked, line))

    def _work(self, answer: Answer, _view: ChainView) -> _Slice:
        """In a thread. The view of the answer itself stays the same from slice to slice."""
        now = self._scheduler.now
        begun = now()
        try:
            while True:
                next(answer)
                if (spent := now() - begun) >= self._limits.slice:
                    return _Slice(spent, is_end=False)
        except StopIteration as end:
            return _Slice(now() - begun, is_end=True, message=end.value)
        except (RefusedQuestion, UnansweredQuestion, StorageError, ChainDataError) as error:
            return _Slice(now() - begun, is_end=True, error=error)

    def _worked(self, line: Line, result: _Slice | Exception) -> None:
        if isinstance(result, Exception):
            result = _Slice(0.0, is_end=True, error=result)
        self._working = None
        now = self._scheduler.now()
        line.spend_time(result.seconds, now)
        spend_ms(self._time, result.seconds, now)
        if line.is_dropped:
            line.drop()
            line.questions.popleft()
        elif result.is_end:
            line.drop()
            self._finish(line, line.questions.popleft(), result)
        self._release(line)
        self._go_on()

    # What becomes of an answer

    def _finish(self, line: Line, question: Question, result: _Slice) -> None:
        if result.error is not None:
            self._upload.served[_kind_of(question.protocol)].refused += 1
            self._tell(line.peer, question.protocol, result.error)
        elif result.message is not None:
            self._send(line, question.protocol, result.message)

    def _send(self, line: Line, protocol: ProtocolSpec, message: bytes) -> None:
        try:
            if not line.peer.send(protocol, message):
                return
        except MessageTooLarge as error:  # it would cost the peer its session, and is not its fault
            log.debug("an answer is too large to be sent", peer=line.peer.session_id, size=error.size)
            return
        self.answered += 1
        self.sent_bytes += len(message)
        now = self._scheduler.now()
        line.spend_bytes(len(message), now)
        self._bytes.spend(len(message), now)
        self._upload.sent(_kind_of(protocol), len(message), now)

    def _tell(self, peer: Peer, protocol: ProtocolSpec, error: Exception) -> None:
        if isinstance(error, RefusedQuestion):
            apply_penalty(peer, error.misbehaviour, error.detail)
        elif isinstance(error, UnansweredQuestion):
            log.debug("a question is not answered", peer=peer.session_id, protocol=protocol.name, reason=error.reason)
        else:
            log.warning("a question cannot be answered", protocol=protocol.name, error=repr(error))

    def _release(self, line: Line) -> None:
        """Read the peer on, when there is room for its questions again."""
        if line.held and len(line.questions) <= self._limits.max_questions // 2:
            for protocol in line.held:
                line.peer.release(protocol)
            line.held.clear()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _kind_of(protocol: ProtocolSpec) -> UploadKind:
    return UploadKind.FILTER if protocol is FILTER else UploadKind.LIGHT_CLIENT
