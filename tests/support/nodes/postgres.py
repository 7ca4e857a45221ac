"""A PostgreSQL server of its own in a directory, where the machine has the program."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, create_engine
from sqlalchemy.exc import OperationalError

from tests.support.nodes.process import free_port

START_S = 60.0
USER = "postgres"


def postgres_programs() -> Path | None:
    """The directory of `initdb` and `postgres`, if they are installed."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    if found is not None:
        places.append(Path(found).resolve().parent)
    return next((place for place in places if (place / "postgres").exists() and (place / "initdb").exists()), None)


@contextmanager
def postgres_server(programs: Path, directory: Path, *, is_safe: bool = False) -> Iterator[URL]:
    """Run a server on loopback; the URL of its database. PostgreSQL refuses to run as root, so then another does.
    `is_safe`: it waits for the disk."""
    account = pwd.getpwnam("nobody") if os.getuid() == 0 else None
    data = directory / "postgres"
    data.mkdir(mode=0o700)
    if account is not None:
        os.chown(data, account.pw_uid, account.pw_gid)
        for parent in data.parents:
            if parent.stat().st_mode & 0o011 != 0o011:
                parent.chmod(parent.stat().st_mode | 0o011)
    user = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    made = subprocess.run(
        [programs / "initdb", "-D", data, "-U", USER, "--auth=trust", "-E", "UTF8", "--no-sync"],
        capture_output=True, text=True, check=False, timeout=START_S, cwd=data, **user,  # type: ignore[call-overload]
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    port = free_port()
    options = [
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "unix_socket_directories=",
        "-c",
        f"fsync={'on' if is_safe else 'off'}",
    ]
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-p", str(port), *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=data, **user,
    )  # type: ignore[call-overload]  # fmt: skip
    try:
        url = URL.create("postgresql+psycopg", USER, None, "127.0.0.1", port, USER)
        _wait_for(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_for(url: URL, server: subprocess.Popen[bytes]) -> None:
    engine = create_engine(url)
    deadline = time.monotonic() + START_S
    try:
        while True:
            assert server.poll() is None, "the server ended"
            try:
                engine.connect().close()
            except OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            else:
                return
    finally:
        engine.dispose()
