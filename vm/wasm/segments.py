"""Generates what parses and loads the segments of programs that have thousands. `vm.elf` and `vm.memory` say what it
means.

`exec` of VM version 1 is charged some 500 cycles however many segments the program has, so a segment takes some
nanoseconds. Parsing is a module of its own, since no machine is needed for it; loading belongs to the interpreter's.
"""

from typing import Final

from vm.constants import (
    FLAG_DIRTY,
    FLAG_EXECUTABLE,
    FLAG_FREEZED,
    MEMORY_SIZE,
    PAGE_SHIFT,
    PAGE_SIZE,
    VERSION0,
)
from vm.elf import PF_R, PF_W, PF_X, PROGRAM_HEADER_SIZE, PT_LOAD
from vm.segments import ACTION, ADDRESS_AT, END_AT, FLAGS_AT, OFFSET_AT, SIZE_AT, START_AT
from vm.wasm import layout as at
from vm.wasm.emitter import I32, I64, PAGE, Function, Local, Module, Value, const, load, select

# What parsing and loading refuse, in place of a size.
OUTSIDE_OF_FILE, UNREADABLE, WRITABLE_AND_EXECUTABLE = -1, -2, -3
OUT_OF_BOUND, FREEZED, EXECUTABLE = -1, -2, -3

MAX_HEADERS: Final = 0xFFFF  # what an ELF file can count
_PARSER_PAGES: Final = -(-MAX_HEADERS * PROGRAM_HEADER_SIZE // PAGE)
_TYPE_AND_FLAGS_AT, _FILE_OFFSET_AT, _VADDR_AT, _FILE_SIZE_AT, _MEMORY_SIZE_AT = 0, 8, 16, 32, 40
_ZERO: Final = const(I32, 0)


def generate_parser() -> bytes:
    """A module that exports `parse(count, rotation, file_size, version) -> i64`.

    Program headers at address 0 become actions there, of which the size in bytes is returned, or what is refused. The
    type of a header is the low half of its first word after a rotation of `rotation` bits.
    """
    module = Module(_PARSER_PAGES)
    f = module.function((I32, I64, I64, I64), (I64,), export="parse")
    here, end, out = f.local(I32), f.local(I32), f.local(I32)
    head = f.local(I64)
    f.set(end, f.param(0).value * PROGRAM_HEADER_SIZE)
    with f.block() as done, f.loop() as next_header:
        f.branch_if(done, here.value.compare("ge_u", end.value))
        f.set(head, load(I64, 8, here.value, _TYPE_AND_FLAGS_AT).binary("rotl", f.param(1).value))
        with f.if_(head.value.wrap().compare("eq", PT_LOAD)):
            _parse_header(f, here.value, head.value, out)
        f.set(here, here.value + PROGRAM_HEADER_SIZE)
        f.branch(next_header)
    f.return_(out.value.extend_u())
    f.unreachable()
    return module.encode()


def _parse_header(f: Function, here: Value, head: Value, out: Local) -> None:
    """`vm.elf._loading_action`, and whether it is idle."""
    file_size, version = f.param(2).value, f.param(3).value
    padding, address, size, start, end = (f.local(I64) for _ in range(5))
    permissions = f.local(I32)
    f.set(address, load(I64, 8, here, _VADDR_AT))
    f.set(padding, address.value & (PAGE_SIZE - 1))
    f.set(address, address.value - padding.value)
    f.set(size, load(I64, 8, here, _MEMORY_SIZE_AT) + padding.value + (PAGE_SIZE - 1) & -PAGE_SIZE)
    f.set(start, load(I64, 8, here, _FILE_OFFSET_AT))
    f.set(end, start.value + load(I64, 8, here, _FILE_SIZE_AT))
    outside = start.value.compare("gt_u", end.value) | end.value.compare("gt_u", file_size)
    _refuse(f, outside, OUTSIDE_OF_FILE)
    f.set(permissions, head.shr_u(32).wrap())
    _refuse(f, (permissions.value & PF_R).eqz(), UNREADABLE)
    both = PF_W | PF_X
    _refuse(f, (permissions.value & both).compare("eq", both), WRITABLE_AND_EXECUTABLE)
    is_thawed = (permissions.value & PF_W).compare("ne", 0) & version.compare("ne", VERSION0)
    flags = select(is_thawed, const(I32, 0), const(I32, FLAG_FREEZED))
    flags = select(permissions.value & PF_X, const(I32, FLAG_EXECUTABLE | FLAG_FREEZED), flags)
    is_nothing = (size.value | padding.value | (start.value ^ end.value)).eqz()
    with f.if_((is_nothing & address.value.compare("le_u", MEMORY_SIZE)).eqz()):
        for position, value in (
            *((ADDRESS_AT, address.value), (SIZE_AT, size.value), (FLAGS_AT, flags.extend_u())),
            *((START_AT, start.value), (END_AT, end.value), (OFFSET_AT, padding.value)),
        ):
            f.store(8, out.value, value, position)
        f.set(out, out.value + ACTION.size)


def generate_load(module: Module) -> Function:
    """`(count, source, version) -> i64`: the bytes read from the file, or what is refused. For an empty memory.

    The actions lie at SEGMENTS, the file at `source`. Which pages are frozen or have content is remembered: only those
    must be looked at when another segment covers them. Content is zeroed once, however often it is covered.
    """
    find_page = _generate_find_page(module)
    f = module.function((I64, I64, I64), (I64,))
    here, end, total = f.local(I32), f.local(I32), f.local(I64)
    first, last, flags = f.local(I32), f.local(I32), f.local(I32)
    f.memory_fill(const(I32, at.OCCUPIED_PAGES), _ZERO, const(I32, at.PAGE_SET_SIZE))
    f.set(here, at.SEGMENTS)
    f.set(end, here.value + f.param(0).value.wrap() * ACTION.size)
    with f.block() as done, f.loop() as next_action:
        f.branch_if(done, here.value.compare("ge_u", end.value))
        _check_range(f, here.value, first, last)
        _clear_pages(f, find_page, first.value, last.value)
        _copy_content(f, here.value)
        f.set(total, total.value + load(I64, 8, here.value, END_AT) - load(I64, 8, here.value, START_AT))
        with f.if_(f.tee(flags, load(I32, 4, here.value, FLAGS_AT))):
            _freeze(f, first, last.value, flags.value)
        has_padding = load(I64, 8, here.value, OFFSET_AT).compare("ne", 0)
        is_stored_to = has_padding & f.param(2).value.compare("eq", VERSION0)
        _refuse(f, is_stored_to & (flags.value & FLAG_EXECUTABLE).compare("ne", 0), EXECUTABLE)
        f.set(here, here.value + ACTION.size)
        f.branch(next_action)
    f.return_(total.value)
    f.unreachable()
    return f


def _generate_find_page(module: Module) -> Function:
    """`(first, last) -> i32`: the first page of [first, last) that is occupied, else `last`."""
    f = module.function((I32, I32), (I32,))
    here, last = f.param(0), f.param(1).value
    count, bits = f.local(I32), f.local(I64)
    with f.block() as none, f.loop() as next_word:
        f.branch_if(none, here.value.compare("ge_u", last))
        in_word = const(I32, 64) - (here.value & 63)
        f.set(count, last - here.value)
        f.set(count, select(count.value.compare("lt_u", in_word), count.value, in_word))
        word = load(I64, 8, here.value.shr_u(6) << 3, at.OCCUPIED_PAGES)
        f.set(bits, word.shr_u(here.value.extend_u()) << (const(I32, 64) - count.value).extend_u())
        f.set(here, here.value + count.value)
        f.branch_if(next_word, bits.value.eqz())
        f.return_(here.value - 64 + bits.value.unary("ctz").wrap())
    f.return_(last)
    f.unreachable()
    return f


def _check_range(f: Function, here: Value, first: Local, last: Local) -> None:
    """Set `first` and `last` to the pages [first, last) of an action."""
    address, size = f.local(I64), f.local(I64)
    f.set(address, load(I64, 8, here, ADDRESS_AT))
    f.set(size, load(I64, 8, here, SIZE_AT))
    is_outside = address.value.compare("gt_u", MEMORY_SIZE)
    is_outside = is_outside | size.value.compare("gt_u", const(I64, MEMORY_SIZE) - address.value)
    _refuse(f, is_outside | load(I64, 8, here, OFFSET_AT).compare("gt_u", size.value), OUT_OF_BOUND)
    f.set(first, address.value.wrap().shr_u(PAGE_SHIFT))
    f.set(last, first.value + size.value.wrap().shr_u(PAGE_SHIFT))


def _clear_pages(f: Function, find_page: Function, first: Value, last: Value) -> None:
    """Make pages zero, unless one of them is frozen, which is refused."""
    page = f.local(I32)
    with f.if_(f.tee(page, f.call(find_page, first, last)).compare("ne", last)):
        with f.loop() as next_page:
            _refuse(f, load(I32, 1, page.value, at.FLAGS) & FLAG_FREEZED, FREEZED)
            f.set(page, f.call(find_page, page.value + 1, last))
            f.branch_if(next_page, page.value.compare("ne", last))
        f.set(page, f.call(find_page, first, last))
        with f.loop() as next_page:
            f.memory_fill((page.value << PAGE_SHIFT) + at.GUEST, _ZERO, const(I32, PAGE_SIZE))
            byte = page.value.shr_u(3)
            occupied = load(I32, 1, byte, at.OCCUPIED_PAGES)
            f.store(1, byte, occupied ^ _bit(page.value), at.OCCUPIED_PAGES)
            f.set(page, f.call(find_page, page.value, last))
            f.branch_if(next_page, page.value.compare("ne", last))


def _copy_content(f: Function, here: Value) -> None:
    """Of the bytes in the file those that fit."""
    target, size, room = f.local(I32), f.local(I64), f.local(I64)
    page, last = f.local(I32), f.local(I32)
    f.set(size, load(I64, 8, here, END_AT) - load(I64, 8, here, START_AT))
    f.set(room, load(I64, 8, here, SIZE_AT) - load(I64, 8, here, OFFSET_AT))
    f.set(size, select(size.value.compare("lt_u", room.value), size.value, room.value))
    with f.if_(size.value.compare("ne", 0)):
        f.set(target, (load(I64, 8, here, ADDRESS_AT) + load(I64, 8, here, OFFSET_AT)).wrap())
        source = (f.param(1).value + load(I64, 8, here, START_AT)).wrap()
        f.memory_copy(target.value + at.GUEST, source, size.value.wrap())
        f.set(page, target.value.shr_u(PAGE_SHIFT))
        f.set(last, (target.value + size.value.wrap() - 1).shr_u(PAGE_SHIFT))
        with f.loop() as next_page:
            f.store(1, page.value, load(I32, 1, page.value, at.FLAGS) | FLAG_DIRTY, at.FLAGS)
            _occupy(f, page.value)
            f.set(page, page.value + 1)
            f.branch_if(next_page, page.value.compare("le_u", last.value))


def _freeze(f: Function, page: Local, last: Value, flags: Value) -> None:
    """All flags that a segment has freeze its pages, so each page comes here once."""
    with f.block() as done, f.loop() as next_page:
        f.branch_if(done, page.value.compare("eq", last))
        f.store(1, page.value, load(I32, 1, page.value, at.FLAGS) | flags, at.FLAGS)
        _occupy(f, page.value)
        f.set(page, page.value + 1)
        f.branch(next_page)


def _occupy(f: Function, page: Value) -> None:
    byte = page.shr_u(3)
    f.store(1, byte, load(I32, 1, byte, at.OCCUPIED_PAGES) | _bit(page), at.OCCUPIED_PAGES)


def _bit(page: Value) -> Value:
    return const(I32, 1) << (page & 7)


def _refuse(f: Function, condition: Value, answer: int) -> None:
    with f.if_(condition):
        f.return_(const(I64, answer))
