"""`ckb-node debug`: the options. What does the work is imported when the command runs: the VM takes long to load."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ckb_node.cli.group import NodeCommand
from ckb_node.runtime.errors import CommandError

if TYPE_CHECKING:
    from ckb_node.debug.case import DebugCase

MAX_FILE_BYTES = 64 << 20
CYCLES = click.IntRange(0, (1 << 64) - 1)
COUNT = click.IntRange(min=0)
WATCHES = "runs on the reference engine"


@click.command("debug", cls=NodeCommand)
@click.argument("arguments", metavar="[TX_HASH | ARGS...]", nargs=-1)
@click.option("--rpc", metavar="URL", help="A node: of its transaction TX_HASH, or of the cells that --tx-file names.")
@click.option(
    "--tx-file",
    metavar="FILE|-",
    help="A mock transaction as ckb-debugger reads them; with --rpc a plain one as nodes take it.",
)
@click.option("--bin", "program", metavar="FILE", help="Program for the chosen group; alone it is run with ARGS.")
@click.option("--script-group-type", type=click.Choice(["lock", "type"]), help="Run groups of this kind only.")
@click.option("--cell-type", type=click.Choice(["input", "output"]), help="Run groups with such cells only.")
@click.option("--cell-index", type=COUNT, help="Run groups of this cell only; of an input, if not said otherwise.")
@click.option("--max-cycles", type=CYCLES, default=3_500_000_000, show_default=True, help="For all groups together.")
@click.option("--vm-version", type=click.Choice(["0", "1", "2"]), help="Newest VM, with --tx-file or --bin alone: 2.")
@click.option("--engine", type=click.Choice(["auto", "reference", "wasm"]), default="auto", show_default=True)
@click.option("--trace", metavar="FILE|-", help=f"Write each instruction; {WATCHES}.")
@click.option("--trace-limit", type=COUNT, default=1_000_000, show_default=True, help="Instructions in the trace.")
@click.option("--break", "breaks", metavar="SYMBOL|0xADDR", multiple=True, help=f"Print registers there; {WATCHES}.")
@click.option("--break-limit", type=COUNT, default=100, show_default=True, help="Times that registers are printed.")
@click.option("--profile", metavar="FILE|-", help=f"Write cycles as folded stacks, for flame graphs; {WATCHES}.")
def debug_command(
    arguments: tuple[str, ...],
    rpc: str | None,
    tx_file: str | None,
    program: str | None,
    script_group_type: str | None,
    cell_type: Literal["input", "output"] | None,
    cell_index: int | None,
    max_cycles: int,
    vm_version: str | None,
    engine: str,
    **watch: Any,
) -> int:
    """Run the scripts of a transaction, or a program, under watch.

    The transaction comes from a node (--rpc URL TX_HASH), from a file with its cells (--tx-file FILE), or from a plain
    file, its cells from a node (--rpc URL --tx-file FILE). Without one, --bin FILE is
    run by itself with ARGS; put -- before those that begin with a dash. Ends with 1 if a script fails.
    """
    from ckb_node.debug.run import DebugOptions, GroupChoice, WatchOptions, run_case
    from consensus.script.groups import GroupKind

    options = WatchOptions(**watch)
    if options.watches and engine == "wasm":
        raise click.UsageError("--trace, --break and --profile need the reference engine")
    binary = None if program is None else _read(program)
    case = _case(arguments, rpc, tx_file, binary, vm_version)
    kind = None if script_group_type is None else GroupKind(script_group_type.capitalize())
    return run_case(
        case,
        DebugOptions(
            choice=GroupChoice(kind, cell_type, cell_index),
            max_cycles=max_cycles,
            engine=engine,
            program=binary,
            watch=options,
        ),
        lambda text: click.echo(text, nl=False),
        lambda text: click.echo(text, err=True),
    )


def _case(
    arguments: tuple[str, ...], rpc: str | None, tx_file: str | None, program: bytes | None, vm_version: str | None
) -> DebugCase:
    """The transaction or program that the command line names. UsageError, CommandError, CkbError."""
    from ckb_node.debug.case import bare_case
    from ckb_node.debug.mock import read_mock, read_plain
    from ckb_node.debug.remote import case_over_rpc, fetch_case
    from ckb_node.debug.templates import fill_templates

    version = 2 if vm_version is None else int(vm_version)
    if rpc is not None:
        if len(arguments) != (1 if tx_file is None else 0):
            raise click.UsageError("--rpc needs one TX_HASH, or --tx-file")
        if vm_version is not None:
            raise click.UsageError("--vm-version: with --rpc the chain decides")
        if tx_file is not None:
            return case_over_rpc(rpc, read_plain(_read(tx_file), tx_file))
        return fetch_case(rpc, arguments[0])
    if tx_file is not None:
        if arguments:
            raise click.UsageError("--tx-file takes no arguments")
        text = fill_templates(_read(tx_file), Path() if tx_file == "-" else Path(tx_file).parent)
        return read_mock(text, tx_file, version)
    if program is None:
        raise click.UsageError("give one of --rpc, --tx-file and --bin")
    return bare_case(program, [argument.encode(errors="surrogateescape") for argument in arguments], version)


def _read(path: str) -> bytes:
    """A file, or standard input for `-`. OSError; CommandError if it is too large."""
    if path == "-":
        data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    else:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise CommandError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    return data
