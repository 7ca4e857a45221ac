"""`ckb-node replay` and `stats`, and what is shown of long jobs."""

from __future__ import annotations

import io
import re
import shutil
from itertools import count
from pathlib import Path

import pytest
from rich.console import Console

from ckb_node.chain.checks import Checks
from ckb_node.commands.import_blocks import ImportOptions, import_blocks
from ckb_node.config import Config, load_config
from ckb_node.runtime.progress import BlockProgress
from consensus.types.blockchain import Block
from tests.support.nodes.directories import (
    BLOCKS,
    CLI,
    FAILURE,
    OK,
    PAYMENTS,
    file_of,
    invoke,
    make_node,
    mined,
    with_block,
)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's directory with the whole chain; never changed by tests."""
    directory = tmp_path_factory.mktemp("imported")
    config = make_node(directory / "node")
    import_blocks(config, ImportOptions(str(file_of(directory / "chain.jsonl", mined())), processes=1))
    return config.root


@pytest.fixture
def node(imported: Path, tmp_path: Path) -> Config:
    """A copy of it for one test."""
    shutil.copytree(imported, tmp_path / "node")
    return load_config(tmp_path / "node")


def broken_node(tmp_path: Path, blocks: list[Block]) -> Config:
    """A node whose database holds blocks that nobody checked."""
    config = make_node(tmp_path / "node")
    import_blocks(config, ImportOptions(str(file_of(tmp_path / "chain.jsonl", blocks)), Checks.NONE))
    return config


# ---------------------------------------------------------------- replay


@pytest.mark.parametrize("flags", [(), ("--full-verification",)])
def test_sanity_check_of_a_sound_chain(node: Config, tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "tmp").mkdir()
    result = invoke("-C", str(node.root), "replay", "--tmp-target", str(tmp_path / "tmp"), "--sanity-check", *flags)
    assert result.exit_code == OK, result.stderr
    assert f"Sanity-check pass, tip({BLOCKS}-0x{mined()[-1].hash.hex()})\n" in result.stdout
    assert list((tmp_path / "tmp").iterdir()) == []


def test_only_full_verification_sees_what_needs_the_chain(tmp_path: Path) -> None:
    def with_bad_dao(block: Block) -> Block:
        return block.replace(header=block.header.with_fields(dao=bytes(32)))

    blocks = with_block(mined(), 9, with_bad_dao)
    root = str(broken_node(tmp_path, blocks).root)
    command = ("-C", root, "replay", "--tmp-target", str(tmp_path), "--sanity-check")
    assert invoke(*command).exit_code == OK
    result = invoke(*command, "--full-verification")
    assert result.exit_code == FAILURE
    assert "Replay sanity-check error: " in result.stderr
    assert f"at block(9-0x{blocks[8].hash.hex()})" in result.stderr


def test_sanity_check_sees_what_the_block_alone_shows(tmp_path: Path) -> None:
    blocks = with_block(mined(), 9, lambda block: block.replace(proposals=[b"0123456789"]))
    root = str(broken_node(tmp_path, blocks).root)
    result = invoke("-C", root, "replay", "--tmp-target", str(tmp_path), "--sanity-check")
    assert result.exit_code == FAILURE
    assert "at block(9-" in result.stderr


def test_profile(node: Config, tmp_path: Path) -> None:
    command = ("-C", str(node.root), "replay", "--tmp-target", str(tmp_path), "--profile")
    whole = invoke(*command)
    assert whole.exit_code == OK, whole.stderr
    assert f"Start profiling, re-process blocks 1..{BLOCKS}:\n" in whole.stdout
    end = re.search(
        r"End profiling, duration:([\d.]+)s, txs:(\d+), tps:(\d+), blocks:(\d+), blocks/s:(\d+)", whole.stdout
    )
    assert end is not None
    assert (int(end[2]), int(end[4])) == (PAYMENTS, BLOCKS)
    assert int(end[5]) == pytest.approx(BLOCKS / float(end[1]), rel=0.05, abs=1)

    part = invoke(*command, "20", "1000")
    assert f"re-process blocks 20..{BLOCKS}:\n" in part.stdout
    assert f"txs:0, tps:0, blocks:{BLOCKS - 19}, " in part.stdout
    assert invoke(*command, "23", "21").exit_code == FAILURE


def test_replay_command_line(node: Config, tmp_path: Path) -> None:
    command = ("-C", str(node.root), "replay", "--tmp-target", str(tmp_path))
    assert invoke(*command).exit_code == CLI
    assert invoke(*command, "--profile", "--sanity-check").exit_code == CLI
    assert invoke("-C", str(node.root), "replay", "--profile").exit_code == CLI
    absent = invoke("-C", str(node.root), "replay", "--tmp-target", str(tmp_path / "absent"), "--profile")
    assert (absent.exit_code, "does not exist" in absent.stderr) == (FAILURE, True)


# ---------------------------------------------------------------- stats


def test_stats(node: Config) -> None:
    lock = "0x470dcdc5e44064909650113a274b3b36aecb6dc7"
    code = "0x9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8"
    result = invoke("-C", str(node.root), "stats", "--from", "1")
    assert result.exit_code == OK
    assert result.stdout.splitlines() == [
        f"uncle_rate: 0/{BLOCKS - 1}(0)",
        "by_miner_script:",
        f"percentage | total | {'args':<42} | {'code_hash':<66} | hash_type ",
        f"100.0%     | {BLOCKS}    | {lock} | {code} | Type     ",
        "by_miner_message:",
        f"percentage | total | {'messages':<50}",
        f"100.0%     | {BLOCKS}    | {'b' + chr(34) * 2:<50}",
    ]
    whole = invoke("-C", str(node.root), "stats").stdout
    assert f"uncle_rate: 0/{BLOCKS}(0)\n" in whole
    assert f"{1 / (BLOCKS + 1):.1%}       | 1     | {'0x':<42} | 0x{'0' * 64} | Type" in whole  # genesis


@pytest.mark.parametrize(
    ("first", "last", "reason"), [("5", "5", "not below"), ("6", "5", "not below"), ("0", "99", "there is no block 99")]
)
def test_stats_of_nothing(node: Config, first: str, last: str, reason: str) -> None:
    result = invoke("-C", str(node.root), "stats", "--from", first, "--to", last)
    assert (result.exit_code, reason in result.stderr) == (FAILURE, True)


# ---------------------------------------------------------------- progress


def test_progress_off_a_terminal_is_a_line_now_and_then() -> None:
    clock = iter([0.0, 0.0, 1.0, 11.0, 12.0, 20.0])
    text = io.StringIO()
    progress = BlockProgress("importing", 1000, Console(file=text, width=200), lambda: next(clock))
    with progress:
        progress.advance(100, 10, 50)
        progress.advance(450, 100, 60)
        progress.advance(100, 1, 0)
    assert text.getvalue() == "importing: 55%, 110 blocks, 10 blocks/s, 10 tx/s, 9 s left\n"
    assert progress.counts.summary() == "111 blocks with 110 transactions in 20.0 s (6 blocks/s, 6 tx/s)"


def test_progress_on_a_terminal_is_a_bar_that_goes_away() -> None:
    text = io.StringIO()
    console = Console(file=text, width=120, force_terminal=True)
    with BlockProgress("importing", 1000, console, now=count().__next__) as progress:
        progress.advance(500, 3, 4)
        progress._bar.refresh()
    assert "3 blocks" in text.getvalue()
    assert "50%" in text.getvalue()
