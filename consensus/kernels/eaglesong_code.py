"""Generates Eaglesong for four messages side by side: word i of all four states is one vector.

One round is the body of a loop, since all rounds in a straight line were slower. Round constants lie in memory, four
times each. Addresses of the module's memory are those of `Layout`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from struct import Struct
from typing import Final

from consensus.codec.layout import HEADER_SIZE
from consensus.crypto.eaglesong import CONSTANTS, DELIMITER, RATE_WORDS, ROTATIONS, STATE_WORDS
from consensus.crypto.hashing import HASH_SIZE
from consensus.kernels import simd
from consensus.kernels.blake2b_code import WORKSPACE, Blake2b
from consensus.kernels.matrix import MATRIX_RESULTS, MATRIX_STEPS
from vm.wasm.emitter import I32, I64, PAGE, V128, Function, Local, Module, Value, const, load

LANES: Final = 4
_VECTOR: Final = 16  # bytes
_STATE_BYTES: Final = STATE_WORDS * _VECTOR
_CONSTANTS_BYTES: Final = len(CONSTANTS) * _STATE_BYTES

NONCE_SIZE: Final = 16
_WORK_SIZE: Final = HASH_SIZE + NONCE_SIZE
_UNMINED_SIZE: Final = HEADER_SIZE - NONCE_SIZE  # what the pow hash covers
_COMPACT_TARGET_AT: Final = 4
_MAX_EXPONENT: Final = 32
_MANTISSA_SIZE: Final = 3

MAX_HEADERS: Final = 2048
"""Headers a call takes; a message of header sync has at most 2,000."""
MESSAGE_BYTES: Final = 1 << 16
"""Padded bytes that a call of `absorb` takes at most."""


class Layout(IntEnum):
    """Where things lie."""

    CONSTANTS = 0
    STATE = _CONSTANTS_BYTES
    MIDSTATE = STATE + _STATE_BYTES
    WORK = MIDSTATE + _STATE_BYTES  # the messages of four lanes: pow hash and nonce each
    DIGEST = WORK + LANES * _WORK_SIZE  # of one lane, in the order of its bytes
    TARGET = DIGEST + HASH_SIZE  # big-endian, then room for the mantissa's bytes that an exponent below 3 cuts off
    BLAKE2B = TARGET + HASH_SIZE + 16
    INPUT = -(-(BLAKE2B + WORKSPACE) // PAGE) * PAGE
    END = INPUT + max(MESSAGE_BYTES, MAX_HEADERS * HEADER_SIZE)


CODE_DIGEST: Final = "92a0b66b8b551d59"
"""Of the generated code: names it where it is kept compiled. A test says what it has become."""

_ZERO: Final = const(I32, 0)
_DELIMITER_WORD: Final = simd.splat(const(I32, DELIMITER))

WordsAt = Callable[[Function, int], Value]
"""The words of all lanes at an offset of their messages."""
CounterWords = Callable[[Function, Local], Iterator[Value]]
"""The two words of all lanes that hold a counter and the numbers behind it."""


def generate_eaglesong() -> bytes:
    """The module. It exports

    - `absorb(blocks)`: takes blocks of 32 bytes at INPUT into lane 0 of STATE;
    - `check(count, is_blake2b) -> index`: the first header at INPUT without its work, or `count`;
    - `search(low, count, is_blake2b) -> offset`: the first nonce from `low` on, modulo 2⁶⁴, whose work for WORK's pow
      hash and the upper half of WORK's nonce meets TARGET, or `count`;
    - `search_tail`: the same for a big-endian number in the last 8 bytes of the nonce; the first 8 are WORK's.
    """
    module = Module(-(-Layout.END // PAGE))
    packed = Struct("<I")
    module.data(Layout.CONSTANTS, b"".join(packed.pack(word) * LANES for words in CONSTANTS for word in words))
    _Generator(module).generate()
    return module.encode()


class _Generator:
    def __init__(self, module: Module) -> None:
        self.module = module
        blake2b = Blake2b(module, Layout.BLAKE2B)
        self.pow_hash, self.hash_digest = blake2b.hasher(_UNMINED_SIZE), blake2b.hasher(HASH_SIZE)
        self.permute = self._permute()
        self.lane_meets_target = self._lane_meets_target()
        self.expand_target = self._expand_target()

    def generate(self) -> None:
        self._absorb()
        self._check()
        self._search("search", 0, _low_words)
        self._search("search_tail", 2, _tail_words)

    def _permute(self) -> Function:
        """The 43 rounds over STATE."""
        f = self.module.function((), ())
        state = [f.local(V128) for _ in range(STATE_WORDS)]
        at = f.local(I32)
        for i, word in enumerate(state):
            f.set(word, simd.load(_ZERO, Layout.STATE + i * _VECTOR))
        with f.loop() as next_round:
            _round(f, state, at)
            f.branch_if(next_round, f.tee(at, at.value + _STATE_BYTES).compare("ne", _CONSTANTS_BYTES))
        for i, word in enumerate(state):
            simd.store(f, _ZERO, word.value, Layout.STATE + i * _VECTOR)
        return f

    def _absorb(self) -> None:
        f = self.module.function((I32,), (), export="absorb")
        left, at = f.param(0), f.local(I32)
        with f.block() as done, f.loop() as following:
            f.branch_if(done, left.value.eqz())
            for i in range(RATE_WORDS):
                read = simd.load_lane(simd.splat(_ZERO), 0, at.value, Layout.INPUT + 4 * i)
                _add_to_state(f, i, simd.swap_bytes(f, read))
            f.call_into((), self.permute)
            f.set(at, at.value + 4 * RATE_WORDS)
            f.set(left, left.value - 1)
            f.branch(following)

    def _check(self) -> None:
        f = self.module.function((I32, I32), (I32,), export="check")
        count, is_blake2b = f.param(0), f.param(1)
        index, lane = f.local(I32), f.local(I32)
        header = (index.value + lane.value) * HEADER_SIZE + Layout.INPUT
        with f.loop() as following:
            with _each_lane(f, index, count, lane):
                work = lane.value * _WORK_SIZE + Layout.WORK
                f.call_into((), self.pow_hash, header, work)
                simd.store(f, work, simd.load(header, _UNMINED_SIZE), HASH_SIZE)
            self._absorb_pow_hash(f, _gathered_work)
            for i in range(NONCE_SIZE // 4):
                _add_to_state(f, i, _gathered_work(f, HASH_SIZE + 4 * i))
            _add_to_state(f, NONCE_SIZE // 4, _DELIMITER_WORD)
            f.call_into((), self.permute)
            with _each_lane(f, index, count, lane):
                f.call_into((), self.expand_target, load(I32, 4, header, _COMPACT_TARGET_AT))
                with f.if_(f.call(self.lane_meets_target, lane.value, is_blake2b.value).eqz()):
                    f.return_(index.value + lane.value)
            f.branch_if(following, f.tee(index, index.value + LANES).compare("lt_u", count.value))
        f.return_(count.value)

    def _search(self, export: str, counted: int, counter_words: CounterWords) -> None:
        """The pow hash fills the first block, so its permutation is the same for all nonces: one each remains. Of the
        nonce's four words `counted` and the next one are the counter's."""
        f = self.module.function((I64, I32, I32), (I32,), export=export)
        low, count, is_blake2b = f.param(0), f.param(1), f.param(2)
        offset, lane, bound = f.local(I32), f.local(I32), f.local(V128)
        self._absorb_pow_hash(f, _same_work)
        for i in {0, 1, 2, 3} - {counted, counted + 1}:
            _add_to_state(f, i, _same_work(f, HASH_SIZE + 4 * i))
        _add_to_state(f, NONCE_SIZE // 4, _DELIMITER_WORD)
        _copy_state(f, Layout.STATE, Layout.MIDSTATE)
        f.set(bound, simd.swap_bytes(f, simd.splat(load(I32, 4, _ZERO, Layout.TARGET))))
        with f.loop() as following:
            _copy_state(f, Layout.MIDSTATE, Layout.STATE)
            for i, words in enumerate(counter_words(f, low)):
                _add_to_state(f, counted + i, words)
            f.call_into((), self.permute)
            # The digest's first four bytes decide nearly always, all lanes at once; not if it is hashed again.
            first = simd.swap_bytes(f, simd.load(_ZERO, Layout.STATE))
            may_be_found = simd.any_true(simd.le_u(first, bound.value)) | is_blake2b.value
            with f.if_(may_be_found), _each_lane(f, offset, count, lane):
                is_found = f.call(self.lane_meets_target, lane.value, is_blake2b.value)
                with f.if_(is_found):
                    f.return_(offset.value + lane.value)
            f.set(low, low.value + LANES)
            f.branch_if(following, f.tee(offset, offset.value + LANES).compare("lt_u", count.value))
        f.return_(count.value)

    def _absorb_pow_hash(self, f: Function, words_at: WordsAt) -> None:
        """Permute states that begin with the pow hashes."""
        for i in range(STATE_WORDS):
            words = words_at(f, 4 * i) if i < RATE_WORDS else simd.splat(_ZERO)
            simd.store(f, _ZERO, words, Layout.STATE + i * _VECTOR)
        f.call_into((), self.permute)

    def _lane_meets_target(self) -> Function:
        """`(lane, is_blake2b) -> i32`: whether the lane's digest does not exceed TARGET, which is not 0."""
        f = self.module.function((I32, I32), (I32,))
        lane, is_blake2b = f.param(0).value, f.param(1).value
        for i in range(RATE_WORDS):
            f.store(4, _ZERO, load(I32, 4, lane << 2, Layout.STATE + i * _VECTOR), Layout.DIGEST + 4 * i)
        with f.if_(is_blake2b):
            f.call_into((), self.hash_digest, const(I32, Layout.DIGEST), const(I32, Layout.DIGEST))
        at, ours, allowed = f.local(I32), f.local(I32), f.local(I32)
        with f.loop() as following:
            f.set(ours, load(I32, 1, at.value, Layout.DIGEST))
            f.set(allowed, load(I32, 1, at.value, Layout.TARGET))
            with f.if_(ours.value.compare("ne", allowed.value)):
                f.return_(ours.value.compare("lt_u", allowed.value))
            f.branch_if(following, f.tee(at, at.value + 1).compare("ne", HASH_SIZE))
        has_target = simd.any_true(simd.load(_ZERO, Layout.TARGET))
        f.return_(has_target | simd.any_true(simd.load(_ZERO, Layout.TARGET + _VECTOR)))
        return f

    def _expand_target(self) -> Function:
        """`(compact target)`: sets TARGET as `consensus.crypto.difficulty.compact_to_target` says."""
        f = self.module.function((I32,), ())
        compact, at = f.param(0).value, f.local(I32)
        for part in (0, _VECTOR):
            simd.store(f, _ZERO, simd.splat(_ZERO), Layout.TARGET + part)
        exponent = compact.shr_u(24)
        with f.if_(exponent.compare("le_u", _MAX_EXPONENT)):
            f.set(at, const(I32, _MAX_EXPONENT) - exponent)
            for i in range(_MANTISSA_SIZE):
                f.store(1, at.value, compact.shr_u(8 * (_MANTISSA_SIZE - 1 - i)), Layout.TARGET + i)
        return f


def _round(f: Function, state: list[Local], constants: Local) -> None:
    """One round; `constants` is the address of its constants."""
    values = [word.value for word in state]
    for left, right in MATRIX_STEPS:
        value = f.local(V128)
        f.set(value, simd.xor(values[left], values[right]))
        values.append(value.value)
    words = [values[i] for i in MATRIX_RESULTS]
    for i, (word, (a, b)) in enumerate(zip(words, ROTATIONS, strict=True)):
        constant = simd.load(constants.value, Layout.CONSTANTS + i * _VECTOR)
        f.set(state[i], simd.xor(word, simd.rotl(f, word, a), simd.rotl(f, word, b), constant))
    for even, odd in zip(state[::2], state[1::2], strict=True):
        f.set(even, simd.rotl(f, simd.add(even.value, odd.value), 8))
        f.set(odd, simd.add(simd.rotl(f, odd.value, 24), even.value))


def _add_to_state(f: Function, word: int, vector: Value) -> None:
    at = Layout.STATE + word * _VECTOR
    simd.store(f, _ZERO, simd.xor(simd.load(_ZERO, at), vector), at)


def _copy_state(f: Function, source: int, target: int) -> None:
    for at in range(0, _STATE_BYTES, _VECTOR):
        simd.store(f, _ZERO, simd.load(_ZERO, source + at), target + at)


def _gathered_work(f: Function, at: int) -> Value:
    """Big-endian words at offset `at` of the four lanes' messages."""
    vector = simd.splat(_ZERO)
    for lane in range(LANES):
        vector = simd.load_lane(vector, lane, _ZERO, Layout.WORK + lane * _WORK_SIZE + at)
    return simd.swap_bytes(f, vector)


def _same_work(f: Function, at: int) -> Value:
    """The big-endian word at offset `at` of the first message, in all lanes."""
    return simd.swap_bytes(f, simd.splat(load(I32, 4, _ZERO, Layout.WORK + at)))


def _low_words(f: Function, low: Local) -> Iterator[Value]:
    """The nonces `low`, `low + 1` and so on: written little-endian, read big-endian."""
    for shift in (0, 32):
        yield simd.swap_bytes(f, _lanes_of(low, shift))


def _tail_words(_: Function, low: Local) -> Iterator[Value]:
    """The same, written big-endian too."""
    for shift in (32, 0):
        yield _lanes_of(low, shift)


def _lanes_of(low: Local, shift: int) -> Value:
    vector = simd.splat(_ZERO)
    for lane in range(LANES):
        vector = simd.replace_lane(vector, lane, (low.value + lane).shr_u(shift).wrap())
    return vector


@contextmanager
def _each_lane(f: Function, index: Local, count: Local, lane: Local) -> Iterator[None]:
    """Code that runs for lanes 0 to 3 while `index + lane` is below `count`, which `index` is."""
    f.set(lane, 0)
    with f.loop() as following:
        yield
        f.set(lane, lane.value + 1)
        is_there = (index.value + lane.value).compare("lt_u", count.value)
        f.branch_if(following, lane.value.compare("lt_u", LANES) & is_there)
