"""The commands that work on a chain's data while the node is down: import, export, recover, replay, stats.

What does the work is imported when a command runs: the VM and the database take long to load.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ckb_node.cli.group import NodeCommand
from ckb_node.cli.options import assume_valid_option, directory_option, root_of
from ckb_node.config import Config, load_config

if TYPE_CHECKING:
    from ckb_node.chain.checks import Checks

THREADS = click.IntRange(1, 256)
HEIGHT = click.IntRange(min=0)


def _checks_of(skip_scripts: bool, skip_all: bool) -> Checks:
    """What the two options ask for. UsageError when both are given."""
    from ckb_node.chain.checks import Checks

    if skip_scripts and skip_all:
        raise click.UsageError("--skip-script-verify and --skip-all-verify exclude each other")
    return Checks.NONE if skip_all else Checks.ALL_BUT_SCRIPTS if skip_scripts else Checks.ALL


def _obtain_genesis(config: Config) -> None:
    """From peers, if it is not at hand: what speaks with them takes longer to load than all the rest."""
    from ckb_node.genesis.obtain import GenesisMissingError, load_consensus, obtain_consensus

    try:
        load_consensus(config)
    except GenesisMissingError:
        from ckb_node.genesis.from_peers import configured_peers

        obtain_consensus(config, configured_peers(config, click.echo), click.echo)


@click.command("import", cls=NodeCommand)
@directory_option
@click.argument("source", metavar="FILE|-")
@click.option("--num-threads", type=THREADS, help="Processes that run scripts; by default one for each processor.")
@click.option("--skip-script-verify", is_flag=True, help="Check everything but scripts.")
@click.option("--skip-all-verify", is_flag=True, help="Check nothing.")
@assume_valid_option
@click.pass_context
def import_command(
    context: click.Context,
    source: str,
    num_threads: int | None,
    skip_script_verify: bool,
    skip_all_verify: bool,
    assume_valid_target: list[str] | None,
) -> int:
    """Take blocks from a file of one JSON block a line, or from standard input."""
    from ckb_node.commands.block_lines import STANDARD
    from ckb_node.commands.import_blocks import ImportOptions, import_blocks

    checks = _checks_of(skip_script_verify, skip_all_verify)
    config, targets = load_config(root_of(context)), list[bytes]()
    if assume_valid_target:
        if source == STANDARD or (Path(source).exists() and not Path(source).is_file()):
            raise click.UsageError("--assume-valid-target needs a regular file, which is read twice")
        targets = config.with_assume_valid_targets(assume_valid_target).named_targets
    _obtain_genesis(config)
    return import_blocks(config, ImportOptions(source, checks, num_threads, targets))


@click.command("export", cls=NodeCommand)
@directory_option
@click.option("-t", "--target", required=True, metavar="DIR|-", help="Directory for the file, or standard output.")
@click.option("--from", "first", metavar="NUMBER|HASH", help="First block; by default genesis.")
@click.option("--to", "last", metavar="NUMBER|HASH", help="Last block; by default the tip.")
@click.pass_context
def export_command(context: click.Context, target: str, first: str | None, last: str | None) -> int:
    """Write blocks of the main chain to a file of one JSON block a line."""
    from ckb_node.commands.export_blocks import ExportOptions, export_blocks

    return export_blocks(load_config(root_of(context)), ExportOptions(target, first, last))


@click.command("replay", cls=NodeCommand)
@directory_option
@click.option(
    "--tmp-target", type=click.Path(path_type=Path), required=True, help="Directory for a database that is thrown away."
)
@click.option("--profile", is_flag=True, help="Measure how fast blocks FROM to TO pass all rules.")
@click.option("--sanity-check", is_flag=True, help="Check the whole chain, each block by itself.")
@click.option("--full-verification", is_flag=True, help="With --sanity-check: by all rules, scripts too.")
@click.option("--num-threads", type=THREADS, help="Processes that run scripts; by default one for each processor.")
@click.argument("first", metavar="[FROM]", type=HEIGHT, required=False)
@click.argument("last", metavar="[TO]", type=HEIGHT, required=False)
@click.pass_context
def replay_command(
    context: click.Context,
    tmp_target: Path,
    profile: bool,
    sanity_check: bool,
    full_verification: bool,
    num_threads: int | None,
    first: int | None,
    last: int | None,
) -> int:
    """Process the stored chain once more, into a database that is thrown away."""
    from ckb_node.commands import replay

    if profile == sanity_check:
        raise click.UsageError("give one of --profile and --sanity-check")
    config, options = load_config(root_of(context)), replay.ReplayOptions(tmp_target, num_threads)
    if profile:
        return replay.profile(config, options, first, last)
    return replay.sanity_check(config, options, full_verification=full_verification)


@click.command("stats", cls=NodeCommand)
@directory_option
@click.option("--from", "first", type=HEIGHT, help="Block above which uncles are counted; by default genesis.")
@click.option("--to", "last", type=HEIGHT, help="Last block; by default the tip.")
@click.pass_context
def stats_command(context: click.Context, first: int | None, last: int | None) -> int:
    """Show the rate of uncles, and who mined the last blocks."""
    from ckb_node.commands.stats import stats

    return stats(load_config(root_of(context)), first, last)


@click.command("recover", cls=NodeCommand)
@directory_option
@click.option("--num-threads", type=THREADS, help="Processes that run scripts; by default one for each processor.")
@click.option(
    "--skip-script-verify", is_flag=True, help="Check everything but scripts, which ran when the blocks came."
)
@click.option("--skip-all-verify", is_flag=True, help="Check nothing.")
@click.option("--salvage", is_flag=True, help="Of a damaged archive take what is left; its files are kept aside.")
@click.pass_context
def recover_command(
    context: click.Context, num_threads: int | None, skip_script_verify: bool, skip_all_verify: bool, salvage: bool
) -> int:
    """Build the chain's database anew from the archive of blocks. The old one is kept aside."""
    from ckb_node.commands.recover import RecoverOptions, recover

    checks = _checks_of(skip_script_verify, skip_all_verify)
    return recover(load_config(root_of(context)), RecoverOptions(checks, num_threads, salvage))


DATA_COMMANDS = (import_command, export_command, recover_command, replay_command, stats_command)
