"""The interpreter that works together with translated code: slot 0 of its function table.

It is the interpreter of `vm.wasm.interpreter`, spoken to as translated functions are (`vm.translator.layout`). It
begins at PC. Where it comes to a translated function it calls that, where translated code waits for a return it
returns.
"""

from typing import Final

from vm.constants import MEMORY_SIZE
from vm.isa.profile import Isa
from vm.translator import layout as to
from vm.wasm import layout as at
from vm.wasm.decoder import generate_decoder
from vm.wasm.emitter import I32, I64, Function, Label, Local, Module, Value, const, if_else, load
from vm.wasm.handlers import Handlers
from vm.wasm.interpreter import dispatch, enter_block
from vm.wasm.tables import compressed_table, op_info, word_tables
from vm.wasm.words import generate_words

_ZERO: Final = const(I32, 0)


def generate_hosted_interpreter(version: int, isa: Isa) -> bytes:
    """The module for machine `version`. Exports memory, the function `interpret` and the table `translated`, whose
    only element is called to run translated code at PC."""
    module = Module(to.MEMORY_PAGES)
    table = module.table(1, export="translated")
    decode_block = generate_decoder(module, version)
    _HostedInterpreter(module, decode_block, table, version, isa).generate()
    generate_words(module)
    words, groups = word_tables(version, isa)
    module.data(at.COMPRESSED, compressed_table(version))
    module.data(at.WORD_OPS, words)
    module.data(at.GROUPS, groups)
    module.data(at.OP_INFO, op_info(version))
    return module.encode()


class _HostedInterpreter:
    def __init__(self, module: Module, decode_block: Function, table: int, version: int, isa: Isa) -> None:
        self.module, self.decode_block, self.table = module, decode_block, table
        self.f = f = module.function(to.PARAMS, to.RESULTS, export="interpret")
        self.remaining, self.depth = f.param(0), f.param(1)
        self.skip, self.cost = f.local(I32), f.local(I32)
        self.may_leave = f.local(I32)  # whether to look for translated code before the next block
        self.hands_over, self.known = f.local(I32), f.local(I32)
        ip, status, target = f.local(I32), f.local(I32), f.local(I64)
        self.handlers = Handlers(module, f, version, isa, ip, target, status)

    def generate(self) -> None:
        f, h = self.f, self.handlers
        f.set(h.target, load(I64, 8, _ZERO, at.PC))
        f.set(self.hands_over, load(I32, 4, _ZERO, to.PURE).eqz())
        f.set(self.skip, load(I32, 4, _ZERO, to.RESUME))
        with f.block() as leave:
            h.leave = leave
            with f.loop() as enter:
                with f.block() as at_entry:
                    self._resume(at_entry)
                    self._hand_over(enter)
                    f.set(
                        self.may_leave, self.hands_over.value
                    )  # the first block is always run here: there is progress
                    enter_block(f, h, self.decode_block, self.cost, self.remaining)
                with f.loop() as following:
                    dispatch(f, h, enter, following)
        f.store(8, _ZERO, h.target.value, at.PC)
        f.store(4, _ZERO, h.status.value, to.STATUS)
        f.return_(const(I64, to.ENDED), self.remaining.value)
        f.unreachable()

    def _resume(self, at_entry: Label) -> None:
        """Go on in the middle of the block at PC, if translated code left there."""
        f, h = self.f, self.handlers
        with f.if_(self.skip.value):
            index = h.target.value.wrap().shr_u(1) << 2
            f.set(h.ip, load(I32, 4, index, at.BLOCKS))
            with f.if_(h.ip.value.eqz()):
                f.set(h.ip, f.call(self.decode_block, h.target.value.wrap()))
            f.set(h.ip, h.ip.value + self.skip.value)
            f.set(h.high, 0)
            f.set(self.skip, 0)
            f.store(4, _ZERO, _ZERO, to.RESUME)
            f.set(self.may_leave, self.hands_over.value)
            f.branch(at_entry)

    def _hand_over(self, enter: Label) -> None:
        """Return or call, if translated code is concerned with the block at `target`."""
        f, h, known = self.f, self.handlers, self.known
        with f.if_(self.may_leave.value):
            f.set(known, function_at(h.target))
            with f.if_(known.value):
                is_too_deep = self.depth.value.compare("lt_s", to.MAX_FRAME + to.INTERPRETER_FRAME)
                with f.if_(known.value.compare("ge_u", to.RETURN_SITE) | is_too_deep):
                    f.return_(h.target.value, self.remaining.value)
                f.store(8, _ZERO, h.target.value, at.PC)
                self._call_translated(h.target)
                with f.if_(load(I32, 4, _ZERO, to.STATUS)):
                    f.return_(h.target.value, self.remaining.value)
                f.branch(enter)

    def _call_translated(self, target: Local) -> None:
        type_index = self.module.type_index(to.PARAMS, to.RESULTS)
        budget = self.depth.value - to.INTERPRETER_FRAME
        results = (target, self.remaining)
        self.f.call_indirect_into(results, type_index, self.table, _ZERO, self.remaining.value, budget)


def function_at(target: Local) -> Value:
    """What MAP says about the address in `target`, as i32: 0 for odd addresses and those outside of the memory."""
    is_usual = target.value.binary("rotr", 1).compare("lt_u", MEMORY_SIZE // 2)
    return if_else(is_usual, load(I32, 2, target.value.wrap(), to.MAP), _ZERO)
