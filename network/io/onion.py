"""An onion service of this node, by the control port of a Tor beside it (control-spec.txt of the Tor project).

The service lives as long as the connection to the control port.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn

from network.io.sockets import Endpoint

__all__ = ["KEY_SIZE", "OnionService", "TorError", "publish"]

KEY_SIZE: Final = 64
"""Bytes of an expanded ed25519 key, as Tor has it."""

COOKIE_SIZE: Final = 32
ANSWER_SECONDS: Final = 60.0
"""Tor makes an onion service in seconds."""

BOOTSTRAP_SECONDS: Final = 2.0
"""Between two questions whether Tor has reached its network."""

ALIVE_SECONDS: Final = 60.0
"""Between two signs of life of Tor."""

MAX_LINE: Final = 16 << 10
MAX_LINES: Final = 64

_SERVER_TO_CONTROLLER: Final = b"Tor safe cookie authentication server-to-controller hash"
_CONTROLLER_TO_SERVER: Final = b"Tor safe cookie authentication controller-to-server hash"
_PAIR: Final = re.compile(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|\S*)')
_SERVICE_ID: Final = re.compile(r"[a-z2-7]{56}")


class TorError(OSError):
    """Tor refuses, or what answers is no Tor; one line."""


@dataclass(frozen=True, slots=True)
class OnionService:
    """What Tor is asked for: connections to `external_port` of the service arrive at `target`. `key` is that of an
    earlier service, whose address stays the same, or None."""

    external_port: int
    target: Endpoint
    key: bytes | None
    password: str | None = None


async def publish(
    control: Endpoint, service: OnionService, keep: Callable[[bytes], None], published: Callable[[str], None]
) -> NoReturn:
    """Make the service and hold it until cancelled. `keep` gets a new key, `published` the 56 letters of the address.

    Raises TorError and OSError when there is no service any more.
    """
    reader, writer = await asyncio.open_connection(*control, limit=MAX_LINE)
    tor = _Tor(reader, writer)
    try:
        await _authenticate(tor, service.password)
        while "TAG=done" not in (await tor.ask("GETINFO status/bootstrap-phase"))[0]:  # noqa: ASYNC110 - of Tor
            await asyncio.sleep(BOOTSTRAP_SECONDS)
        key, address = await _add(tor, service)
        if key is not None:
            keep(key)
        published(address)
        while True:
            await asyncio.sleep(ALIVE_SECONDS)
            await tor.ask("GETINFO version")
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _add(tor: _Tor, service: OnionService) -> tuple[bytes | None, str]:
    """Ask for the service: its key, if that is new, and its address."""
    key = "NEW:ED25519-V3" if service.key is None else f"ED25519-V3:{b64encode(service.key).decode()}"
    host, port = service.target
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    answer = dict(
        line.partition("=")[::2] for line in await tor.ask(f"ADD_ONION {key} Port={service.external_port},{target}")
    )
    address = answer.get("ServiceID", "")
    if not _SERVICE_ID.fullmatch(address):
        raise TorError("Tor names no onion service")
    made = answer.get("PrivateKey")
    return None if made is None else _key_of(made), address


def _key_of(text: str) -> bytes:
    try:
        key = b64decode(text.removeprefix("ED25519-V3:"), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise TorError("Tor gives no key of the onion service")
    return key


# ---------------------------------------------------------------- authentication


async def _authenticate(tor: _Tor, password: str | None) -> None:
    """By nothing, password, or the cookie file, whatever Tor wants first. Raises TorError."""
    auth = next((line for line in await tor.ask("PROTOCOLINFO 1") if line.startswith("AUTH ")), "")
    fields = _fields(auth)
    methods = fields.get("METHODS", "").split(",")
    if "NULL" in methods:
        await tor.ask("AUTHENTICATE")
    elif password is not None and "HASHEDPASSWORD" in methods:
        await tor.ask(f"AUTHENTICATE {password.encode().hex()}")
    elif "SAFECOOKIE" in methods and "COOKIEFILE" in fields:
        await _show_cookie(tor, await asyncio.to_thread(_read_cookie, fields["COOKIEFILE"]))
    else:
        raise TorError(f"Tor wants one of {', '.join(methods)}; network.onion.tor_password sets a password")


async def _show_cookie(tor: _Tor, cookie: bytes) -> None:
    """Prove that the file can be read here, without showing it to whoever listens on that port."""
    nonce = os.urandom(32)
    fields = _fields((await tor.ask(f"AUTHCHALLENGE SAFECOOKIE {nonce.hex()}"))[0])
    try:
        server_hash, server_nonce = (bytes.fromhex(fields[name]) for name in ("SERVERHASH", "SERVERNONCE"))
    except (KeyError, ValueError):
        raise TorError("Tor answers the challenge with something else") from None
    proof = cookie + nonce + server_nonce
    if not hmac.compare_digest(server_hash, hmac.digest(_SERVER_TO_CONTROLLER, proof, sha256)):
        raise TorError("what answers at network.onion.tor_controller does not know Tor's cookie")
    await tor.ask(f"AUTHENTICATE {hmac.digest(_CONTROLLER_TO_SERVER, proof, sha256).hex()}")


def _read_cookie(name: str) -> bytes:
    path = Path(name)
    try:
        if not path.is_file():
            raise TorError(f"Tor's cookie {name} is no file")
        with path.open("rb") as file:
            cookie = file.read(COOKIE_SIZE + 1)
    except PermissionError as error:
        raise TorError(f"Tor's cookie {name} cannot be read: {error.strerror}") from None
    if len(cookie) != COOKIE_SIZE:
        raise TorError(f"Tor's cookie {name} has another length")
    return cookie


def _fields(line: str) -> Mapping[str, str]:
    """`NAME=value` and `NAME="quoted value"`."""
    fields = {}
    for name, value in _PAIR.findall(line):
        fields[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
    return fields


# ---------------------------------------------------------------- lines


class _Tor:
    """The control port's conversation: one line asks, some lines answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, command: str) -> list[str]:
        """The answer's lines without their codes. Raises TorError for a refusal, a strange answer, or none."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._writer.write(f"{command}\r\n".encode())
                await self._writer.drain()
                return await self._answer()
        except TimeoutError:
            raise TorError("Tor does not answer") from None
        except ValueError:  # a line above the limit, or no ASCII
            raise TorError("what answers at network.onion.tor_controller is no Tor") from None

    async def _answer(self) -> list[str]:
        lines: list[str] = []
        while len(lines) < MAX_LINES:
            line = await self._line()
            if line[:1] == "6":  # an event that nobody asked for
                continue
            if line[:3] != "250" or line[3:4] not in {" ", "-", "+"}:
                raise TorError(f"Tor refuses: {line[:200]}")
            lines.append(line[4:])
            if line[3] == "+":
                while (await self._line()) != ".":
                    pass
            elif line[3] == " ":
                return lines
        raise TorError("Tor does not come to an end")

    async def _line(self) -> str:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise TorError("Tor has closed the connection")
        return line.rstrip(b"\r\n").decode("ascii")
