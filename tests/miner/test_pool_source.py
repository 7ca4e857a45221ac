"""The connection to a pool: made anew when it ends, given up when it is silent, with TLS where it is asked for."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

import ckb_node.miner.back_off as back_off
import ckb_node.miner.pool_source as module
from ckb_node.miner.endpoint import Endpoint
from ckb_node.miner.pool_session import Login
from ckb_node.miner.pool_source import PoolSource
from tests.miner.kit_desk import NotedDesk, easy_work
from tests.support.nodes.process import free_port

POW_HASH = "d5" * 32
TARGET = "0001" + "00" * 30
NONCE = bytes(range(16))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(back_off, "FIRST_S", 0.01)
    monkeypatch.setattr(module, "REFUSED_S", 0.01)


class Pool:
    """Serves each connection by `serve`; the default one logs in, gives a job and takes shares."""

    def __init__(self) -> None:
        self.connections = 0
        self.shares: list[Any] = []
        self.serve: Callable[[Pool, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] = Pool.serve_well
        self.port = 0

    async def on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.serve(self, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def serve_well(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = json.loads(await reader.readuntil(b"\n"))
            result: Any = True
            if request["method"] == "mining.subscribe":
                result = [None, "00c904bd", 12]
            if request["method"] == "mining.submit":
                self.shares.append(request["params"])
            say(writer, id=request["id"], result=result, error=None)
            if request["method"] == "mining.authorize":
                say(writer, method="mining.set_target", params=[TARGET])
                say(writer, method="mining.notify", params=[f"job{self.connections}", POW_HASH, 1, POW_HASH, True])


def say(writer: asyncio.StreamWriter, **message: Any) -> None:
    writer.write(json.dumps(message).encode() + b"\n")


@asynccontextmanager
async def pool_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[Pool]:
    pool = Pool()
    server = await asyncio.start_server(pool.on_connection, "127.0.0.1", 0, ssl=tls)
    pool.port = server.sockets[0].getsockname()[1]
    try:
        yield pool
    finally:
        server.close()


@asynccontextmanager
async def source(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[PoolSource, NotedDesk]]:
    desk = NotedDesk()
    made = PoolSource(Endpoint("127.0.0.1", port, tls is not None), Login("u.w", "x", "agent"), tls)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.run(desk))
        yield made, desk
        running.cancel()


async def test_shares_go_to_the_pool() -> None:
    async with pool_server() as pool, source(pool.port) as (made, desk):
        await desk.until(lambda: desk.works and desk.works[-1])
        made.found(desk.work, desk.work.prefix + NONCE[4:])
        await desk.until(lambda: desk.taken)
        assert pool.shares == [["u.w", "job1", NONCE[4:].hex()]]


async def test_a_connection_that_ends_is_made_anew_and_nothing_is_mined_meanwhile() -> None:
    async with pool_server() as pool, source(pool.port) as (made, desk):

        async def close_after_job(_: Pool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            pool.serve = Pool.serve_well
            async with asyncio.timeout(20):
                while b"authorize" not in (line := await reader.readuntil(b"\n")):
                    say(writer, id=json.loads(line)["id"], result=[None, "00c904bd", 12])
            say(writer, method="mining.set_target", params=[TARGET])
            say(writer, method="mining.notify", params=["first", POW_HASH, 1, POW_HASH, True])
            await writer.drain()

        pool.serve = close_after_job
        await desk.until(lambda: any(work and work.job == "job2" for work in desk.works))
        jobs = [work and work.job for work in desk.works]
        assert jobs[-3:] == ["first", None, "job2"] or jobs[-2:] == [None, "job2"]
        made.found(desk.work, NONCE)
        await desk.until(lambda: desk.taken)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"x" * (module.MAX_LINE_BYTES * 3) + b"\n", "longer than"),
        (b"x" * (module.MAX_LINE_BYTES * 3), "longer than"),
        (b"nonsense\n", "no JSON-RPC message"),
        (b'{"method":"mining.notify","params":["half', "closed the connection"),
        (b'{"method":"client.reconnect","params":["127.0.0.1",1]}\n', "asks for another connection"),
    ],
)
async def test_hostile_lines_end_a_connection_and_it_is_tried_again(sent: bytes, reason: str) -> None:
    async def serve(pool: Pool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pool.serve = Pool.serve_well
        writer.write(sent)
        await writer.drain()

    async with pool_server() as pool:
        pool.serve = serve
        with capture_logs() as logs:
            async with source(pool.port) as (_, desk):
                await desk.until(lambda: desk.works and desk.works[-1])
        told = [each["reason"] for each in logs if each["event"] == "the pool gives no work"]
        assert reason in told[0] or told[0] == "Connection reset by peer"
        assert len(told) == 1


async def test_a_pool_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WORK_S", 0.05)

    async def serve(_: Pool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with pool_server() as pool:
        pool.serve = serve
        with capture_logs() as logs:
            async with source(pool.port) as (_, desk):
                await desk.until(lambda: sum("no connection" in state for state in desk.states) >= 3)
    assert "it does not answer" in [each.get("reason") for each in logs]


async def test_a_pool_that_answers_no_share_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.05)

    async def serve(pool: Pool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        say(writer, id=1, result=[None, "00c904bd", 12])
        say(writer, id=2, result=True)
        say(writer, method="mining.set_target", params=[TARGET])
        say(writer, method="mining.notify", params=[f"job{pool.connections}", POW_HASH, 1, POW_HASH, True])
        await reader.read()

    async with pool_server() as pool, source(pool.port) as (made, desk):
        pool.serve = serve
        await desk.until(lambda: desk.works and desk.works[-1])
        made.found(desk.work, NONCE)
        await desk.until(lambda: any(work and work.job == "job2" for work in desk.works))


async def test_nobody_there_is_told_and_tried_again() -> None:
    port = free_port()
    with capture_logs() as logs:
        async with source(port) as (made, desk):
            await desk.until(lambda: sum("no connection" in state for state in desk.states) >= 3)
            made.found(easy_work(), NONCE)  # nobody to send it to
    assert all("again_in_s" in each for each in logs if each["event"] == "the pool gives no work")


async def test_a_pool_of_the_old_kind_is_found_out() -> None:
    methods: list[str] = []

    async def serve(_: Pool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = json.loads(await reader.readuntil(b"\n"))
            methods.append(request["method"])
            match request["method"]:
                case "ckb_submitLogin":
                    say(writer, id=request["id"], result=True)
                case "ckb_getWork":
                    say(writer, id=request["id"], result={"pow_hash": f"0x{POW_HASH}", "target": f"0x{TARGET}"})
                case _:
                    say(writer, id=request["id"], error={"code": "404", "message": "unknown method"})

    async with pool_server() as pool:
        pool.serve = serve
        async with source(pool.port) as (_, desk):
            await desk.until(lambda: desk.works and desk.works[-1])
    assert methods == ["mining.subscribe", "ckb_submitLogin", "ckb_getWork"]


# ---------------------------------------------------------------- TLS


def certificate(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate of 127.0.0.1, and what a server needs to show it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pool")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "pool.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return path, server


async def test_by_tls(tmp_path: Path) -> None:
    path, server = certificate(tmp_path)
    async with pool_server(server) as pool:
        async with source(pool.port, ssl.create_default_context(cafile=path)) as (made, desk):
            await desk.until(lambda: desk.works and desk.works[-1])
            made.found(desk.work, NONCE)
            await desk.until(lambda: desk.taken)
        with capture_logs() as logs:
            async with source(pool.port, ssl.create_default_context()) as (_, desk):
                await desk.until(lambda: any("no connection" in state for state in desk.states))
                assert not any(desk.works)
        assert any("TLS" in str(each.get("reason")) or "certificate" in str(each.get("reason")) for each in logs)
