"""The command line: `ckb-node init|run|dev|miner|check|recover|import|export|replay|stats|debug|list-hashes|peer-id|
account`.

`group.py` has the exit codes and how errors are shown.
"""

from __future__ import annotations

import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from ckb_node.accounts.store import AccountStore
from ckb_node.cli.account import KEYSTORE, account_command
from ckb_node.cli.data import DATA_COMMANDS
from ckb_node.cli.debug import debug_command
from ckb_node.cli.genesis import GenesisOptions, genesis_options
from ckb_node.cli.group import NodeGroup
from ckb_node.cli.miner import miner_command
from ckb_node.cli.network import peer_id_command
from ckb_node.cli.options import (
    SECONDS,
    assume_valid_option,
    directory_option,
    root_of,
    spec_check_of,
    spec_check_options,
)
from ckb_node.commands.init import (
    MAX_SPEC_BYTES,
    InitOptions,
    dev_miner_lock,
    init_directory,
    next_step,
)
from ckb_node.commands.list_hashes import as_json, as_toml, bundled_hashes, configured_hashes
from ckb_node.commands.sdk_scripts import SDK_FORMATS, as_sdk_json
from ckb_node.commands.template import CHAINS
from ckb_node.config import Config, has_config, load_config
from ckb_node.dev_accounts import MINER_ARG
from ckb_node.genesis.obtain import obtain_consensus
from ckb_node.net.settings import DEFAULT_P2P_PORT
from ckb_node.rpc.settings import DEFAULT_RPC_PORT
from ckb_node.runtime.text_file import decode
from ckb_node.stratum.settings import DEFAULT_PORT as STRATUM_PORT
from consensus.params import PowFunc


@click.group(cls=NodeGroup, context_settings={"help_option_names": ["-h", "--help"]})
@directory_option
@click.version_option(
    metadata.version("ckb-node"), "-V", "--version", prog_name="ckb-node", message="%(prog)s %(version)s"
)
def main() -> None:
    """A full node of Nervos CKB."""


# ---------------------------------------------------------------- init


def _list_chains(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        for chain in CHAINS:
            click.echo(chain)
        context.exit()


@main.command()
@directory_option
@click.option("-l", "--list-chains", is_flag=True, is_eager=True, expose_value=False, callback=_list_chains)
@click.option("-c", "--chain", type=click.Choice(CHAINS), default="mainnet", show_default=True)
@click.option(
    "--import-spec", metavar="FILE|-", help="Use this chain spec; - reads it from standard input, plain or in base64."
)
@click.option("--log-to", type=click.Choice(["file", "stdout", "both"]), default="both", show_default=True)
@click.option("-f", "--force", is_flag=True, help="Overwrite a configuration that is there.")
@click.option("--rpc-port", type=click.IntRange(0, 65535), default=DEFAULT_RPC_PORT, show_default=True)
@click.option(
    "--p2p-port",
    type=click.IntRange(0, 65535),
    help="For peers; by default 8115, and any free one (0) on a dev chain with another --rpc-port than 8114.",
)
@click.option("--ba-account", metavar="NAME", help="Account that mined rewards go to, see `ckb-node account`.")
@click.option("--ba-code-hash", help="Code hash of the lock that mined rewards go to.")
@click.option("--ba-arg", multiple=True, help="Argument of that lock; several are put end to end.")
@click.option("--ba-hash-type", type=click.Choice(["data", "type", "data1", "data2"]), default="type")
@click.option("--ba-message", help="Message in mined blocks, 0x-prefixed hex.")
@click.option("--genesis-message", help="Message in the genesis block of a dev chain; by default the time.")
@click.option(
    "--pow",
    "pow_name",
    type=click.Choice([each.value for each in PowFunc]),
    default=PowFunc.DUMMY.value,
    show_default=True,
    help="Of a dev chain: Dummy is a pause, the others are for miners.",
)
@click.option(
    "--system-cells",
    type=click.Path(path_type=Path),
    help="Directory with the system cells of ckb (specs/cells of ckb-system-scripts), for a dev chain shared with it.",
)
@genesis_options
@click.pass_context
def init(
    context: click.Context,
    /,
    log_to: str,
    p2p_port: int | None,
    ba_account: str | None,
    ba_arg: tuple[str, ...],
    pow_name: str,
    genesis: GenesisOptions,
    **options: Any,
) -> None:
    """Make the files of a new node."""
    if ba_account is not None:
        if ba_arg or options["ba_code_hash"] is not None:
            raise click.UsageError("--ba-account names the whole lock: leave out --ba-arg and --ba-code-hash")
        ba_arg = (f"0x{AccountStore(root_of(context) / KEYSTORE).find(ba_account).lock_arg.hex()}",)
    if options["chain"] == "dev" and options["genesis_message"] is None:
        options["genesis_message"] = str(time.time_ns() // 1_000_000)
    spec_text = None
    if options["import_spec"] == "-":
        spec_text = decode(sys.stdin.buffer.read(MAX_SPEC_BYTES + 1), MAX_SPEC_BYTES, "standard input")
    asked = InitOptions(
        root=root_of(context),
        log_to_file=log_to != "stdout",
        log_to_stdout=log_to != "file",
        ba_args=ba_arg,
        pow_func=PowFunc(pow_name),
        p2p_port=_free_port_for_dev(options["chain"], options["rpc_port"]) if p2p_port is None else p2p_port,
        spec_text=spec_text,
        genesis_sources=genesis.sources,
        **options,
    )
    init_directory(asked, click.echo, _warn)
    if sys.stdout.isatty():  # scripts read the last line, the genesis hash, as from the reference
        click.echo(next_step(asked.root, asked.chain))


def _warn(text: str) -> None:
    click.echo(text, err=True)


# ---------------------------------------------------------------- run


@main.command()
@directory_option
@click.option("--ba-advanced", is_flag=True, help="Allow any lock as block assembler.")
@click.option("--rich-indexer", is_flag=True, help="Open the RPC module RichIndexer instead of Indexer.")
@click.option("--indexer", is_flag=True, help="Open the RPC module Indexer, whatever the configuration says.")
@spec_check_options
@assume_valid_option
@genesis_options
@click.pass_context
def run(
    context: click.Context,
    ba_advanced: bool,
    rich_indexer: bool,
    indexer: bool,
    skip_spec_check: bool,
    overwrite_spec: bool,
    assume_valid_target: list[str] | None,
    genesis: GenesisOptions,
) -> int:
    """Run the node."""
    config = load_config(root_of(context)).with_spec_check(spec_check_of(skip_spec_check, overwrite_spec))
    if indexer:
        config = config.with_indexer()
    if rich_indexer:
        config = config.with_rich_indexer()
    if assume_valid_target is not None:
        config = config.with_assume_valid_targets(assume_valid_target)
    if sources := genesis.sources(config):
        obtain_consensus(config, sources, click.echo)
    return _run(config.with_ba_advanced() if ba_advanced else config, mine=False)


@main.command()
@directory_option
@click.option("--interval", type=SECONDS, help="Seconds between blocks; by default as configured.")
@click.option("--rpc-port", type=click.IntRange(0, 65535), help="Instead of the configured one; at first 8114.")
@click.option("--p2p-port", type=click.IntRange(0, 65535), help="For peers, instead of the configured one.")
@click.option(
    "--stratum",
    is_flag=False,
    flag_value=STRATUM_PORT,
    type=click.IntRange(0, 65535),
    metavar="[PORT]",
    help=f"Miners of this machine may connect (port {STRATUM_PORT} by default); a new chain is for them (Eaglesong).",
)
@spec_check_options
@click.pass_context
def dev(
    context: click.Context,
    interval: float | None,
    rpc_port: int | None,
    p2p_port: int | None,
    stratum: int | None,
    skip_spec_check: bool,
    overwrite_spec: bool,
) -> int:
    """Run a dev chain that mines: the directory is made when it is not there. One whose proof of work is not Dummy
    waits for miners. Programs of this machine may subscribe by WebSocket, at 28114 beside RPC's 8114, else at a free
    port that is told."""
    root = root_of(context)
    if not has_config(root):
        asked = InitOptions(
            root=root,
            chain="dev",
            rpc_port=rpc_port or DEFAULT_RPC_PORT,
            p2p_port=_free_port_for_dev("dev", rpc_port or DEFAULT_RPC_PORT) if p2p_port is None else p2p_port,
            ba_args=(MINER_ARG,),
            pow_func=PowFunc.DUMMY if stratum is None else PowFunc.EAGLESONG,
        )
        init_directory(asked, click.echo, _warn)
    config = load_config(root).with_spec_check(spec_check_of(skip_spec_check, overwrite_spec))
    config = config.with_miner_lock(dev_miner_lock())
    if rpc_port is not None:
        config = config.with_rpc_port(rpc_port)
    config = config.with_websocket()
    if p2p_port is None and _wants_any_port(config, rpc_port):
        p2p_port = 0
    if p2p_port is not None:
        config = config.with_p2p_port(p2p_port)
    if stratum is not None:
        config = config.with_stratum(f"127.0.0.1:{stratum}")
    is_dummy = config.load_spec()[0].pow_func is PowFunc.DUMMY
    return _run(config if interval is None else config.with_interval(interval), mine=is_dummy)


def _free_port_for_dev(chain: str, rpc_port: int) -> int:
    """The port for peers: several dev chains on one machine must not be in each other's way."""
    return 0 if chain == "dev" and rpc_port != DEFAULT_RPC_PORT else DEFAULT_P2P_PORT


def _wants_any_port(config: Config, rpc_port: int | None) -> bool:
    """Nobody has chosen a port for peers: the directory is older than they are, or has the one that `dev` wrote while
    RPC is moved elsewhere."""
    addresses = config.file.network.listen_addresses
    is_moved = rpc_port not in (None, DEFAULT_RPC_PORT)
    return addresses is None or (is_moved and addresses == [f"/ip4/127.0.0.1/tcp/{DEFAULT_P2P_PORT}"])


def _run(config: Config, *, mine: bool) -> int:
    # Imported here: the other commands need neither the VM nor the database, which take long to load.
    from ckb_node.node import run_node

    return run_node(config, mine=mine)


@main.command()
@directory_option
@click.pass_context
def check(context: click.Context) -> int:
    """Replay the stored chain from genesis in memory and compare the outcome with the database."""
    from ckb_node.commands.check import check_data

    return check_data(load_config(root_of(context)))


# ---------------------------------------------------------------- list-hashes


@main.command(name="list-hashes")
@directory_option
@click.option("-b", "--bundled", is_flag=True, help="All chains that come with the node.")
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["toml", "json", *SDK_FORMATS]),
    default="toml",
    show_default=True,
    help="ccc, lumos: the configured chain's scripts as these SDKs take them.",
)
@click.pass_context
def list_hashes(context: click.Context, bundled: bool, form: str) -> None:
    """Show where the system cells of the configured chain are."""
    if bundled and form in SDK_FORMATS:
        raise click.UsageError(f"--format {form} is for one chain: leave out --bundled")
    hashes = bundled_hashes() if bundled else configured_hashes(load_config(root_of(context)))
    if form in SDK_FORMATS:
        ((chain, own),) = hashes.items()
        click.echo(as_sdk_json(form, chain, own))
        return
    if form == "json":
        click.echo(as_json(hashes))
        return
    click.echo(f"# Generated by: ckb-node list-hashes{' -b' if bundled else ''}\n\n{as_toml(hashes)}")


for _command in (*DATA_COMMANDS, account_command, debug_command, miner_command, peer_id_command):
    main.add_command(_command)
