"""`ckb-node debug`: transactions from files and nodes, bare programs, traces, breakpoints, profiles."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from ckb_node.jsonrpc_types.hex_text import bytes_text
from consensus.crypto.hashing import data_hash
from consensus.params import TYPE_ID_CODE_HASH
from consensus.script.syscalls.numbers import DEBUG, LOAD_BLOCK_EXTENSION, LOAD_HEADER
from consensus.script.verifier import ScriptVerifier
from consensus.types.blockchain import Script
from tests.commands.kit_debug import A0, CALLS, SP, cycles_in, file_of, folded, made
from tests.commands.mocks import mock_file, mock_json
from tests.support.builders.dev_transactions import payment
from tests.support.builders.scripts import (
    Chain,
    Env,
    make_header,
    script_for,
)
from tests.support.builders.wallet import BOB_KEY
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.directories import CLI, FAILURE, IO, OK, invoke
from tests.support.vm.assembler import exit_with, imm, jal, program
from tests.support.vm.script_programs import DATA, Program
from tests.support.vm.spawn_programs import exiting

SCRIPT_FAILED = 1


# ---------------------------------------------------------------- programs by themselves

ARGUMENT_COUNT = program(imm("ld", A0, SP, 0) + imm("addi", 17, 0, 93) + bytes.fromhex("73000000"))
"""Exits with argc. 12 bytes of code, one ld, one addi and one ecall."""


@pytest.mark.parametrize("engine", ["auto", "reference", "wasm"])
def test_a_program_with_arguments(tmp_path: Path, engine: str) -> None:
    result = invoke("debug", "--engine", engine, "--bin", file_of(tmp_path / "p", ARGUMENT_COUNT), "one", "--", "-two")
    assert result.exit_code == SCRIPT_FAILED
    # Stack: argc, two pointers and a null behind each other, then the strings: 32 + 4 + 5 bytes, 48 when aligned.
    assert "  exit code 2, " in result.stdout
    assert cycles_in(result.stdout) == [(12 + 48) // 4 + 2 + 1 + 500]
    assert result.stdout.endswith("failed: 518 cycles\n")


@pytest.mark.parametrize("vm_version", ["0", "1", "2"])
def test_the_version_of_the_vm(tmp_path: Path, vm_version: str) -> None:
    asking = Program()
    asking.syscall(2041)
    asking.exit_with_a0()
    result = invoke("debug", "--vm-version", vm_version, "--bin", file_of(tmp_path / "p", asking.elf()))
    if vm_version == "0":  # has no such system call
        assert "failed: VM Internal Error: InvalidEcall(2041)" in result.stdout
    else:
        assert f"exit code {vm_version}," in result.stdout


def test_what_scripts_print(tmp_path: Path) -> None:
    printing = Program(data="héllo \x1b[31m\nline".encode() + b"\0")
    printing.syscall(DEBUG, DATA)
    printing.exit(0)
    result = invoke("debug", "--bin", file_of(tmp_path / "p", printing.elf()))
    assert result.exit_code == OK
    assert "  debug: héllo \\x1b[31m\n  debug: line\n  exit code 0," in result.stdout


def test_the_limit_of_cycles(tmp_path: Path) -> None:
    endless = file_of(tmp_path / "p", program(jal(0, 0)))
    result = invoke("debug", "--bin", endless, "--max-cycles", "10000")
    assert (result.exit_code, result.stderr) == (SCRIPT_FAILED, "")
    assert "failed: ExceededMaximumCycles: expect cycles <= 10000" in result.stdout


# ---------------------------------------------------------------- transactions


@cache
def payment_cycles() -> int:
    """What the node charges."""
    return ScriptVerifier(dev_consensus(), Chain()).verify(payment(), Env(0), 70_000_000)


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_the_lock_of_the_dev_chain_at_its_exact_price(tmp_path: Path, engine: str) -> None:
    name = mock_file(tmp_path / "tx.json", mock_json(payment()))
    result = invoke("debug", "--engine", engine, "--tx-file", name)
    assert result.exit_code == OK
    assert cycles_in(result.stdout) == [payment_cycles()]
    assert result.stdout.startswith(
        "Inputs[0].Lock: code 0x9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8 type\n"
    )
    assert result.stdout.endswith(f"passed: {payment_cycles()} cycles\n")


def test_a_wrong_signature(tmp_path: Path) -> None:
    name = mock_file(tmp_path / "tx.json", mock_json(payment(BOB_KEY)))
    result = invoke("debug", "--tx-file", name)
    assert result.exit_code == SCRIPT_FAILED
    assert "exit code -31," in result.stdout


def test_a_profile_of_the_lock_accounts_for_every_cycle(tmp_path: Path) -> None:
    name = mock_file(tmp_path / "tx.json", mock_json(payment()))
    result = invoke("debug", "--tx-file", name, "--profile", str(tmp_path / "folded"))
    assert cycles_in(result.stdout) == [payment_cycles()]
    assert sum(folded((tmp_path / "folded").read_text()).values()) == payment_cycles()


def test_standard_input(tmp_path: Path) -> None:
    result = invoke("debug", "--tx-file", "-", stdin=json.dumps(mock_json(payment())))
    assert cycles_in(result.stdout) == [payment_cycles()]


GOOD, BAD = exiting(0).elf(), exiting(7).elf()
GROUPS = made(GOOD, BAD, lock=script_for(GOOD, 1), types=[script_for(BAD, 2), script_for(GOOD, 2, b"other")])


@pytest.mark.parametrize(
    ("options", "sources", "code"),
    [
        ((), ["Inputs[0].Lock", "Inputs[1].Type", "Outputs[1].Type"], SCRIPT_FAILED),
        (("--script-group-type", "lock"), ["Inputs[0].Lock"], OK),
        (("--script-group-type", "type"), ["Inputs[1].Type", "Outputs[1].Type"], SCRIPT_FAILED),
        (("--cell-index", "1"), ["Inputs[0].Lock", "Inputs[1].Type"], SCRIPT_FAILED),
        (("--cell-index", "0"), ["Inputs[0].Lock"], OK),
        (("--cell-type", "output"), ["Inputs[1].Type", "Outputs[1].Type"], SCRIPT_FAILED),
        (("--cell-type", "output", "--cell-index", "0"), ["Inputs[1].Type"], SCRIPT_FAILED),
        (("--cell-type", "output", "--cell-index", "1"), ["Outputs[1].Type"], OK),
    ],
)
def test_choice_of_groups(tmp_path: Path, options: tuple[str, ...], sources: list[str], code: int) -> None:
    result = invoke("debug", "--tx-file", mock_file(tmp_path / "tx.json", mock_json(GROUPS)), *options)
    assert sorted(re.findall(r"^(\S+): code", result.stdout, re.MULTILINE)) == sorted(sources)
    assert (result.exit_code, result.stderr) == (code, "")


def test_another_program_for_a_group(tmp_path: Path) -> None:
    name, other = mock_file(tmp_path / "tx.json", mock_json(GROUPS)), file_of(tmp_path / "p", exiting(9).elf())
    result = invoke("debug", "--tx-file", name, "--script-group-type", "lock", "--bin", other)
    assert "exit code 9," in result.stdout
    several = invoke("debug", "--tx-file", name, "--bin", other)
    assert several.exit_code == FAILURE
    assert "choose one of the groups Inputs[0].Lock, " in several.stderr


def test_headers_and_extensions(tmp_path: Path) -> None:
    header = make_header(number=5, epoch=1 << 40)
    reading = Program()
    reading.set64(DATA, 0x1000)
    reading.check(LOAD_HEADER, DATA + 8, DATA, 0, 0, 1, code=1)  # of the block of the first input
    reading.set64(DATA, 0x1000)
    reading.check(LOAD_BLOCK_EXTENSION, DATA + 8, DATA, 0, 0, 4, code=2)
    reading.load_byte(A0, DATA + 8)
    reading.exit_with_a0()
    lock = script_for(reading.elf(), 2)
    rtx = made(reading.elf(), lock=lock, header_deps=[header.hash], block_hash=header.hash)
    content = mock_json(rtx, [header], {header.hash: b"\x21abc"})
    result = invoke("debug", "--tx-file", mock_file(tmp_path / "tx.json", content))
    assert "exit code 33," in result.stdout
    del content["mock_info"]["extensions"]  # older files have none
    without = invoke("debug", "--tx-file", mock_file(tmp_path / "tx.json", content))
    assert "exit code 2," in without.stdout


def test_the_built_in_script(tmp_path: Path) -> None:
    built_in = Script(code_hash=bytes(25) + b"TYPE_ID", hash_type=1, args=bytes(32))
    rtx = made(GOOD, lock=script_for(GOOD, 2), types=[built_in])
    result = invoke("debug", "--tx-file", mock_file(tmp_path / "tx.json", mock_json(rtx)))
    assert (
        "Inputs[1].Type: code 0x00000000000000000000000000000000000000000000000000545950455f4944 type\n"
        in result.stdout
    )
    assert 1_000_000 in cycles_in(result.stdout)
    assert result.exit_code == OK


def test_templates_take_programs_from_files(tmp_path: Path) -> None:
    named = Script(code_hash=TYPE_ID_CODE_HASH, hash_type=1, args=b"my lock")
    rtx = made(GOOD, lock=Script(code_hash=named.hash, hash_type=1, args=b""), types=[script_for(BAD, 2)])
    content = mock_json(rtx)
    content["mock_info"]["cell_deps"][0]["output"]["type"] = "{{ def_type my lock }}"
    content["mock_info"]["cell_deps"][0]["data"] = "0x{{ data good }}"
    text = json.dumps(content).replace(named.hash.hex(), "{{ ref_type my lock }}")
    text = text.replace(script_for(BAD, 2).code_hash.hex(), "{{hash good}}")
    (tmp_path / "good").write_bytes(GOOD)
    result = invoke("debug", "--tx-file", file_of(tmp_path / "tx.json", text.encode()))
    assert (result.exit_code, result.stderr) == (OK, "")
    assert f"Inputs[0].Lock: code {bytes_text(named.hash)} type\n" in result.stdout
    assert f"Inputs[1].Type: code {bytes_text(data_hash(GOOD))} data2\n" in result.stdout


def test_templates_of_files_that_are_not_there(tmp_path: Path) -> None:
    text = json.dumps(mock_json(GROUPS)).replace(GOOD.hex(), "{{ data nothing }}")
    result = invoke("debug", "--tx-file", file_of(tmp_path / "tx.json", text.encode()))
    assert (result.exit_code, result.stdout) == (IO, "")
    assert "No such file" in result.stderr


# ---------------------------------------------------------------- watching


def test_trace(tmp_path: Path) -> None:
    invoke("debug", "--bin", file_of(tmp_path / "p", CALLS), "--trace", str(tmp_path / "trace"))
    lines = [line.split() for line in (tmp_path / "trace").read_text().splitlines()]
    assert [" ".join(line) for line in lines[:4]] == [
        "0 23 0x010000 _start+0x0 jal ra, 0x10010 ra=0x10004",
        "0 26 0x010010 twice+0x0 addi s0, ra, 0 s0=0x10004",
        "0 27 0x010014 twice+0x4 jal ra, 0x10030 ra=0x10018",
        "0 30 0x010030 leaf+0x0 addi t0, t0, 1 t0=0x1",
    ]
    assert " ".join(lines[-1]) == "0 52 0x010048 finish+0x8 ecall"
    assert len(lines) == 2 + 5 + 2 * 3 + 3


def test_a_trace_ends(tmp_path: Path) -> None:
    path = file_of(tmp_path / "p", CALLS)
    result = invoke("debug", "--bin", path, "--trace", str(tmp_path / "trace"), "--trace-limit", "3")
    lines = (tmp_path / "trace").read_text().splitlines()
    assert lines[3:] == ["... the trace ends after 3 instructions"]
    assert result.exit_code == OK


def test_a_trace_shows_the_instruction_that_fails(tmp_path: Path) -> None:
    path = file_of(tmp_path / "p", program(imm("addi", 5, 0, -8) + imm("ld", 6, 5, 0) + exit_with(0)))
    result = invoke("debug", "--bin", path, "--trace", str(tmp_path / "trace"))
    assert "failed: VM Internal Error: MemOutOfBound" in result.stdout
    assert (tmp_path / "trace").read_text().splitlines()[-1].split() == [
        *("0", "10", "0x010004", "0x10004", "ld", "t1,", "0(t0)", "failed")
    ]


def test_breakpoints(tmp_path: Path) -> None:
    path = file_of(tmp_path / "p", CALLS)
    result = invoke("debug", "--bin", path, "--break", "leaf", "--break", "0x10048", "--break", "nothing")
    hits = re.findall(r"^break (.*)$", result.stdout, re.MULTILINE)
    assert hits == [
        "leaf: process 0, 30 cycles, pc 0x10030 leaf+0x0",
        "leaf: process 0, 38 cycles, pc 0x10030 leaf+0x0",
        "0x10048: process 0, 52 cycles, pc 0x10048 finish+0x8",
    ]
    second = result.stdout.split("break leaf")[2]
    assert "t0 0x0000000000000002" in second
    assert "ra 0x000000000001001c" in second
    assert result.stderr == "--break nothing: no program that ran has this symbol\n"
    assert result.exit_code == OK


def test_breakpoints_are_counted(tmp_path: Path) -> None:
    path = file_of(tmp_path / "p", CALLS)
    result = invoke("debug", "--bin", path, "--break", "leaf", "--break-limit", "1")
    assert result.stdout.count("break leaf") == 1


# ---------------------------------------------------------------- what cannot be run


def without(key: str) -> str:
    content = mock_json(payment())
    del content["mock_info"][key]
    return json.dumps(content)


def changed(part: str, key: str, value: object) -> str:
    content = mock_json(payment())
    content["mock_info"][part][0][key] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no mock transaction: Input data was truncated"),
        ("{}", "no mock transaction: Object missing required field `mock_info`"),
        ("[" * 100_000, "no mock transaction: "),
        ("\xff", "no mock transaction: "),
        (without("inputs"), "missing required field `inputs`"),
        (changed("inputs", "data", "0x0"), "not an even number of digits"),
        (changed("inputs", "header", "0x00"), "Invalid H256"),
        (changed("inputs", "output", None), "Expected `object`, got `null`"),
        (changed("cell_deps", "data", "0x01000000"), "InvalidDepGroup("),
        (json.dumps(mock_json(payment()) | {"mock_info": {"inputs": [], "cell_deps": []}}), "Unknown(OutPoint("),
        (json.dumps(mock_json(payment(), extensions={bytes(32): b""})), "which is not among header_deps"),
    ],
)
def test_files_that_are_no_mock_transactions(tmp_path: Path, text: str, reason: str) -> None:
    result = invoke("debug", "--tx-file", file_of(tmp_path / "tx.json", text.encode("latin-1")))
    assert (result.exit_code, result.stdout) == (FAILURE, "")
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_header_with_another_hash(tmp_path: Path) -> None:
    content = mock_json(payment(), [make_header()])
    content["mock_info"]["header_deps"][0]["number"] = "0x9"
    result = invoke("debug", "--tx-file", mock_file(tmp_path / "tx.json", content))
    assert "a header says that its hash is" in result.stderr


@pytest.mark.parametrize("content", [b"", b"text", CALLS[:100], bytes(200)])
@pytest.mark.parametrize("watch", [(), ("--trace", "-", "--break", "main", "--profile", "-")])
def test_files_that_are_no_programs(tmp_path: Path, content: bytes, watch: tuple[str, ...]) -> None:
    result = invoke("debug", "--bin", file_of(tmp_path / "p", content), *watch)
    assert result.exit_code == SCRIPT_FAILED
    assert "  failed: VM Internal Error: Elf" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ((), CLI, "give one of --rpc, --tx-file and --bin"),
        (("--rpc", "http://127.0.0.1:1/", "--tx-file", "x", "0x1"), CLI, "--rpc needs one TX_HASH, or --tx-file"),
        (("--rpc", "http://127.0.0.1:1/"), CLI, "needs one TX_HASH"),
        (("--rpc", "http://127.0.0.1:1/", "0x12"), FAILURE, "Invalid H256"),
        (("--rpc", "http://127.0.0.1:1/", "0x" + "00" * 32), FAILURE, "Connection refused"),
        (("--rpc", "http://127.0.0.1:1/", "--vm-version", "1", "0x" + "00" * 32), CLI, "the chain decides"),
        (("--tx-file", "/nowhere/file"), IO, "No such file"),
        (("--tx-file", "/nowhere/file", "argument"), CLI, "takes no arguments"),
        (("--bin", "/nowhere/file"), IO, "No such file"),
        (("--bin", "/nowhere/file", "--engine", "wasm", "--trace", "-"), CLI, "need the reference engine"),
    ],
)
def test_bad_command_lines(arguments: tuple[str, ...], code: int, reason: str) -> None:
    result = invoke("debug", *arguments)
    assert result.exit_code == code
    assert reason in result.stderr


@pytest.mark.parametrize("place", ["0x", "0xzz", "0x1" + "0" * 16])
def test_bad_addresses(tmp_path: Path, place: str) -> None:
    result = invoke("debug", "--bin", file_of(tmp_path / "p", CALLS), "--break", place)
    assert result.exit_code == FAILURE
    assert result.stderr.startswith(f"ckb-node: --break {place}: ")


def test_a_group_that_is_not_there(tmp_path: Path) -> None:
    name = mock_file(tmp_path / "tx.json", mock_json(payment()))
    result = invoke("debug", "--tx-file", name, "--script-group-type", "type")
    assert (result.exit_code, result.stdout) == (FAILURE, "")
    assert "the transaction has no such script group" in result.stderr
