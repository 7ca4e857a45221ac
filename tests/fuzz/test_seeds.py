"""Seeds that once failed stay equal on all engines; and the comparison sees what differs."""

import pytest

from tests.fuzz.__main__ import read_seeds
from tests.fuzz.compare import Engines, MachineFactory, Seed, compare
from vm import Machine
from vm.constants import FLAG_FREEZED
from vm.isa.profile import Isa


@pytest.fixture(scope="module")
def engines() -> dict[str, Engines]:
    return Engines.for_all_kinds()


@pytest.mark.parametrize("seed", read_seeds(), ids=str)
def test_engines_agree(engines: dict[str, Engines], seed: Seed) -> None:
    _, differences = compare(engines[seed.kind], seed)
    assert differences == []


@pytest.mark.parametrize("what", ["register", "cycles", "memory", "flags"])
def test_differences_are_seen(what: str) -> None:
    engines = Engines(Isa.CKB)
    honest = engines.factories["wasm"]

    def lying(version: int, max_cycles: int) -> Machine:
        machine = honest(version, max_cycles)
        match what:
            case "register":
                machine.set_register(28, 1)
            case "cycles":
                machine.add_cycles_unchecked(1)
            case "memory":
                machine.memory.data[0x3F0000] = 1
            case _:
                machine.memory.flags[0x3F0] = FLAG_FREEZED
        return machine

    factory: MachineFactory = lying
    engines.factories = {"reference": engines.factories["reference"], "wasm": factory}
    _, differences = compare(engines, Seed("flow", 2, 2))
    assert [difference.engine for difference in differences] == ["wasm"]
