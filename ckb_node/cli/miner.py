"""`ckb-node miner`: the options. What does the work is imported when the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ckb_node.cli.group import NodeCommand, NodeSubGroup
from ckb_node.cli.options import SECONDS, directory_option, root_of
from ckb_node.config import has_miner_config, load_miner_config
from ckb_node.runtime.logs import set_up_logs
from ckb_node.runtime.settings import LoggerSection
from ckb_node.runtime.text_file import TextFileError, read_text
from ckb_node.version import VERSION
from consensus.params import PowFunc

FUNCTIONS = {
    "eaglesong": PowFunc.EAGLESONG,
    "eaglesong-blake2b": PowFunc.EAGLESONG_BLAKE2B,
    "dummy": PowFunc.DUMMY,
}
MAX_SECRET_BYTES = 1024
LEAST_SECONDS = 0.1
THREADS = click.IntRange(1, 1024)
_file = click.Path(path_type=Path)


@click.group("miner", cls=NodeSubGroup, invoke_without_command=True)
@directory_option
@click.option(
    "-l", "--limit", type=click.IntRange(min=0), default=0, help="Stop after so many blocks or shares; 0 never stops."
)
@click.option("--threads", type=THREADS, help="That search; by default as configured, or one for each processor.")
@click.option(
    "--pow", "function", type=click.Choice([*FUNCTIONS]), help="By default that of the directory's chain, or eaglesong."
)
@click.option("--rpc-url", metavar="URL", help="Node to mine for, instead of the configured one.")
@click.option("--listen", metavar="HOST:PORT", help="Where that node posts its templates.")
@click.option(
    "--listen-token-file", type=_file, metavar="FILE", help="Its first line is the token that posts must show."
)
@click.option("--stratum", metavar="[SCHEME://]HOST:PORT", help="Pool to mine for, instead of a node.")
@click.option("--user", metavar="NAME[.WORKER]", help="At the pool: an account, or the address that is paid.")
@click.option(
    "--password-file", type=_file, metavar="FILE", help="Its first line is the pool's password; by default x."
)
@click.option("--agent", metavar="TEXT", help="What the pool is told of this program; some speak otherwise with some.")
@click.option("--tls", "is_tls", is_flag=True, help="By TLS, as with the scheme stratum+ssl.")
@click.option("--tls-ca", type=_file, metavar="FILE", help="Certificates that the pool's must be signed by.")
@click.pass_context
def miner_command(
    context: click.Context,
    /,
    limit: int,
    threads: int | None,
    function: str | None,
    rpc_url: str | None,
    listen: str | None,
    listen_token_file: Path | None,
    stratum: str | None,
    user: str | None,
    password_file: Path | None,
    **pool: Any,
) -> int | None:
    """Mine for a node, or for a pool."""
    if context.invoked_subcommand is not None:
        return None
    from ckb_node.commands.miner import MinerOptions, run_miner

    if stratum is not None and (rpc_url is not None or listen is not None):
        raise click.UsageError("--stratum is for pools, --rpc-url and --listen are for nodes")
    if stratum is not None and not user:
        raise click.UsageError("--stratum needs --user")
    root = root_of(context)
    is_alone = (stratum is not None or rpc_url is not None) and not has_miner_config(root)
    config = None if is_alone else load_miner_config(root)
    section = LoggerSection(log_to_file=False) if config is None else config.file.logger
    set_up_logs(section, root if config is None else config.log_dir, "miner")
    options = MinerOptions(
        limit=limit,
        function=None if function is None else FUNCTIONS[function],
        threads=threads,
        rpc_url=rpc_url,
        listen=listen,
        listen_token=None if listen_token_file is None else _secret(listen_token_file),
        stratum=stratum,
        user=user or "",
        password="x" if password_file is None else _secret(password_file),
        agent=pool.pop("agent") or f"ckb-node/{VERSION}",
        **pool,
    )
    return run_miner(config, options)


@miner_command.command("bench", cls=NodeCommand)
@click.option("--threads", type=THREADS, help="By default one for each processor.")
@click.option("--seconds", type=SECONDS, default=5.0, show_default=True, help="For each figure.")
def bench_command(threads: int | None, seconds: float) -> None:
    """Measure how many nonces a second this machine tries."""
    from ckb_node.miner.bench import bench
    from ckb_node.miner.plan import processors

    bench(threads or processors(), max(seconds, LEAST_SECONDS), click.echo)


def _secret(path: Path) -> str:
    text = read_text(path, MAX_SECRET_BYTES).split("\n", 1)[0].removesuffix("\r")
    if not text or not text.isprintable():
        raise TextFileError(f"{path}: its first line is no password")
    return text
