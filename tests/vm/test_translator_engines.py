"""Which programs are translated, where, and what is kept of it; bounds against hostile programs."""

import gc
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.vm.assembler import (
    BRANCH_OPS,
    CODE_BASE,
    ECALL,
    PF_R,
    PF_X,
    Segment,
    branch,
    elf,
    exit_with,
    imm,
    jal,
    lui,
    program,
    reg,
    store,
)
from vm import Engines, create_machine
from vm.errors import InvalidVersion
from vm.isa.profile import Isa
from vm.machine import Machine
from vm.reference.engine import ReferenceMachine
from vm.translator import engines as engines_module
from vm.translator.cache import TranslationCache, translation_key
from vm.translator.graph import Order, discover
from vm.translator.limits import Limits, TooLargeError
from vm.translator.translate import translate

LOOP = program(imm("addi", 5, 0, 1000) + imm("addi", 5, 5, -1) + branch("bne", 5, 0, -4) + exit_with())
PATIENCE = 60.0  # seconds for a translation in the background


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    with Engines(tmp_path / "cache", threshold=10_000) as made:
        yield made


def run(engines: Engines, file: bytes = LOOP, version: int = 2) -> Machine:
    machine = engines.create_machine(version, 100_000)
    machine.load_program(file, [])
    machine.run()
    return machine


def wait(engines: Engines) -> None:
    """Until nothing is being translated."""
    end = time.monotonic() + PATIENCE
    while engines.is_translating():
        assert time.monotonic() < end
        time.sleep(0.02)
        engines.poll()


def test_engines_by_name(engines: Engines) -> None:
    assert isinstance(engines.create_machine(2, 1, "reference"), ReferenceMachine)
    assert isinstance(create_machine(2, 1, "reference", engines), ReferenceMachine)
    for name in ("wasm", "auto"):
        assert create_machine(1, 7, name, engines).max_cycles == 7
    with pytest.raises(ValueError, match="no such engine"):
        engines.create_machine(2, 1, "other")
    with pytest.raises(InvalidVersion):
        engines.create_machine(3, 1)


def test_cycles_are_counted_when_they_are_worth_hashing_the_program(engines: Engines) -> None:
    run(engines, LOOP + bytes(1 << 20))
    assert engines.counters.interpreted_cycles == 0
    machine = run(engines, LOOP + bytes(1 << 10))
    assert engines.counters.interpreted_cycles == machine.cycles


def test_cycles_of_a_large_program_add_up(engines: Engines) -> None:
    """One that makes many system calls is counted, too."""
    file = program((imm("addi", 5, 5, 1) + ECALL) * 150) + bytes(1 << 13)
    machine = engines.create_machine(2, 100_000)
    machine.load_program(file, [])
    for _ in range(150):
        machine.run()
    counted = engines.counters.interpreted_cycles
    assert 0 <= machine.cycles - counted < len(file) // 16
    machine.reset()
    machine.load_program(LOOP + bytes(1 << 20), [])
    machine.run()
    assert engines.counters.interpreted_cycles == counted


def test_hot_programs_are_translated_beside(engines: Engines) -> None:
    cycles = run(engines).cycles
    run(engines)
    assert engines.counters.translations_started == 0
    run(engines)  # beyond the threshold
    assert engines.counters.translations_started == 1
    wait(engines)
    assert engines.counters.translations_finished == 1
    assert engines.is_translated(LOOP, 2)
    assert not engines.is_translated(LOOP, 1)
    before = engines.counters.interpreted_runs
    assert run(engines).cycles == cycles
    assert (engines.counters.translated_runs, engines.counters.interpreted_runs) == (1, before)


def test_translations_are_kept_between_processes(tmp_path: Path) -> None:
    with Engines(tmp_path) as first:
        first.translate(LOOP, 2)
    with Engines(tmp_path, threshold=10_000) as second:
        run(second)
        assert second.is_translated(LOOP, 2), "the disk is asked long before the threshold"
        assert second.counters.translations_started == 0
        assert second.counters.cache_hits == 1


def test_a_program_like_a_translated_one_is_another(engines: Engines) -> None:
    other = bytearray(LOOP)
    position = LOOP.index(imm("addi", 5, 0, 1000))
    other[position : position + 4] = imm("addi", 5, 0, 900)
    engines.translate(LOOP, 2)
    assert run(engines).cycles == run(engines).cycles != run(engines, bytes(other)).cycles


def test_without_a_directory_of_its_own() -> None:
    with Engines() as engines:
        engines.translate(LOOP, 2)
        directory = engines._cache.path("x").parent
        assert directory.stat().st_mode & 0o777 == 0o700
        assert engines.is_translated(LOOP, 2)
    assert not directory.exists()


def test_a_directory_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(PermissionError):
        Engines(tmp_path / "open")


def test_damaged_native_code_is_not_run(tmp_path: Path) -> None:
    with Engines(tmp_path) as engines:
        engines.translate(LOOP, 2)
    path = TranslationCache(tmp_path, 1 << 30).path(translation_key(LOOP, 2, Isa.CKB))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with Engines(tmp_path, threshold=10_000) as engines:
        run(engines)
        assert not engines.is_translated(LOOP, 2)
        engines.translate(LOOP, 2)
        assert engines.is_translated(LOOP, 2)


def test_keys_tell_apart_what_makes_a_difference() -> None:
    keys = {
        translation_key(file, version, isa) for file in (LOOP, LOOP + b"\0") for version in (0, 1, 2) for isa in Isa
    }
    assert len(keys) == 12


def test_what_was_not_used_longest_is_evicted(tmp_path: Path) -> None:
    cache = TranslationCache(tmp_path, 2500)
    for index, key in enumerate(("a", "b", "c")):
        cache.store(key, bytes(1000))
        os.utime(cache.path(key), (index, index)) if cache.path(key).exists() else None
        if key == "b":
            assert cache.load("a") == bytes(1000)  # used: b is older now
    assert cache.load("a") is not None
    assert cache.load("b") is None
    assert cache.load("c") is not None


@pytest.mark.parametrize(
    ("ending", "first", "again"),
    [
        ("sys.exit(3)", 1, 0),
        ("os.kill(os.getpid(), 24)", 1, 0),
        ("sys.exit(1)", 3, 3),
        ("os.kill(os.getpid(), 9)", 3, 3),
    ],
)
def test_failed_translations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, first: int, again: int
) -> None:
    """Those that would fail again are tried again by nobody, others a few times by each process."""
    (tmp_path / "failing_worker.py").write_text(f"import os, sys\n{ending}\n")
    monkeypatch.setattr(engines_module, "WORKER", "failing_worker")
    monkeypatch.syspath_prepend(tmp_path)
    directory = tmp_path / "cache"
    for expected in (first, again):
        with Engines(directory, threshold=10_000) as engines:
            for _ in range(12):
                run(engines)
                wait(engines)
            assert engines.counters.translations_started == engines.counters.translations_failed == expected
    assert not [path for path in directory.iterdir() if path.suffix in {".elf", ".tmp"}]


def test_translating_is_as_nice_as_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that writes down its arguments: the first is the niceness, which the real one takes on."""
    said = tmp_path / "said"
    (tmp_path / "saying_worker.py").write_text(
        f"import sys\ndef main(arguments):\n    open({str(said)!r}, 'w').write(arguments[0])\n"
    )
    monkeypatch.setattr(engines_module, "WORKER", "saying_worker")
    monkeypatch.syspath_prepend(tmp_path)
    with Engines(tmp_path / "cache", threshold=10_000, niceness=7) as engines:
        for _ in range(3):
            run(engines)
        wait(engines)
    assert said.read_text() == "7"


def test_a_stopped_translation_keeps_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stopping_worker.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(engines_module, "WORKER", "stopping_worker")
    with Engines(tmp_path / "cache", threshold=10_000) as engines:
        for _ in range(3):
            run(engines)
        wait(engines)
        assert engines.counters.translations_failed == 1


def test_without_room_for_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(engines_module, "start_child", no_room)
    with Engines(tmp_path / "cache", threshold=10_000) as engines:
        cycles = {run(engines).cycles for _ in range(12)}
        assert len(cycles) == 1
        assert engines.counters.translations_failed == 3


def test_a_directory_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk: verification goes on, and so does translating for this process."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        patch.setattr(os, "utime", full)
        with Engines(tmp_path / "cache", threshold=10_000) as engines:
            cycles = {run(engines).cycles for _ in range(3)}
            engines.translate(LOOP, 2)
            assert {run(engines).cycles} == cycles
    assert not list((tmp_path / "cache").iterdir())


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = [tmp_path / f"a.{gone.pid}.elf", tmp_path / f"b.{gone.pid}.tmp", tmp_path / "c.lock"]
    kept = [tmp_path / f"d.{os.getpid()}.tmp", tmp_path / "e.translated", tmp_path / "probe.tmp"]
    tmp_path.chmod(0o700)
    for path in (*left, *kept):
        path.write_bytes(b"")
    TranslationCache(tmp_path, 1000)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_close_ends_a_translation_under_way(tmp_path: Path) -> None:
    engines = Engines(tmp_path, threshold=10_000)
    for _ in range(3):
        run(engines)
    assert engines.is_translating()
    engines.close()
    assert not engines.is_translating()


def test_threads_share_engines(engines: Engines) -> None:
    engines.translate(LOOP, 2)
    cycles = run(engines).cycles
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: run(engines).cycles, range(400))) == {cycles}


def test_few_instances_are_kept(engines: Engines) -> None:
    engines.translate(LOOP, 2)
    machines = [run(engines) for _ in range(20)]
    del machines
    assert len(engines._idle) == 8
    run(engines)
    assert len(engines._idle) == 8


def test_few_instances_that_wrote_much_are_kept(engines: Engines) -> None:
    """What was written stays resident: 16 MiB of it may. One is enough for a program that runs itself again."""
    fill = lui(5, 0x100) + lui(6, 0x3F0) + store("sd", 5, 5, 0) + lui(7, 1) + reg("add", 5, 5, 7)
    file = program(fill + branch("bltu", 5, 6, -12) + exit_with())
    engines.translate(file, 2)
    machines = [run(engines, file) for _ in range(8)]
    del machines
    machine = run(engines, file)
    assert len(engines._idle) == 16 // 3 - 1, "each wrote almost 3 MiB, and one was taken"
    assert machine.memory.load64(0x3E0000) == 0x3E0000
    del machine
    engines.translate(LOOP, 2)
    machine = run(engines, file)
    assert machine.memory.load64(0x3F0000) == 0, "it was cleaned for another use"


def test_one_of_several_processes_translates(engines: Engines, tmp_path: Path) -> None:
    file, elf, output = LOOP + b"\0", tmp_path / "a.elf", tmp_path / "a.translated"
    elf.write_bytes(file)
    command = [sys.executable, "-m", "vm.translator.worker", "0", "2", Isa.CKB.value, str(elf), str(output)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(PATIENCE) for process in processes] == [0, 0]
    written = output.stat().st_mtime_ns
    assert subprocess.run(command, check=True).returncode == 0
    assert output.stat().st_mtime_ns == written
    assert sorted(path.name for path in tmp_path.glob("a.*")) == ["a.elf", "a.translated"]
    assert len(list(tmp_path.glob("*.cwasm"))) == 1, "the interpreter of that version"


def test_the_disk_is_asked_again_before_a_translation(tmp_path: Path) -> None:
    with Engines(tmp_path, threshold=10_000) as first, Engines(tmp_path, threshold=10_000) as second:
        run(second)  # asks the disk, in vain
        first.translate(LOOP, 2)
        for _ in range(4):
            run(second)
        assert second.is_translated(LOOP, 2)
        assert second.counters.translations_started == 0


def test_machines_in_reference_cycles(engines: Engines) -> None:
    """The garbage collector ends machines and native memory in any order."""
    engines.translate(LOOP, 2)
    expected = run(engines).memory.load_bytes(0, 1 << 20)
    for _ in range(50):
        cycle: list[object] = [run(engines) for _ in range(3)]
        cycle.append(cycle)
        del cycle
        gc.collect()
        assert run(engines).memory.load_bytes(0, 1 << 20) == expected


def test_engines_in_reference_cycles(tmp_path: Path) -> None:
    for _ in range(5):
        engines = Engines(tmp_path)
        engines.translate(LOOP, 2)
        cycle: list[object] = [engines, run(engines), run(engines)]
        cycle.append(cycle)
        engines.close()
        del cycle, engines
        gc.collect()


# Hostile programs


def any_register(rng: random.Random) -> int:
    return rng.randrange(5, 31)


def branches(rng: random.Random, count: int) -> list[bytes]:
    """Short blocks that branch to random others."""
    code = []
    for number in range(count):
        code += [reg("add", any_register(rng), any_register(rng), any_register(rng)) for _ in range(3)]
        target = rng.randrange(max(0, number - 200), min(count, number + 200))
        name = rng.choice(list(BRANCH_OPS))
        code.append(branch(name, any_register(rng), any_register(rng), (target - number) * 16 - 12))
    return code


def tails(rng: random.Random, count: int) -> list[bytes]:
    """Tiny functions that call each other and run into the next."""
    code = []
    for number in range(count):
        code += [reg("add", any_register(rng), any_register(rng), any_register(rng)) for _ in range(4)]
        call, jump = (rng.randrange(max(0, number - 100), min(count, number + 100)) - number for _ in range(2))
        code.append(jal(1, call * 28 - 16))
        code.append(branch("bne", any_register(rng), any_register(rng), jump * 28 + 4))
        code.append(reg("add", any_register(rng), any_register(rng), any_register(rng)))
    return code


def phases(rng: random.Random, count: int) -> list[bytes]:
    """Straight code that is entered at each instruction, so that blocks overlap in all ways."""
    code = [branch("beq", any_register(rng), any_register(rng), 4 * 900) for _ in range(900)]
    return code + [reg("add", any_register(rng), any_register(rng), any_register(rng)) for _ in range(count)]


def accesses(rng: random.Random, count: int) -> list[bytes]:
    """Loads and stores by ever changing addresses: each is checked."""
    loads = [imm("ld", any_register(rng), any_register(rng), 8 * rng.randrange(200)) for _ in range(count)]
    return [rng.choice((load, store("sd", any_register(rng), any_register(rng), 8))) for load in loads]


@pytest.mark.parametrize("make", [branches, tails, phases, accesses])
def test_translation_grows_with_the_program_only(make: object) -> None:
    assert callable(make)
    code = b"".join(make(random.Random(1), 1000)) + ECALL
    file = elf([Segment(CODE_BASE, code, PF_R | PF_X)])
    count = len(code) // 4
    limits = Limits()
    machine = ReferenceMachine(2, 0)
    machine.load_elf(file)
    graph = discover(machine.memory, machine.pc, (), 2, Isa.CKB, limits)
    assert set(graph.owners) <= set(graph.nodes), "one owner each"
    assert len(graph.nodes) <= count
    for entry, members in graph.functions().items():
        order = Order.of(graph.nodes, entry, set(members))
        assert len(members) <= limits.function_blocks
        assert sum(len(graph.nodes[pc].block.instructions) for pc in members) <= limits.function_instructions
        assert not order.irreducible_targets()
    translation = translate(file, 2)
    assert translation.instructions <= 16 * count
    assert len(translation.code) < 500 * count + 10_000


def test_large_programs_are_refused() -> None:
    file = elf([Segment(CODE_BASE, b"".join(branches(random.Random(1), 500)), PF_R | PF_X)])
    for limits in (Limits(blocks=100), Limits(instructions=100), Limits(functions=10)):
        with pytest.raises(TooLargeError):
            translate(file, 2, limits)
