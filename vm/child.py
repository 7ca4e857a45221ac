"""How processes of our own code are started: they import what this one imports, whatever directory it was started in.

`python -m` would look for modules in the current directory first, where others may have put theirs. The environment is
fixed too: Python's variables and preloaded libraries of the caller must not take effect.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

_KEPT: Final = ("TZ", "SSL_CERT_FILE")
"""Variables that do not change which code runs."""
_LIBRARY_PATH: Final = "LD_LIBRARY_PATH"
"""Some builds of Python do not find their own library without it; of its directories only absolute ones are kept."""

_BOOTSTRAP: Final = """\
import sys
sys.path[:] = {path}
from {module} import main
sys.exit(main(sys.argv[1:]))
"""


def child_command(module: str, arguments: Sequence[str]) -> list[str]:
    """Runs `main(arguments)` of a module; its result is the exit code."""
    path = [each for each in sys.path if Path(each).is_absolute()]
    # Isolated: neither the current directory nor the environment adds to the path, which is replaced then.
    return [sys.executable, "-I", "-c", _BOOTSTRAP.format(path=ascii(path), module=module), *arguments]


def child_environment() -> dict[str, str]:
    """All the environment that a child has."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {"PATH": os.defpath, "LANG": "C.UTF-8"}
    libraries = [each for each in os.environ.get(_LIBRARY_PATH, "").split(os.pathsep) if Path(each).is_absolute()]
    return environment | ({_LIBRARY_PATH: os.pathsep.join(libraries)} if libraries else {})


def start_child(
    module: str,
    arguments: Sequence[str],
    *,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    group: int | None = None,
) -> subprocess.Popen[bytes]:
    """A process that runs `main(arguments)` of a module of ours, in process group `group` (0: one of its own).

    Paths among the arguments must be absolute: it runs in the root directory. It has no output. Raises OSError.
    """
    return subprocess.Popen(
        child_command(module, arguments),
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=pass_fds,
        cwd="/",
        env=child_environment(),
        process_group=group,
    )


STOPPED_STATES: Final = ("T", "t")
"""By a signal, or by a debugger."""


def process_state(process: int) -> str:
    """The letter that the system has for it, `R` while it runs; empty when it is gone or the system does not tell."""
    fields = process_fields(process)
    return fields[0] if fields else ""


def process_fields(process: int) -> list[str]:
    """What /proc/PID/stat says behind the name: state, and times of the processor at 11 and 12 in clock ticks."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
