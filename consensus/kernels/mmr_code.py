"""Generates the chain-root MMR (RFC 44): growth by a leaf; and bagging, where peaks are merged from the right, each as
the left of what it has.

Nodes are 120-byte HeaderDigests. The hashes of peaks are remembered in the module's memory by their place, since a peak
stays for as many blocks as it covers.
"""

from enum import IntEnum
from typing import Final

from consensus.codec.layout import (
    EPOCH_INDEX_SHIFT,
    EPOCH_LENGTH_SHIFT,
    EPOCH_NUMBER_MASK,
    EPOCH_PART_MASK,
    HEADER_DIGEST,
)
from consensus.crypto.hashing import HASH_SIZE, ckb_hash
from consensus.kernels.blake2b_code import WORKSPACE, Blake2b
from vm.wasm.emitter import I32, I64, PAGE, Function, Local, Module, Value, const, load

NODE_SIZE: Final = HEADER_DIGEST.size
MAX_PEAKS: Final = 64
"""A u64 of blocks has no more."""


class Field(IntEnum):
    """Where a node's fields begin."""

    CHILDREN_HASH = 0
    TOTAL_DIFFICULTY = 32
    START_NUMBER = 64
    END_NUMBER = 72
    START_EPOCH = 80
    END_EPOCH = 88
    START_TIMESTAMP = 96
    START_COMPACT_TARGET = 112


class Layout(IntEnum):
    """Where things lie in memory."""

    BLAKE2B = 0
    PAIR = WORKSPACE  # hashes of a left and a right node
    ROOT = PAIR + 2 * HASH_SIZE
    ROOT_HASH = ROOT + NODE_SIZE
    KNOWN = ROOT_HASH + HASH_SIZE  # peaks whose hashes are known
    KNOWN_HASHES = KNOWN + MAX_PEAKS * NODE_SIZE
    INPUT = KNOWN_HASHES + MAX_PEAKS * HASH_SIZE
    ADDED = INPUT + MAX_PEAKS * NODE_SIZE
    END = ADDED + MAX_PEAKS * NODE_SIZE


CODE_DIGEST: Final = "ca5861d0aafdbf5d"
"""Of the generated code: names it where it is kept compiled. A test says what it has become."""

_ZERO: Final = const(I32, 0)
_EPOCH_MASK: Final = (1 << 56) - 1  # number, index and length: 24, 16 and 16 bits
_DIFFICULTY_BYTES: Final = 32


def generate_mmr() -> bytes:
    """The module. Its functions return 0 if two nodes are not adjacent, or their total difficulty exceeds 256 bits.

    `bag(count) -> i32`: ROOT and ROOT_HASH of that many peaks at INPUT, at least one.
    `append(count, merges) -> i32`: of the leaf behind that many peaks at INPUT, the nodes that it completes together
    with the last ones, at ADDED; the last of them takes the place of the peaks that it merged.
    """
    module = Module(-(-Layout.END // PAGE))
    module.data(Layout.KNOWN_HASHES, ckb_hash(bytes(NODE_SIZE)) * MAX_PEAKS)
    blake2b = Blake2b(module, Layout.BLAKE2B)
    hash_node = blake2b.hasher(NODE_SIZE)
    merge = _generate_merge(module, hash_node, blake2b.hasher(2 * HASH_SIZE))
    _generate_bag(module, merge, hash_node)
    _generate_append(module, merge)
    return module.encode()


def _generate_bag(module: Module, merge: Function, hash_node: Function) -> None:
    f = module.function((I32,), (I32,), export="bag")
    place = f.local(I32)
    f.set(place, f.param(0).value - 1)
    _copy(f, _peak(place.value), _ZERO, NODE_SIZE, target_at=Layout.ROOT)
    with f.block() as done, f.loop() as following:
        f.branch_if(done, place.value.eqz())
        f.set(place, place.value - 1)
        with f.if_(f.call(merge, place.value).eqz()):
            f.return_(_ZERO)
        f.branch(following)
    f.call_into((), hash_node, const(I32, Layout.ROOT), const(I32, Layout.ROOT_HASH))
    f.return_(const(I32, 1))


def _generate_append(module: Module, merge: Function) -> None:
    f = module.function((I32, I32), (I32,), export="append")
    place, merges, added = f.param(0), f.param(1), f.local(I32)
    f.set(added, Layout.ADDED)
    _copy(f, _peak(place.value), _ZERO, NODE_SIZE, target_at=Layout.ROOT)
    with f.block() as done, f.loop() as following:
        f.branch_if(done, merges.value.eqz())
        f.set(merges, merges.value - 1)
        f.set(place, place.value - 1)
        with f.if_(f.call(merge, place.value).eqz()):
            f.return_(_ZERO)
        _copy(f, const(I32, Layout.ROOT), added.value, NODE_SIZE)
        f.set(added, added.value + NODE_SIZE)
        f.branch(following)
    _copy(f, const(I32, Layout.ROOT), _peak(place.value), NODE_SIZE)
    f.return_(const(I32, 1))


def _generate_merge(module: Module, hash_node: Function, hash_pair: Function) -> Function:
    """`(place) -> i32`: makes ROOT the parent of the peak there and what it was."""
    place_left_hash = _generate_place_left_hash(module, hash_node)
    f = module.function((I32,), (I32,))
    left = f.local(I32)
    f.set(left, _peak(f.param(0).value))
    _refuse_unless_adjacent(f, left.value)
    f.call_into((), place_left_hash, f.param(0).value)
    f.call_into((), hash_node, const(I32, Layout.ROOT), const(I32, Layout.PAIR + HASH_SIZE))
    f.call_into((), hash_pair, const(I32, Layout.PAIR), const(I32, Layout.ROOT + Field.CHILDREN_HASH))
    _add_difficulty(f, left.value)
    for field in (Field.START_NUMBER, Field.START_EPOCH, Field.START_TIMESTAMP):
        f.store(8, _ZERO, load(I64, 8, left.value, field), Layout.ROOT + field)
    start_target = load(I32, 4, left.value, Field.START_COMPACT_TARGET)
    f.store(4, _ZERO, start_target, Layout.ROOT + Field.START_COMPACT_TARGET)
    f.return_(const(I32, 1))
    return f


def _peak(place: Value) -> Value:
    return place * NODE_SIZE + Layout.INPUT


def _copy(f: Function, source: Value, target: Value, size: int, target_at: int = 0) -> None:
    for at in range(0, size, 8):
        f.store(8, target, load(I64, 8, source, at), target_at + at)


def _generate_place_left_hash(module: Module, hash_node: Function) -> Function:
    """`(place)`: puts the hash of a peak into the left half of PAIR."""
    f = module.function((I32,), ())
    peak, known, known_hash = f.local(I32), f.local(I32), f.local(I32)
    f.set(peak, _peak(f.param(0).value))
    f.set(known, f.param(0).value * NODE_SIZE + Layout.KNOWN)
    f.set(known_hash, f.param(0).value * HASH_SIZE + Layout.KNOWN_HASHES)
    difference = const(I64, 0)
    for at in range(0, NODE_SIZE, 8):
        difference = difference | load(I64, 8, peak.value, at) ^ load(I64, 8, known.value, at)
    with f.if_(difference.compare("ne", 0)):
        _copy(f, peak.value, known.value, NODE_SIZE)
        f.call_into((), hash_node, peak.value, known_hash.value)
    _copy(f, known_hash.value, _ZERO, HASH_SIZE, target_at=Layout.PAIR)
    return f


def _refuse_unless_adjacent(f: Function, left: Value) -> None:
    """Return 0 unless the blocks of ROOT follow those of the node `left`."""
    end, start = f.local(I64), f.local(I64)
    f.set(end, load(I64, 8, left, Field.END_NUMBER))
    is_last = end.value.compare("eq", -1)
    with f.if_(is_last | (end.value + 1).compare("ne", load(I64, 8, _ZERO, Layout.ROOT + Field.START_NUMBER))):
        f.return_(_ZERO)
    f.set(end, load(I64, 8, left, Field.END_EPOCH) & _EPOCH_MASK)
    f.set(start, load(I64, 8, _ZERO, Layout.ROOT + Field.START_EPOCH) & _EPOCH_MASK)
    with f.if_((end.value.eqz() | _is_next_of_epoch(end, start) | _is_first_of_next_epoch(end, start)).eqz()):
        f.return_(_ZERO)


def _ends_epoch(end: Local) -> Value:
    index, length = (end.value.shr_u(at) & EPOCH_PART_MASK for at in (EPOCH_INDEX_SHIFT, EPOCH_LENGTH_SHIFT))
    return (index + 1).compare("ge_u", length)


def _is_next_of_epoch(end: Local, start: Local) -> Value:
    follows = start.value.compare("eq", end.value + (1 << EPOCH_INDEX_SHIFT))
    return _ends_epoch(end).eqz() & follows


def _is_first_of_next_epoch(end: Local, start: Local) -> Value:
    follows = (start.value & EPOCH_NUMBER_MASK).compare("eq", (end.value & EPOCH_NUMBER_MASK) + 1)
    return _ends_epoch(end) & follows & (start.value & (EPOCH_PART_MASK << EPOCH_INDEX_SHIFT)).eqz()


def _add_difficulty(f: Function, left: Value) -> None:
    """Add the left node's total difficulty to that of ROOT; return 0 if 256 bits do not hold the sum."""
    low, high, carry = f.local(I64), f.local(I64), f.local(I64)
    f.set(carry, 0)
    for at in range(Field.TOTAL_DIFFICULTY, Field.TOTAL_DIFFICULTY + _DIFFICULTY_BYTES, 8):
        here = load(I64, 8, _ZERO, Layout.ROOT + at)
        f.add_with_carry(low, high, here, load(I64, 8, left, at), const(I64, 0))
        f.add_with_carry(low, carry, low.value, carry.value, high.value)
        f.store(8, _ZERO, low.value, Layout.ROOT + at)
    with f.if_(carry.value.compare("ne", 0)):
        f.return_(_ZERO)
