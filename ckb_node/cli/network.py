"""`ckb-node peer-id`: by which name peers know a node, and new keys."""

from __future__ import annotations

from pathlib import Path

import click

from ckb_node.cli.group import NodeCommand
from ckb_node.runtime.errors import CommandError
from ckb_node.runtime.key_file import create_identity, read_identity

_secret_path = click.option(
    "--secret-path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="File of 32 bytes; a node's is data/network/secret_key.",
)


class _PeerIdGroup(click.Group):
    command_class = NodeCommand


@click.group("peer-id", cls=_PeerIdGroup)
def peer_id_command() -> None:
    """By which name peers know a node."""


@peer_id_command.command("from-secret")
@_secret_path
def from_secret(secret_path: Path) -> None:
    """Show the peer id of a key."""
    identity = read_identity(secret_path)
    if identity is None:
        raise CommandError(f"{secret_path}: no secp256k1 key of 32 bytes")
    click.echo(f"peer_id: {identity.peer_id}")


@peer_id_command.command("gen")
@_secret_path
def gen(secret_path: Path) -> None:
    """Make a new key; a file that is there stays as it is."""
    if secret_path.exists():
        raise CommandError(f"{secret_path}: exists already, and may be a node's key")
    click.echo(f"peer_id: {create_identity(secret_path).peer_id}")
