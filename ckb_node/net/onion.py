"""The node's onion service: its key on disk, and its address among those that peers are told."""

from __future__ import annotations

from base64 import b64decode, b64encode
from pathlib import Path
from typing import Final

import structlog

from ckb_node.net import addresses
from ckb_node.net.settings import NetworkSection
from network.io.onion import KEY_SIZE, OnionService, publish
from network.multiaddr import Multiaddr
from network.peer_layer import PeerLayer
from storage.files import set_aside, write_whole

log = structlog.get_logger("network")

KEY_FILE: Final = "network/onion_private_key"
MODE: Final = 0o600
MAX_KEY_FILE: Final = 1024


class OnionPublisher:
    """Keeps the service while the network runs."""

    def __init__(self, section: NetworkSection, root: Path, data_dir: Path) -> None:
        """`root`: the directory of the configuration. Raises ConfigError."""
        own_path = section.onion.onion_private_key_path
        self._path: Final = data_dir / KEY_FILE if own_path is None else root / own_path
        self._control: Final = addresses.tor_controller(section)
        self._target: Final = addresses.onion_target(section)
        self._port: Final = section.onion.onion_external_port
        self._password: Final = section.onion.tor_password or None

    async def run(self, layer: PeerLayer) -> None:
        """Until cancelled. Raises OSError when there is no service any more; the next one has the same key."""
        service = OnionService(self._port, self._target, read_key(self._path), self._password)
        published: list[Multiaddr] = []

        def tell(name: str) -> None:
            address = Multiaddr.parse(f"/onion3/{name}:{self._port}/p2p/{layer.switch.peer_id}")
            published.append(address)
            layer.own.add_public(address)
            log.info("the onion service is open", address=str(address))

        def keep(key: bytes) -> None:
            write_whole(self._path, b64encode(key), MODE)

        try:
            await publish(self._control, service, keep, tell)
        finally:
            for address in published:
                layer.own.remove_public(address)


def read_key(path: Path) -> bytes | None:
    """The key in the file, None when there is none; a file without a key is set aside. Raises OSError."""
    if not path.exists():
        return None
    data = b""
    if path.is_file():
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE)
    try:
        key = b64decode(data.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) == KEY_SIZE:
        return key
    kept = set_aside(path)
    log.error("the onion service's key is damaged; the service gets a new address", kept_as=str(kept))
    return None
