"""Engines of the VM, as verifiers take them."""

from __future__ import annotations

from functools import partial

from consensus.script.scheduler import MachineFactory
from tests.support.vm.translated import EagerHost
from vm.isa.profile import Isa
from vm.reference.engine import ReferenceMachine
from vm.translator.machine import AutoMachine
from vm.wasm.machine import WasmMachine


def machine_factories(isa: Isa = Isa.CKB) -> dict[str, MachineFactory]:
    """Engines by name. `auto` is a choice among the others, made by use; here everything is translated at once."""
    host = EagerHost(isa=isa)
    return {
        "reference": partial(ReferenceMachine, isa=isa),
        "wasm": partial(WasmMachine, host.runtime),
        "translated": partial(AutoMachine, host),
    }
