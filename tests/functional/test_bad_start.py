"""What a node cannot start (or go on) with: one clear line, an exit code, and data that is as good as before."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ckb_node.cli.main import main
from ckb_node.config import load_config
from ckb_node.dev_accounts import MINER_ARG
from ckb_node.mining.dev_miner import DevMiner
from ckb_node.node import open_node
from tests.support.nodes.process import STOP_S, NodeProcess, RpcFailure, dev_node, free_port, run_command

pytestmark = pytest.mark.slow

EXIT_CONFIG, EXIT_IO, EXIT_FAILURE = 65, 66, 113
DATABASE_ERROR = -200
BLOCKS = 5
FAST = ("--interval", "0.02")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dev node's directory with some blocks; never changed by tests."""
    directory = tmp_path_factory.mktemp("bad-start") / "node"
    with dev_node(directory, interval_s=0.02) as node:
        node.wait_for_tip(BLOCKS)
        node.stop()
    return directory


@pytest.fixture
def directory(made: Path, tmp_path: Path) -> Path:
    """A copy of it for one test, with a port of its own."""
    copy = tmp_path / "node"
    shutil.copytree(made, copy)
    config = copy / "config.toml"
    address = next(line for line in config.read_text().splitlines() if line.startswith("listen_address"))
    config.write_text(config.read_text().replace(address, f'listen_address = "127.0.0.1:{free_port()}"'))
    return copy


def rpc_port(directory: Path) -> int:
    text = (directory / "config.toml").read_text()
    return int(text.split('listen_address = "127.0.0.1:')[1].split('"')[0])


def edit(directory: Path, old: str, new: str, name: str = "config.toml") -> None:
    """Replace the one occurrence of a text in a file of the directory."""
    path = directory / name
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
    path.write_text(text.replace(old, new))


def run_here(capfd: pytest.CaptureFixture[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`ckb-node ARGS` in this process, whose logs and limits stay: for what cannot start, and much quicker.

    One row of each kind has a process of its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ckb_node.node.set_up_logs", lambda *_: None)
        patch.setattr("ckb_node.node.raise_descriptor_limit", lambda: 1024)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    out, err = capfd.readouterr()
    assert isinstance(ended.value.code, int)
    return subprocess.CompletedProcess(arguments, ended.value.code, out, err)


def assert_fails(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One line on standard error that says what is wrong."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("ckb-node: ")
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in done.stdout


def assert_sound(directory: Path) -> None:
    """The data opens again and equals a replay."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["check", "-C", str(directory)])


async def _mine_one(directory: Path) -> None:
    with open_node(load_config(directory)) as node:
        assert node.assembler is not None
        tip = node.chain.view().tip_header().number
        assert tip >= BLOCKS
        await DevMiner(node.chain, node.assembler, 0).mine_one()
        assert node.chain.view().tip_header().number == tip + 1


def assert_opens(directory: Path) -> None:
    """The data is sound, and what a node opens takes a block more; in this process."""
    assert_sound(directory)
    asyncio.run(_mine_one(directory))


def assert_starts(directory: Path) -> None:
    """The data is sound, and a node mines on from where it was."""
    assert_sound(directory)
    node = NodeProcess(directory, "dev", *FAST, port=rpc_port(directory))
    try:
        node.wait_until_ready()
        tip = node.rpc.tip()
        assert tip >= BLOCKS
        node.wait_for_tip(tip + 1)
    finally:
        node.kill()


def fingerprint(directory: Path) -> dict[str, str]:
    """What the data files hold, without logs."""
    files = (path for path in (directory / "data").rglob("*") if path.is_file() and "LOG" not in path.name)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.suffix != ".log"} | {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in (directory / "data/chain").rglob("*.log")
    }


# ---------------------------------------------------------------- somebody else has it


def test_port_in_use(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", rpc_port(directory))):
        done = run_command("run", "-C", str(directory))
    assert_fails(done, EXIT_IO, f"cannot listen on 127.0.0.1:{rpc_port(directory)}", "in use", "another port")
    assert_sound(directory)


def test_port_for_peers_in_use(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"
        edit(directory, "/ip4/127.0.0.1/tcp/0", address)
        done = run_command("run", "-C", str(directory))
    assert_fails(done, EXIT_IO, f"network.listen_addresses: cannot listen on {address}", "in use", "another port")
    assert_sound(directory)


def test_second_node_on_the_same_data(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = NodeProcess(directory, "dev", *FAST, port=rpc_port(directory))
    try:
        first.wait_until_ready()
        words = ("data/chain", "in use by another process")
        assert_fails(run_command("run", "-C", str(directory)), EXIT_IO, *words)
        assert_fails(run_here(capfd, "check", "-C", str(directory)), EXIT_IO, *words)
        first.wait_for_tip(first.rpc.tip() + 2)
        first.stop()
    finally:
        if first.process.poll() is None:
            first.kill()
    assert_starts(directory)


# ---------------------------------------------------------------- files that cannot be written or used


@pytest.mark.parametrize("name", ["data", "data/chain/db", "data/chain/blocks", "data/indexer"])
def test_a_file_in_place_of_a_directory(directory: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    place, aside = directory / name, directory / "aside"
    place.rename(aside)
    place.write_text("in the way\n")
    assert_fails(run_here(capfd, "run", "-C", str(directory)), EXIT_IO, str(place))
    place.unlink()
    aside.rename(place)
    assert_opens(directory)


@pytest.mark.parametrize("command", [("init", "--ba-arg", MINER_ARG), ("dev",)])
def test_a_file_in_place_of_the_node_directory(
    tmp_path: Path, command: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "node"
    place.write_text("in the way\n")
    done = run_here(capfd, *command, "-C", str(place))
    assert_fails(done, EXIT_IO, str(place), "exists")
    assert place.read_text() == "in the way\n"


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no place that even root cannot write")
def test_a_data_directory_that_nobody_can_write(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edit(directory, 'data_dir = "data"', 'data_dir = "/sys/kernel/ckb-node"')
    assert_fails(run_here(capfd, "run", "-C", str(directory)), EXIT_IO, "/sys/kernel/ckb-node")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_without_permission(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    database = directory / "data/chain/db"
    database.chmod(0o500)
    assert_fails(run_here(capfd, "run", "-C", str(directory)), EXIT_IO, str(database), "ermission")
    database.chmod(0o700)
    assert_sound(directory)


def test_a_key_file_that_holds_no_key(directory: Path) -> None:
    key = directory / "data/network/secret_key"
    secret = key.read_bytes()
    key.unlink()
    key.write_bytes(b"short")
    node = NodeProcess(directory, "run", port=rpc_port(directory))
    try:
        node.wait_until_ready()
        assert f"kept_as={key}.damaged-1" in node.output()
        node.stop()
    finally:
        if node.process.poll() is None:
            node.kill()
    assert key.with_name("secret_key.damaged-1").read_bytes() == b"short"
    assert key.read_bytes() not in (b"short", secret)


def test_a_database_without_its_first_file(directory: Path) -> None:
    current = directory / "data/chain/db/CURRENT"
    text = current.read_bytes()
    current.unlink()
    assert_fails(run_command("run", "-C", str(directory)), EXIT_IO, "data/chain/db/CURRENT: the file is missing")
    current.write_bytes(text)
    assert_sound(directory)


def test_missing_block_bodies(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bodies, aside = directory / "data/chain/blocks", directory / "aside"
    bodies.rename(aside)
    assert_fails(run_here(capfd, "run", "-C", str(directory)), EXIT_IO, str(bodies))
    shutil.rmtree(bodies, ignore_errors=True)
    aside.rename(bodies)
    assert_sound(directory)


# ---------------------------------------------------------------- no room


def file_limit(size: int) -> Callable[[], None]:
    """For a child process: every file ends at `size` bytes, as on a disk that is full (EFBIG, not ENOSPC)."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def run_limited(directory: Path, size: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ckb_node", "dev", *FAST, "-C", str(directory)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=file_limit(size),
    )


def largest_file(directory: Path) -> int:
    return max(path.stat().st_size for path in (directory / "data").rglob("*") if path.is_file())


def test_no_room_for_a_new_chain(tmp_path: Path) -> None:
    """The configuration still fits; the genesis block does not."""
    directory, port = tmp_path / "node", free_port()
    options = ("--chain", "dev", "--ba-arg", MINER_ARG, "--rpc-port", str(port), "--p2p-port", "0")
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["init", *options, "-C", str(directory)])
    assert_fails(run_limited(directory, 4096), EXIT_IO, str(directory / "data"), "too large")
    node = NodeProcess(directory, "dev", *FAST, port=port)
    try:
        node.wait_until_ready()
        node.wait_for_tip(2)
    finally:
        node.kill()


def test_no_room_at_start(directory: Path) -> None:
    assert_fails(run_limited(directory, 1), EXIT_IO, str(directory / "data"), "too large")
    assert_sound(directory)


@pytest.mark.parametrize("room", [0, 500, 5000])
def test_room_runs_out_while_mining(directory: Path, room: int) -> None:
    """Somewhere in a block: in its body, in the database's log, or in the indexer."""
    done = run_limited(directory, largest_file(directory) + room)
    assert_fails(done, EXIT_IO, str(directory / "data"), "too large")
    assert_opens(directory)


def generate_blocks(node: NodeProcess, count: int) -> None:
    for _ in range(count):
        node.rpc.call("generate_block")


def test_room_runs_out_while_serving(directory: Path) -> None:
    """A block from outside is refused, never half taken; then the node says why, and ends: it could take no other."""
    node = NodeProcess(directory, "run", port=rpc_port(directory))
    try:
        node.wait_until_ready()
        size = largest_file(directory)
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (size, size))
        with pytest.raises(RpcFailure, match="File too large") as full:
            generate_blocks(node, 100)
        assert full.value.code == DATABASE_ERROR
        assert node.process.wait(STOP_S + 10) == EXIT_IO
        output = node.output()
        assert "the chain cannot be written any more; the node ends" in output
        assert output.splitlines()[-1].startswith("ckb-node: ")
        assert "File too large" in output.splitlines()[-1]
        assert "Traceback" not in output
    finally:
        if node.process.poll() is None:
            node.kill()
    assert_starts(directory)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB; only root in a real machine can have one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_while_mining(directory: Path, small_disk: Path) -> None:
    shutil.move(directory, small_disk / "node")
    full = small_disk / "node"
    ballast = small_disk / "ballast"
    room = os.statvfs(small_disk)
    ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - 100_000))
    done = run_command("dev", *FAST, "-C", str(full))
    assert_fails(done, EXIT_IO, str(full / "data"), "No space left on device")
    done = run_command("dev", *FAST, "-C", str(full))
    assert_fails(done, EXIT_IO, str(full / "data"), "No space left on device")
    ballast.unlink()
    assert_opens(full)


# ---------------------------------------------------------------- another chain


def test_data_of_another_chain(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    message = 'message = "ckb_dev"'
    edit(directory, message, 'message = "another"', "specs/dev.toml")
    for command in ("run", "check"):
        done = run_here(capfd, command, "-C", str(directory))
        assert_fails(done, EXIT_IO, "data/chain", "belongs to another chain", "genesis")
    edit(directory, 'message = "another"', message, "specs/dev.toml")
    assert_starts(directory)


def test_data_of_the_same_genesis_with_other_parameters(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The reference's message and its two ways out."""
    old = load_config(directory).load_spec()[0].content_hash.hex()
    edit(directory, "max_block_cycles = 3_500_000_000", "max_block_cycles = 3_400_000_000", "specs/dev.toml")
    new = load_config(directory).load_spec()[0].content_hash.hex()
    words = (f"chain_spec_hash mismatch: Config(0x{new}), storage(0x{old})", "--skip-spec-check", "--overwrite-spec")
    for command in ("run", "dev", "check"):
        assert_fails(run_here(capfd, command, "-C", str(directory)), EXIT_CONFIG, *words)
    for option, is_cured in (("--skip-spec-check", False), ("--overwrite-spec", True)):
        node = NodeProcess(directory, "run", option, port=rpc_port(directory))
        try:
            node.wait_until_ready()
            consensus = node.rpc.call("get_consensus")
            assert int(consensus["max_block_cycles"], 16) == 3_400_000_000
            node.stop()
        finally:
            if node.process.poll() is None:
                node.kill()
        if not is_cured:
            assert_fails(run_command("run", "-C", str(directory)), EXIT_CONFIG, *words)
    assert_opens(directory)


def test_another_genesis_is_never_overwritten(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edit(directory, 'message = "ckb_dev"', 'message = "another"', "specs/dev.toml")
    for option in ("--skip-spec-check", "--overwrite-spec"):
        done = run_here(capfd, "run", option, "-C", str(directory))
        assert_fails(done, EXIT_IO, "belongs to another chain", "genesis")


def test_skipping_and_overwriting_exclude_each_other(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = run_here(capfd, "run", "--skip-spec-check", "--overwrite-spec", "-C", str(directory))
    assert done.returncode == 64
    assert "exclude each other" in done.stderr


# ---------------------------------------------------------------- configuration

CONFIG_FAULTS = {
    "unknown key": ("[rpc]", '[rpc]\nlisten_adress = "127.0.0.1:1"', ["rpc.listen_adress", "unknown key"]),
    "unknown section": ("[miner]", "[strata]\n[miner]", ["strata", "unknown key"]),
    "wrong type": ('filter = "info,ckb-script=debug"', "filter = 3", ["logger.filter", "str"]),
    "number out of range": ("# min_fee_rate = 1000", "min_fee_rate = -1", ["tx_pool.min_fee_rate", ">= 0"]),
    "bad TOML": ("[tx_pool]", "[tx_pool", ["config.toml", "line"]),
    "unknown module": ('"Net"', '"Nett"', ["rpc.modules", "Nett"]),
    "bad address": (
        '\nlisten_address = "127.0.0.1:',
        '\nlisten_address = "127.0.0.1',
        ["rpc.listen_address", "host:port"],
    ),
    "bad log level": ('filter = "info,ckb-script=debug"', 'filter = "loud"', ["logger.filter", "loud"]),
    "bad code hash": ('code_hash = "0x9bd7', 'code_hash = "9bd7', ["block_assembler.code_hash"]),
    "bad hash type": ('\nhash_type = "type"', '\nhash_type = "types"', ["block_assembler.hash_type", "types"]),
    "missing value": ("[block_assembler]\ncode_hash", "[block_assembler]\n# code_hash", ["block_assembler.code_hash"]),
    "unknown bundled chain": (
        'spec = { file = "specs/dev.toml"',
        'spec = { bundled = "specs/main.toml"',
        ["chain.spec", "main"],
    ),
    "no spec file": (
        'spec = { file = "specs/dev.toml"',
        'spec = { file = "specs/none.toml"',
        ["specs/none.toml", "no such file"],
    ),
}


@pytest.mark.parametrize("fault", CONFIG_FAULTS)
def test_broken_configuration(directory: Path, fault: str, capfd: pytest.CaptureFixture[str]) -> None:
    old, new, words = CONFIG_FAULTS[fault]
    edit(directory, old, new)
    before = fingerprint(directory)
    assert_fails(run_here(capfd, "run", "-C", str(directory)), EXIT_CONFIG, *words)
    assert fingerprint(directory) == before


def test_no_configuration(tmp_path: Path) -> None:
    done = run_command("run", "-C", str(tmp_path / "nowhere"))
    assert_fails(done, EXIT_CONFIG, "nowhere/config.toml", "no such file", "ckb-node init")
    assert not (tmp_path / "nowhere").exists()


SPEC_FAULTS = {
    "unknown key": ("cellbase_maturity = 0", "cellbase_maturityy = 0", ["cellbase_maturityy"]),
    "wrong type": ("cellbase_maturity = 0", 'cellbase_maturity = "none"', ["cellbase_maturity"]),
    "unknown proof of work": ('func = "Dummy"', 'func = "Scrypt"', ["Scrypt"]),
    "missing file": ('{ bundled = "specs/cells/dao" }', '{ file = "cells/none" }', ["cells/none"]),
}


@pytest.mark.parametrize("fault", SPEC_FAULTS)
def test_broken_chain_spec(directory: Path, fault: str, capfd: pytest.CaptureFixture[str]) -> None:
    old, new, words = SPEC_FAULTS[fault]
    edit(directory, old, new, "specs/dev.toml")
    before = fingerprint(directory)
    assert_fails(run_here(capfd, "check", "-C", str(directory)), EXIT_CONFIG, *words)
    assert fingerprint(directory) == before


def test_init_does_not_overwrite(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = (directory / "config.toml").read_bytes()
    done = run_here(capfd, "init", "--chain", "dev", "--ba-arg", MINER_ARG, "-C", str(directory))
    assert_fails(done, EXIT_FAILURE, "already exist", "--force")
    assert (directory / "config.toml").read_bytes() == before


def test_unknown_option() -> None:
    done = run_command("run", "--no-such-option")
    assert done.returncode == 64
    assert "no-such-option" in done.stderr
    assert "Traceback" not in done.stderr
