"""How the program ends: exit codes, one line for each error, and never a traceback.

Exit codes: 0 fine, 1 a script failed under `debug`, 64 the command line is wrong, 65 the configuration is wrong,
66 files cannot be read or written, 113 anything else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final, NoReturn, TextIO

import click

from ckb_node.runtime.errors import CommandError
from ckb_node.runtime.key_file import KeyFileError
from ckb_node.runtime.settings import ConfigError
from consensus.errors import CkbError, SpecError
from storage.errors import SpecMismatch, StorageError

EXIT_CLI, EXIT_CONFIG, EXIT_IO, EXIT_FAILURE = 64, 65, 66, 113

_EXIT_CODES: dict[type[BaseException], int] = {
    ConfigError: EXIT_CONFIG,
    SpecError: EXIT_CONFIG,
    SpecMismatch: EXIT_CONFIG,
    StorageError: EXIT_IO,
    KeyFileError: EXIT_IO,
    OSError: EXIT_IO,
    CommandError: EXIT_FAILURE,
    CkbError: EXIT_FAILURE,
    MemoryError: EXIT_FAILURE,
}
_KNOWN: Final = tuple(_EXIT_CODES)

MAX_LINE = 4000

INSTEAD: Final = {
    "daemon": "a service manager (systemd, a container) keeps `ckb-node run` in the background and stops it by SIGTERM",
    "help": "say `ckb-node --help` or `ckb-node COMMAND --help`",
    "migrate": "`ckb-node run` brings an older database of ckb-node up to date; that of ckb is not read",
    "reset-data": "stop the node and remove the directory `data`; to build the database anew from the blocks there: "
    "`ckb-node recover`",
}
"""Commands of the reference that are not here: what to do instead."""

_OPTIONS_SAY_ALL: Final = "nothing is asked: options say it all, --chain and --ba-arg first of all; see --help"
INSTEAD_OF_OPTIONS: Final = {
    ("run", "--daemon"): INSTEAD["daemon"],
    ("init", "-i"): _OPTIONS_SAY_ALL,
    ("init", "--interactive"): _OPTIONS_SAY_ALL,
    ("init", "-s"): "the chain is chosen by --chain",
    ("init", "--spec"): "the chain is chosen by --chain",
    ("init", "--list-specs"): "--list-chains names the chains that come with the node",
    (
        "init",
        "--export-specs",
    ): "a dev chain's spec is written to specs/dev.toml; those of public chains are in the program",
}
"""The same for options, by command."""


class NodeCommand(click.Command):
    """A command that refuses options and arguments which are not valid UTF-8."""

    free_parameters = frozenset({"arguments"})
    """Parameters that are not checked: a program that runs under `debug` may be given any bytes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what is not UTF-8, and tell who knows the reference what takes the place of an option."""
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if (instead := INSTEAD_OF_OPTIONS.get((self.name or "", error.option_name))) is not None:
                raise click.UsageError(f"No such option: {error.option_name}: {instead}.", ctx) from None
            raise
        for name, value in ctx.params.items():
            if name not in self.free_parameters:
                _verify_utf8(name, value)
        _verify_utf8("-C", ctx.obj)
        return rest


def _verify_utf8(name: str, value: object) -> None:
    for each in value if isinstance(value, tuple | list) else (value,):
        text = str(each) if isinstance(each, str | Path) else ""
        shown = text.encode(errors="backslashreplace").decode()
        if shown != text:
            raise click.UsageError(f"{name}: not UTF-8 text: {shown[:200]}")


class NodeSubGroup(click.Group):
    """A group of commands that is one itself."""

    command_class = NodeCommand

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what is not UTF-8."""
        rest = super().parse_args(ctx, args)
        for name, value in ctx.params.items():
            _verify_utf8(name, value)
        return rest


class NodeGroup(click.Group):
    """A group that ends with the exit codes of this program."""

    command_class = NodeCommand

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Tell who knows the reference what takes the place of a command that is not here."""
        if ctx.parent is None and args[0] in INSTEAD and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command '{args[0]}': {INSTEAD[args[0]]}.")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run a command and exit."""
        kwargs["standalone_mode"] = False
        _open_missing_streams()
        _listen_to_sigint()
        code = self._code_of(args, kwargs)
        sys.exit(code if _is_flushed(sys.stdout) else _fail(EXIT_IO, "standard output: cannot be written"))

    def _code_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        try:
            code = super().main(*args, **kwargs)
        except click.ClickException as error:
            with contextlib.suppress(OSError):
                error.show()
            return EXIT_CLI
        except (click.Abort, KeyboardInterrupt):
            return _fail(EXIT_FAILURE, None, "interrupted")
        except BrokenPipeError:  # standard output is a pipe whose reader has ended
            return EXIT_IO
        except _KNOWN as error:
            return _fail(_exit_code(error), _line(error))
        except Exception as error:  # noqa: BLE001 - a bug of this program is shown in one line, too
            return _fail(EXIT_FAILURE, f"internal error: {type(error).__name__}: {_line(error)}{_place_of(error)}")
        return code if isinstance(code, int) else 0


def _exit_code(error: BaseException) -> int:
    return next(_EXIT_CODES[base] for base in type(error).__mro__ if base in _EXIT_CODES)


def _line(error: BaseException) -> str:
    plain = str(error)
    if isinstance(error, OSError) and error.strerror:  # str(error) would begin with "[Errno 2]"
        plain = error.strerror if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"
    text = " ".join(plain.split()) or type(error).__name__
    return text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]}..."


def _place_of(error: BaseException) -> str:
    """File and line that raised an unexpected error, for a bug report."""
    frames = extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _fail(code: int, text: str | None, plain: str = "") -> int:
    with contextlib.suppress(OSError, ValueError):
        click.echo(plain if text is None else f"ckb-node: {text}", err=True)
    return code


def _is_flushed(stream: TextIO) -> bool:
    """Flush a standard stream; False when its content could not be written. A pipe whose reader has ended counts as
    flushed. After an error the stream is redirected, since Python flushes it once more at its end and would print a
    traceback."""
    try:
        stream.flush()
    except BrokenPipeError:
        _forget(stream)
    except (OSError, ValueError):
        _forget(stream)
        return False
    return True


def _forget(stream: TextIO) -> None:
    """Redirect a stream to the null device, where the rest of its buffer goes."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _open_missing_streams() -> None:
    """Open the null device for standard streams that were closed when the process started: Python has None for them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end


def _listen_to_sigint() -> None:
    """Handle SIGINT even if the process was started with it ignored, as shells start background jobs."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
