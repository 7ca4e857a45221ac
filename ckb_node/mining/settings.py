"""Sections of the configuration that this package reads."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from ckb_node.runtime.rpc_client import split_url
from ckb_node.runtime.settings import ConfigError, Section

MAX_INTERVAL_MS = 3_600_000


MAX_NOTIFIED = 16

Millis = Annotated[int, Meta(ge=0, le=MAX_INTERVAL_MS)]


class AssemblerSection(Section, frozen=True):
    """[block_assembler]: who is paid for blocks that are made from this node's templates, and who is told of each new
    one: URLs that it is posted to, with the token if there is one, and programs that get it as their argument."""

    code_hash: str
    args: str
    hash_type: str
    message: str = "0x"
    use_binary_version_as_message_prefix: bool = True
    update_interval_millis: Millis = 800
    notify: Annotated[list[str], Meta(max_length=MAX_NOTIFIED)] = field(default_factory=list)
    notify_scripts: Annotated[list[str], Meta(max_length=MAX_NOTIFIED)] = field(default_factory=list)
    notify_timeout_millis: Annotated[int, Meta(ge=1, le=MAX_INTERVAL_MS)] = 800
    notify_auth_token: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None


def check_notify(section: AssemblerSection) -> None:
    """Raises ConfigError with the key."""
    for url in section.notify:
        try:
            split_url(url)
        except ValueError as error:
            raise ConfigError(f"block_assembler.notify: {url[:200]!r}: {error}") from None
    for script in section.notify_scripts:
        if not script:
            raise ConfigError("block_assembler.notify_scripts: names no program")
    token = section.notify_auth_token
    if token is not None and (token != token.strip() or not token.isascii() or not token.isprintable()):
        raise ConfigError("block_assembler.notify_auth_token: printable ASCII without spaces at its ends is needed")
