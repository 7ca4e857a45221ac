"""The README for miners: each of its commands, calls, keys and dialects is one that the node knows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest

from ckb_node.cli.main import main
from ckb_node.config import parse_config
from ckb_node.rpc.examples import EXAMPLES
from ckb_node.stratum.dialects import dialect_of
from ckb_node.stratum.dialects.dialect import Request, hello_of

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Miners\n")[2].partition("\n## ")[0]
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL) for line in block.splitlines()]
COMMANDS = [shlex.split(line, comments=True) for line in SHELL if line.startswith("ckb-node ")]
CALLS = [shlex.split(line, comments=True) for line in SHELL if line.startswith("curl ")]
ROWS = re.findall(r"^\| [^|]+ \| `(\S+) ([^`]+)` \|", SECTION, re.MULTILINE)


def test_there_is_something_to_check() -> None:
    assert (len(COMMANDS), len(CALLS), len(ROWS)) == (4, 3, 5)
    assert len(COMMANDS) + len(CALLS) == len(SHELL)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_is_one_that_the_program_takes(words: list[str]) -> None:
    """Its options are parsed as the program does it; nothing is run."""
    command: click.Command = main
    rest = words[1:]
    parent = click.Context(main, info_name="ckb-node", **main.context_settings)
    while isinstance(command, click.Group) and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    assert command.make_context(words[1], rest, parent=parent).args == []


@pytest.mark.parametrize("words", CALLS, ids=lambda words: words[-1])
def test_a_call_is_one_of_a_method(words: list[str]) -> None:
    request = json.loads(words[-1])
    assert request["method"] in EXAMPLES
    assert request["params"] == []


def test_the_section_of_the_configuration() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", SECTION, re.DOTALL)
    assert parse_config(text).stratum.listen_address == "0.0.0.0:3333"
    with_all = "\n".join(line.removeprefix("# ").partition("  #")[0] for line in text.splitlines())
    section = parse_config(with_all).stratum
    assert (section.solo_payout, section.tls_cert_path) == ("user", "cert.pem")


def test_each_dialect_begins_as_it_says() -> None:
    names = [dialect_of(hello_of(Request(method, 1, json.loads(params)))).name for method, params in ROWS]
    assert names == ["common", "k7", "goldshell", "nicehash", "submit_login"]
