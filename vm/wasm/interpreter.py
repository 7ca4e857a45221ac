"""Generates the interpreter: a WebAssembly module that runs guest code until something stops it.

The guest's registers, page flags and memory, and the blocks decoded so far, live in the linear memory
(`vm.wasm.layout`). The exported function `run() -> status` begins at PC with REMAINING cycles, and writes both back.
"""

from typing import Final

from vm.constants import MEMORY_SIZE
from vm.isa.profile import Isa
from vm.wasm import layout as at
from vm.wasm.decoder import generate_decoder
from vm.wasm.emitter import I32, I64, Function, Label, Local, Module, Value, const, if_else, load
from vm.wasm.handlers import Handlers
from vm.wasm.status import Status
from vm.wasm.tables import OP_COUNT, compressed_table, op_info, word_tables
from vm.wasm.words import generate_words

GENERATOR_VERSION: Final = 7  # part of the key of cached modules: change it whenever the generated code changes

_ZERO: Final = const(I32, 0)


def generate_interpreter(version: int, isa: Isa) -> bytes:
    """The module for machine `version`."""
    module = Module(at.MEMORY_PAGES)
    decode_block = generate_decoder(module, version)
    _generate_run(module, decode_block, version, isa)
    generate_words(module)
    words, groups = word_tables(version, isa)
    module.data(at.COMPRESSED, compressed_table(version))
    module.data(at.WORD_OPS, words)
    module.data(at.GROUPS, groups)
    module.data(at.OP_INFO, op_info(version))
    return module.encode()


def _generate_run(module: Module, decode_block: Function, version: int, isa: Isa) -> None:
    f = module.function((), (I32,), export="run")
    ip, status, cost = f.local(I32), f.local(I32), f.local(I32)
    target, remaining = f.local(I64), f.local(I64)
    handlers = Handlers(module, f, version, isa, ip, target, status)
    f.set(target, load(I64, 8, _ZERO, at.PC))
    f.set(remaining, load(I64, 8, _ZERO, at.REMAINING))
    with f.block() as leave:
        handlers.leave = leave
        with f.loop() as enter:
            enter_block(f, handlers, decode_block, cost, remaining)
            with f.loop() as following:
                dispatch(f, handlers, enter, following)
    f.store(8, _ZERO, target.value, at.PC)
    f.store(8, _ZERO, remaining.value, at.REMAINING)
    f.return_(status.value)
    f.unreachable()


def enter_block(f: Function, h: Handlers, decode_block: Function, cost: Local, remaining: Local) -> None:
    """Find or decode the block at `target`, charge it, and set `ip` to its first entry."""
    target, ip = h.target.value, h.ip.value
    halved = h.a  # a multiple of two becomes its half; an odd number becomes huge
    with f.if_(f.tee(halved, target.binary("rotr", 1)).compare("ge_u", MEMORY_SIZE // 2)):
        _find_unusual_block(f, h)
        f.else_()
        f.set(h.ip, load(I32, 4, halved.value.wrap() << 2, at.BLOCKS))
        if h.has_slots:
            f.set(h.high, 0)
    with f.if_(ip.eqz()):
        f.set(h.ip, f.call(decode_block, target.wrap()))
        f.set(h.status, load(I32, 4, _ZERO, at.FAULT_STATUS))
        f.branch_if(h.leave, ip.eqz())
    f.set(cost, load(I32, 4, ip, at.BLOCK_COST))
    if h.has_slots:
        f.store(4, _slot(target.wrap()), target.wrap() + 1, at.SLOTS)
    with f.if_(remaining.value.compare("lt_u", cost.value.extend_u())):
        f.store(4, _ZERO, cost.value, at.REFUSED_COST)
        _leave(f, h, Status.CYCLES)
    f.set(remaining, remaining.value - cost.value.extend_u())
    f.set(h.ip, ip + at.BLOCK_HEADER)


def _find_unusual_block(f: Function, h: Handlers) -> None:
    """Set `ip` for a target that is odd or outside of the memory. See `ReferenceMachine._block_at`."""
    target = h.target.value
    with f.if_(target.compare("ge_u", MEMORY_SIZE)):
        if h.has_slots:
            f.set(h.high, target & (0xFFFF_FFFF << 32))
            is_cached = load(I32, 4, _slot(target.wrap()), at.SLOTS).compare("eq", target.wrap() + 1)
            with f.if_((target.wrap().compare("lt_u", MEMORY_SIZE) & is_cached).eqz()):
                _leave(f, h, Status.OUT_OF_BOUND)
        else:
            _leave(f, h, Status.OUT_OF_BOUND)
        if h.has_slots:
            f.else_()
            f.set(h.high, 0)
    index = target.wrap().shr_u(1) << 2
    is_odd = target.wrap() & 1
    f.set(h.ip, if_else(is_odd, load(I32, 4, index, at.BLOCKS_ODD), load(I32, 4, index, at.BLOCKS)))


def _slot(address: Value) -> Value:
    return address & ((at.SLOT_COUNT - 1) << 2)


def _leave(f: Function, h: Handlers, status: Status) -> None:
    f.set(h.status, status)
    f.branch(h.leave)


def dispatch(f: Function, h: Handlers, enter: Label, following: Label) -> None:
    """Jump to the handler of the entry at `ip`. Handlers are nested blocks: each lies behind the end of its own."""
    ops = sorted(h.table)

    def nest(count: int, labels: dict[int, Label]) -> None:
        """The first `count` handlers; those of the others have labels."""
        if not count:
            never = labels[ops[-1]]
            f.branch_table(load(I32, 1, h.ip.value), [labels.get(op, never) for op in range(OP_COUNT)], never)
            return
        op = ops[count - 1]
        with f.block() as label:
            nest(count - 1, {**labels, op: label})
        ends_block = h.table[op]()
        if ends_block:
            f.branch(enter)
        else:
            f.set(h.ip, h.ip.value + at.ENTRY_SIZE)
            f.branch(following)

    nest(len(ops), {})
    f.unreachable()
