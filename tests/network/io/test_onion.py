"""The control port's conversation, with a Tor that is played here."""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path

import pytest

from network.io.onion import OnionService, TorError, publish

NAME = "a" * 56
KEY = bytes(range(64))
COOKIE = bytes(range(32))
DONE = '250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"\r\n250 OK\r\n'
AUTH = '250-PROTOCOLINFO 1\r\n250-AUTH METHODS={}\r\n250-VERSION Tor="0.4.8"\r\n250 OK\r\n'

Answer = Callable[[str], str | None]
"""What Tor says to a line; None closes the connection."""


class FakeTor:
    """Answers lines, and keeps them."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[str] = []
        self._answer = answer
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            self.asked.append(line)
            answer = self._answer(line)
            if answer is None:
                break
            writer.write(answer.encode())
        writer.close()


@asynccontextmanager
async def tor(answer: Answer) -> AsyncIterator[FakeTor]:
    fake = FakeTor(answer)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()


def willing(methods: str, added: str = f"250-ServiceID={NAME}\r\n250 OK\r\n") -> Answer:
    def answer(line: str) -> str | None:
        match line.split()[0]:
            case "PROTOCOLINFO":
                return AUTH.format(methods)
            case "GETINFO":
                return DONE
            case "ADD_ONION":
                return added
        return "250 OK\r\n"

    return answer


async def publish_once(fake: FakeTor, service: OnionService) -> tuple[list[bytes], list[str]]:
    """What was kept and published; the service is given up then."""
    kept: list[bytes] = []
    names: list[str] = []
    done = asyncio.Event()

    def published(name: str) -> None:
        names.append(name)
        done.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(publish(("127.0.0.1", fake.port), service, kept.append, published))
        await asyncio.wait([group.create_task(done.wait()), task], return_when=asyncio.FIRST_COMPLETED)
        task.cancel()
        done.set()
        if task.done() and not task.cancelled():
            with suppress(asyncio.CancelledError):
                await task
    return kept, names


SERVICE = OnionService(8115, ("127.0.0.1", 18115), None)


async def test_a_new_service_gets_a_key_which_is_kept() -> None:
    made = f"250-ServiceID={NAME}\r\n250-PrivateKey=ED25519-V3:{b64encode(KEY).decode()}\r\n250 OK\r\n"
    async with tor(willing("NULL", made)) as fake:
        assert await publish_once(fake, SERVICE) == ([KEY], [NAME])
    assert fake.asked[:3] == ["PROTOCOLINFO 1", "AUTHENTICATE", "GETINFO status/bootstrap-phase"]
    assert fake.asked[3] == "ADD_ONION NEW:ED25519-V3 Port=8115,127.0.0.1:18115"


async def test_a_service_that_was_there_before_keeps_its_key() -> None:
    async with tor(willing("NULL")) as fake:
        service = OnionService(8115, ("::1", 18115), KEY)
        assert await publish_once(fake, service) == ([], [NAME])
    assert fake.asked[3] == f"ADD_ONION ED25519-V3:{b64encode(KEY).decode()} Port=8115,[::1]:18115"


async def test_a_password_goes_as_hex_so_that_it_may_hold_anything() -> None:
    async with tor(willing("HASHEDPASSWORD")) as fake:
        await publish_once(fake, OnionService(1, ("127.0.0.1", 1), KEY, 'pass "word"\r\n'))
    assert fake.asked[1] == "AUTHENTICATE " + b'pass "word"\r\n'.hex()


async def test_the_cookie_is_proven_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / 'a "cookie'
    path.write_bytes(COOKIE)
    quoted = str(path).replace('"', '\\"')
    nonce = b"n" * 32
    proofs: list[str] = []

    def answer(line: str) -> str | None:
        if line.startswith("AUTHCHALLENGE"):
            proof = COOKIE + bytes.fromhex(line.split()[-1]) + nonce
            server = hmac.digest(b"Tor safe cookie authentication server-to-controller hash", proof, sha256)
            client = hmac.digest(b"Tor safe cookie authentication controller-to-server hash", proof, sha256)
            proofs.append(client.hex())
            return f"250 AUTHCHALLENGE SERVERHASH={server.hex().upper()} SERVERNONCE={nonce.hex()}\r\n"
        return willing(f'COOKIE,SAFECOOKIE COOKIEFILE="{quoted}"')(line)

    async with tor(answer) as fake:
        assert await publish_once(fake, OnionService(1, ("127.0.0.1", 1), KEY)) == ([], [NAME])
    assert fake.asked[2] == f"AUTHENTICATE {proofs[0]}"


async def test_who_does_not_know_the_cookie_gets_no_proof(tmp_path: Path) -> None:
    path = tmp_path / "cookie"
    path.write_bytes(COOKIE)

    def answer(line: str) -> str | None:
        if line.startswith("AUTHCHALLENGE"):
            return f"250 AUTHCHALLENGE SERVERHASH={'00' * 32} SERVERNONCE={'00' * 32}\r\n"
        return willing(f'SAFECOOKIE COOKIEFILE="{path}"')(line)

    async with tor(answer) as fake:
        with pytest.raises(ExceptionGroup) as caught:
            await publish_once(fake, SERVICE)
    assert "does not know Tor's cookie" in str(caught.value.exceptions[0])
    assert len(fake.asked) == 2


@pytest.mark.parametrize("size", [0, 31, 33])
async def test_a_cookie_file_of_another_size_is_no_cookie(tmp_path: Path, size: int) -> None:
    (tmp_path / "cookie").write_bytes(bytes(size))
    async with tor(willing(f'SAFECOOKIE COOKIEFILE="{tmp_path / "cookie"}"')) as fake:
        await assert_fails(fake, "has another length")


async def assert_fails(fake: FakeTor, reason: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await publish_once(fake, SERVICE)
    error = caught.value.exceptions[0]
    assert isinstance(error, TorError)
    assert reason in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda _: None, "closed the connection"),
        (lambda _: "515 Bad authentication\r\n", "Tor refuses: 515"),
        (lambda _: "HTTP/1.1 400 Bad Request\r\n", "Tor refuses: HTTP"),
        (lambda _: "250-x" * 5000 + "\r\n", "is no Tor"),
        (lambda _: "250-x\r\n" * 100, "does not come to an end"),
        (lambda _: "250 \xff\r\n", "is no Tor"),
        (willing("COOKIE"), "tor_password"),
        (willing("HASHEDPASSWORD"), "tor_password"),
        (willing("NULL", "250 OK\r\n"), "names no onion service"),
        (willing("NULL", f"250-ServiceID={NAME}\r\n250-PrivateKey=x:y\r\n250 OK\r\n"), "gives no key"),
        (willing("NULL", "250-ServiceID=../x\r\n250 OK\r\n"), "names no onion service"),
    ],
)
async def test_what_is_no_tor_or_does_not_want(answer: Answer, reason: str) -> None:
    async with tor(answer) as fake:
        await assert_fails(fake, reason)


async def test_nobody_listens() -> None:
    async with tor(lambda _: None) as fake:
        port = fake.port
    with pytest.raises(OSError, match=r"."):
        await publish(("127.0.0.1", port), SERVICE, lambda _: None, lambda _: None)
