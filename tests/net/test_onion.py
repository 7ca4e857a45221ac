"""The onion service's key and address."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from pathlib import Path

import pytest

from ckb_node.net import onion
from ckb_node.net.onion import OnionPublisher, read_key
from ckb_node.net.settings import NetworkSection, OnionSection
from network.io.onion import OnionService
from tests.support.nodes.networks import running

KEY = bytes(range(64))
NAME = "a" * 56


async def test_the_address_is_told_while_the_service_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[OnionService] = []
    told: list[str] = []

    async def fake(control: tuple[str, int], service: OnionService, keep: object, published: object) -> None:
        assert control == ("127.0.0.1", 9051)
        assert callable(keep)
        assert callable(published)
        asked.append(service)
        if service.key is None:
            keep(KEY)
        published(NAME)
        told.extend(str(address) for address in layer.own.public())
        raise ConnectionError("Tor has closed the connection")

    monkeypatch.setattr(onion, "publish", fake)
    section = NetworkSection(
        listen_addresses=["/ip4/0.0.0.0/tcp/8115"],
        onion=OnionSection(listen_on_onion=True, onion_external_port=77),
    )
    publisher = OnionPublisher(section, tmp_path, tmp_path / "data")
    async with running(tmp_path, 1) as layer:
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await publisher.run(layer)
            assert not any("/onion3/" in str(address) for address in layer.own.public())
    assert [(service.key, service.target, service.external_port) for service in asked] == [
        (None, ("127.0.0.1", 8115), 77),
        (KEY, ("127.0.0.1", 8115), 77),
    ]
    assert all(re.fullmatch(rf"/onion3/{NAME}:77/p2p/Qm\w+", text) for text in told)
    assert len(told) == 2
    path = tmp_path / "data/network/onion_private_key"
    assert path.read_bytes() == b64encode(KEY)
    assert os.stat(path).st_mode & 0o777 == 0o600  # noqa: PTH116


@pytest.mark.parametrize("content", [b"", b"!!!!", b64encode(KEY[:63]), b64encode(KEY) + b"x" * 5000, b"\xff"])
def test_a_damaged_key_is_kept_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    assert read_key(path) is None
    path.write_bytes(content)
    assert read_key(path) is None
    assert not path.exists()
    assert next(tmp_path.iterdir()).read_bytes() == content


def test_the_references_key_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b64encode(KEY) + b"\n")
    assert read_key(tmp_path / "key") == KEY
