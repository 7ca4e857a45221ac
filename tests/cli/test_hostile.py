"""Whatever stands on the command line or in the configuration: one clear line and an exit code, never a traceback."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ckb_node.cli.group import NodeGroup
from ckb_node.cli.main import main
from ckb_node.commands.init_files import NewFiles
from ckb_node.config import FileConfig, load_config, parse_config
from ckb_node.runtime.settings import ConfigError
from ckb_node.specs import bundled_text, files_of
from consensus.chainspec.spec import build_consensus, parse_spec, read_spec
from consensus.errors import SpecError
from tests.support.nodes.directories import CLI, CONFIG, FAILURE, IO, OK, invoke

SURROGATE = "\udcff"
"""How Python holds a byte that is no UTF-8."""


def assert_clear(code: int, text: str) -> None:
    assert code in (OK, CLI, CONFIG, IO, FAILURE), text
    assert "Traceback" not in text
    assert "internal error" not in text


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile") / "node"
    assert invoke("init", "-C", str(root), "-c", "dev", "--genesis-message", "x").exit_code == OK
    return root


@pytest.fixture
def dev(made: Path, tmp_path: Path) -> Path:
    """A copy for one test."""
    root = tmp_path / "node"
    (root / "specs").mkdir(parents=True)
    for name in ("config.toml", "specs/dev.toml"):
        (root / name).write_bytes((made / name).read_bytes())
    return root


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# ---------------------------------------------------------------- options

NUMBERS = ("nan", "inf", "-inf", "1e400", "-1", "1e-400", "9" * 5000, "", " ", "0x10", "١", SURROGATE)
TEXTS = ("", SURROGATE, "😀", "a" * 5000, "../..", "/dev/null/x", "-", "[", '"', "\n", "$x", "%s")
NUMBER_OPTIONS = (
    ("dev", "--interval"), ("dev", "--rpc-port"), ("init", "--rpc-port"), ("init", "--p2p-port"), ("miner", "--limit"),
    ("import", "x", "--num-threads"), ("stats", "--from"), ("stats", "--to"), ("debug", "--max-cycles"),
    ("debug", "--cell-index"), ("debug", "--trace-limit"), ("debug", "--break-limit"), ("debug", "--vm-version"),
    ("replay", "--tmp-target", ".", "--num-threads"), ("replay", "--tmp-target", ".", "--profile"),
)  # fmt: skip
TEXT_OPTIONS = (
    ("init", "--chain"), ("init", "--import-spec"), ("init", "--log-to"), ("init", "--ba-code-hash"),
    ("init", "--ba-arg"), ("init", "--ba-hash-type"), ("init", "-c", "dev", "--ba-arg", "0x11", "--ba-message"),
    ("init", "-c", "dev", "--genesis-message"), ("init", "-c", "dev", "--system-cells"), ("init", "--genesis"),
    ("init", "--crates"), ("init", "--genesis-rpc"), ("run", "--assume-valid-target"), ("run", "--genesis"),
    ("run", "--crates"), ("run", "--genesis-rpc"), ("import",), ("export", "--target"), ("list-hashes", "--format"),
    ("export", "--target", "-", "--from"), ("export", "--target", "-", "--to"), ("replay", "--tmp-target"),
    ("init", "--genesis-peer"), ("run", "--genesis-peer"),
    ("debug", "--rpc"), ("debug", "--rpc", "http://127.0.0.1:1"), ("debug", "--tx-file"), ("debug", "--bin"),
    ("debug", "--bin", "x", "--script-group-type"), ("debug", "--bin", "x", "--trace"),
    ("debug", "--bin", "x", "--profile"), ("debug", "--bin", "x", "--break"), ("debug", "--engine"), ("fly",), (),
)  # fmt: skip


def run_all(options: tuple[str, ...], values: tuple[str, ...], root: Path) -> None:
    """On a directory whose configuration is missing, so that nothing starts for good."""
    for value in values:
        result = invoke(*options, value, "-C", str(root), stdin="")
        assert_clear(result.exit_code, result.output)
        if options[:1] != ("init",):
            assert result.exit_code != OK, f"{options} {value!r}"


@pytest.mark.parametrize("options", NUMBER_OPTIONS, ids=" ".join)
def test_numbers_of_options(options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ckb_node.cli.main.init_directory", lambda *_: None)  # dev would make a directory and then run
    run_all(options, NUMBERS, tmp_path / "missing")


@pytest.mark.parametrize("options", TEXT_OPTIONS, ids=" ".join)
def test_texts_of_options(options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, value in enumerate(TEXTS):
        run_all(options, (value,), tmp_path / str(number))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "3601", "-0.1"])
def test_an_interval_that_is_no_pause(value: str) -> None:
    result = invoke("dev", "--interval", value, "-C", "missing")
    assert result.exit_code == CLI
    assert "--interval" in result.stderr


def test_what_is_not_utf8_is_refused(tmp_path: Path) -> None:
    for arguments in (
        ("init", "-C", f"{tmp_path}/{SURROGATE}"),
        ("-C", f"{tmp_path}/{SURROGATE}", "list-hashes"),
        ("init", "-c", "dev", "-C", str(tmp_path / "x"), "--genesis-message", SURROGATE),
        ("import", SURROGATE),
    ):
        result = invoke(*arguments)
        assert result.exit_code == CLI
        assert "not UTF-8 text" in result.stderr
        assert "\\udcff" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", list(main.commands))
def test_help_is_short_too(command: str) -> None:
    assert invoke(command, "-h").output == invoke(command, "--help").output
    assert invoke("-h").exit_code == OK


@pytest.mark.parametrize("message", ["😀", "a\x7fb", 'say "hi"\\n', "\x01\t\n", "\u2028\ud7ff\ue000", "é" * 2000])
def test_any_text_may_be_the_genesis_message(message: str, tmp_path: Path) -> None:
    result = invoke("init", "-c", "dev", "-C", str(tmp_path / "x"), "--genesis-message", message)
    assert result.exit_code == OK, result.output
    genesis = load_config(tmp_path / "x").load_spec()[0].genesis
    assert getattr(genesis, "message", None) == message


# ---------------------------------------------------------------- files in odd places


@pytest.fixture
def odd_files(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Paths of what is no ordinary file. The FIFO has a writer that says nothing and goes away."""
    fifo, loop = tmp_path / "fifo", tmp_path / "loop"
    os.mkfifo(fifo)
    loop.symlink_to(loop)
    held = os.open(fifo, os.O_RDWR)
    done = threading.Timer(0.2, os.close, (held,))
    done.start()
    yield {
        "zero": "/dev/zero", "full": "/dev/full", "null": "/dev/null", "directory": str(tmp_path), "fifo": str(fifo),
        "symlink loop": str(loop), "through a file": f"{__file__}/x", "long": "/" + "a" * 300, "missing": "/missing/x",
    }  # fmt: skip
    done.join()


@pytest.mark.parametrize(
    "kind",
    ["zero", "full", "null", "directory", "fifo", "symlink loop", "through a file", "long", "missing"],
)
@pytest.mark.parametrize(
    "options",
    [
        ("init", "--import-spec"), ("init", "--genesis"), ("init", "--crates"), ("init", "-c", "dev", "--system-cells"),
        ("debug", "--tx-file"), ("debug", "--bin"), ("debug", "--bin", __file__, "--trace"), ("replay", "--tmp-target"),
        ("-C",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_files_that_are_none(options: tuple[str, ...], kind: str, odd_files: dict[str, str], tmp_path: Path) -> None:
    root = tmp_path / "node"
    place = ("list-hashes",) if options == ("-C",) else ("-C", str(root))
    result = invoke(*options, odd_files[kind], *place)
    assert result.exit_code != OK or options[0] == "debug"
    assert_clear(result.exit_code, result.output)
    assert not root.exists(), "a failed init leaves nothing behind"


@pytest.mark.parametrize("kind", ["zero", "full", "directory", "fifo", "symlink loop", "missing"])
def test_a_configuration_or_spec_that_is_no_file(kind: str, odd_files: dict[str, str], dev: Path) -> None:
    edit(dev / "config.toml", '"specs/dev.toml" }\n\n', f'"{odd_files[kind]}" }}\n\n')
    result = invoke("list-hashes", "-C", str(dev))
    assert result.exit_code == CONFIG
    assert odd_files[kind] in result.stderr
    (dev / "config.toml").unlink()
    (dev / "config.toml").symlink_to(odd_files[kind])
    result = invoke("list-hashes", "-C", str(dev))
    assert result.exit_code == CONFIG
    assert "config.toml" in result.stderr


@pytest.mark.parametrize("kind", ["zero", "directory", "symlink loop", "missing", "long"])
def test_a_cell_of_the_spec_that_is_no_file(kind: str, odd_files: dict[str, str], dev: Path) -> None:
    edit(dev / "specs/dev.toml", '{ bundled = "specs/cells/dao" }', f'{{ file = "{odd_files[kind]}" }}')
    result = invoke("list-hashes", "-C", str(dev))
    assert result.exit_code == CONFIG
    assert odd_files[kind] in result.stderr


def test_an_import_that_reads_twice_needs_a_file(dev: Path, odd_files: dict[str, str]) -> None:
    for source in (odd_files["fifo"], "/dev/null", "-"):
        result = invoke("import", source, "-C", str(dev), "--assume-valid-target", "0x" + "11" * 32)
        assert result.exit_code == CLI
        assert "read twice" in result.stderr


# ---------------------------------------------------------------- a failed init


@pytest.mark.parametrize(
    "options",
    [
        ("--ba-arg", "xyz"),
        ("--ba-hash-type", "data1", "--ba-code-hash", "0x11"),
        ("--import-spec", "/missing"),
        ("--import-spec", __file__),
        ("--import-spec", "/dev/zero"),
        ("-c", "dev", "--system-cells", "/missing"),
        ("-c", "testnet", "--genesis", __file__),
    ],
)
def test_a_failed_init_leaves_nothing(options: tuple[str, ...], tmp_path: Path) -> None:
    root = tmp_path / "a/b/node"
    assert invoke("init", "-C", str(root), *options).exit_code != OK
    assert list(tmp_path.iterdir()) == []


def test_a_failed_init_leaves_the_old_files(dev: Path) -> None:
    (dev / "mine").write_text("kept")
    before = {path: path.read_bytes() for path in dev.rglob("*") if path.is_file()}
    assert invoke("init", "-f", "-c", "dev", "-C", str(dev), "--import-spec", __file__).exit_code == CONFIG
    assert {path: path.read_bytes() for path in dev.rglob("*") if path.is_file()} == before


def test_a_directory_that_got_other_files_meanwhile_stays(tmp_path: Path) -> None:
    def fail() -> None:
        with NewFiles() as files:
            files.write(tmp_path / "a/b/c", b"new")
            (tmp_path / "a/other").write_text("other's")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "other"]


# ---------------------------------------------------------------- configuration

VALUES: tuple[Any, ...] = (
    "nan", "-nan", "inf", "-1", "0", "1", "1.5", str(1 << 63), str((1 << 63) - 1), "9" * 5000, "true", '""', '"x"',
    '"\\u0000"', '"a\\u0000b"', '"😀"', '"/dev/zero"', '"/dev/full"', '"[::1]:1"', '":1"', '"a..b:1"', '"0x"',
    f'"{"a" * 70}:1"', '"0.0.0.0:65536"', "[]", "{}", '[""]', '["x"]', "[[]]", "1979-05-27", '"http://[::1"',
)  # fmt: skip


def keys(kind: Any = FileConfig, path: str = "") -> Iterator[str]:
    """Every key of the configuration, as `table.key`."""
    for member in msgspec.structs.fields(kind):
        name = f"{path}.{member.name}".removeprefix(".")
        tables = [each for each in (member.type, *getattr(member.type, "__args__", ())) if is_table(each)]
        yield from keys(tables[0], name) if tables else [name]


def is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


@pytest.mark.parametrize("key", list(keys()))
def test_values_of_every_key(key: str) -> None:
    """Refused with the name of the key, or taken."""
    for value in VALUES:
        error = refusal(f"{key} = {value}")
        assert len(error) < 1000
        places = (key, key.rpartition(".")[0], "not valid TOML")
        assert not error or any(place in error for place in places), f"{value}: {error}"


def refusal(text: str) -> str:
    """Why a configuration is refused; nothing when it is taken."""
    try:
        parse_config(text)
    except ConfigError as error:
        return str(error)
    return ""


def test_every_key_was_found() -> None:
    assert {"data_dir", "rpc.listen_address", "network.sync.min_chain_work", "chain.spec.file"} <= set(keys())
    assert {"block_assembler.args", "miner.interval_millis"} <= set(keys())


SPEC = tomllib.loads(bundled_text("dev"))
SPEC_VALUES: tuple[Any, ...] = (
    float("nan"), float("inf"), -1, 0, 1, 1.5, 1 << 31, 1 << 32, (1 << 64) - 1, 1 << 64, 10**100, True, "", "x", "\0",
    "😀", "0x", "0x1", "0x" + "ff" * 32, "0x" + "ff" * 33, "/dev/zero", "..", "a" * 100_000, [], {}, [[]], [1, 0], [{}],
    {"file": "\0"}, {"bundled": "specs/../x"}, {"bundled": "specs/cells/\0"}, {"file": ""},
)  # fmt: skip


def spec_places(value: Any = SPEC, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where something stands in a spec; of lists only in the first and the last item."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from spec_places(each, (*path, key))
    elif isinstance(value, list):
        for index in sorted({0, len(value) - 1}):
            yield from spec_places(value[index], (*path, index))


@pytest.mark.parametrize("place", list(spec_places()), ids=lambda place: ".".join(map(str, place)))
def test_values_of_every_key_of_a_spec(place: tuple[str | int, ...], tmp_path: Path) -> None:
    """Refused as what they are, or a chain can be made of them."""
    load = files_of(tmp_path)

    def cell(name: str) -> bytes:
        return load(name) if "cells/secp256k1_data" not in name else b""  # a megabyte, which takes long

    for value in SPEC_VALUES:
        document = copy.deepcopy(SPEC)
        inner: Any = document
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        with contextlib.suppress(SpecError):
            build_consensus(read_spec(document), cell)
        del inner[place[-1]]
        with contextlib.suppress(SpecError):
            build_consensus(read_spec(document), cell)


TOML_FAULTS = {
    "deep arrays": "x = " + "[" * 20_000 + "]" * 20_000,
    "deep tables": "x = " + "{a=" * 20_000 + "1" + "}" * 20_000,
    "dotted": ".".join("a" * 500) + " = 1",
    "many digits": "x = " + "9" * 5000,
    "bad date": "x = 2024-13-45",
    "lone surrogate": 'x = "\\ud800"',
    "twice": "x = 1\nx = 1",
}


@pytest.mark.parametrize("fault", TOML_FAULTS)
def test_toml_that_is_none(fault: str) -> None:
    with pytest.raises(ConfigError):
        parse_config(TOML_FAULTS[fault])
    with pytest.raises(SpecError):
        parse_spec(TOML_FAULTS[fault])


def test_bytes_that_are_no_text(dev: Path) -> None:
    for data in (b"\xff\xfe", b"x = '\xff'", b"\0", bytes(range(256))):
        (dev / "config.toml").write_bytes(data)
        result = invoke("list-hashes", "-C", str(dev))
        assert result.exit_code == CONFIG
        assert result.stderr.count("\n") == 1


def test_a_byte_order_mark_is_no_fault(dev: Path) -> None:
    for name in ("config.toml", "specs/dev.toml"):
        (dev / name).write_bytes(b"\xef\xbb\xbf" + (dev / name).read_bytes())
    assert invoke("list-hashes", "-C", str(dev)).exit_code == OK
    spec = dev / "specs/dev.toml"
    assert invoke("init", "-C", str(dev / "again"), "--import-spec", str(spec)).exit_code == OK


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://[::1]:1", "refused"),
        ("http://nobody.invalid:1", "nown"),
        ("http://127.0.0.1:99999", "ort"),
        ("http://127.0.0.1:x", "ort"),
        ("http://a..b:1", "no host name"),
        ("http://[::1", "IPv6"),
        ("http://a b", "expected http://"),
        ("ftp://x", "expected http://"),
        ("", "expected http://"),
    ],
)
def test_urls_of_nodes(url: str, words: str, dev: Path) -> None:
    """Of `debug --rpc`, `--genesis-rpc` and `[miner] rpc_url`; unknown hosts get the resolver's words."""
    debug = invoke("debug", "--rpc", url, "0x" + "11" * 32)
    init = invoke("init", "-c", "testnet", "-C", str(dev / "x"), "--genesis-rpc", url)
    for result in (debug, init):
        assert words in result.output
        assert_clear(result.exit_code, result.output)
        assert "Errno" not in result.output


# ---------------------------------------------------------------- the process


def started(*arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "ckb_node", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, timeout=60, check=False, **more)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_output_that_is_full() -> None:
    with Path("/dev/full").open("wb") as full:
        done = started("list-hashes", "-b", stdout=full)
        assert done.returncode == IO
        assert done.stderr.count(b"\n") == 1
        assert b"ckb-node: " in done.stderr
        help_done = started("-h", stdout=full)
        assert (help_done.returncode, b"Traceback" in help_done.stderr) == (IO, False)
        command = [sys.executable, "-m", "ckb_node", "fly"]
        assert subprocess.run(command, stderr=full, timeout=60, check=False).returncode == CLI


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(closed: str, tmp_path: Path) -> None:
    program = f'"{sys.executable}" -m ckb_node "$@" {closed}'
    for arguments, code in (
        (("list-hashes", "-b"), OK),
        (("fly",), CLI),
        (("init", "-C", str(tmp_path / "x"), "--import-spec", "-"), CONFIG),
    ):
        command = ["sh", "-c", program, "sh", *arguments]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr
        assert b"internal error" not in done.stderr


def test_an_output_that_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = started("list-hashes", "-b", stdout=writing)
    os.close(writing)
    assert done.stderr == b""


def test_sigint_ends_a_command_that_a_shell_put_into_the_background(dev: Path) -> None:
    """A shell starts it with SIGINT ignored."""
    edit(dev / "config.toml", "# poll_interval_millis = 1000", "poll_interval_millis = 3600000")
    edit(dev / "config.toml", "http://127.0.0.1:8114/", "http://127.0.0.1:1/")
    command = [sys.executable, "-m", "ckb_node", "miner", "-C", str(dev)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        assert process.stdout is not None
        assert b"gives no work" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == OK
        assert b"0 blocks accepted" in process.stdout.read()
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_fault_of_the_program_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    group = NodeGroup("x")

    @group.command("fault")
    def fault() -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(SystemExit, match=f"^{FAILURE}$"):
        group.main(["fault"])
    err = capsys.readouterr().err
    assert err.startswith("ckb-node: internal error: ZeroDivisionError: a bug (test_hostile.py:")
    assert err.count("\n") == 1
