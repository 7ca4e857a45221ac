"""What the library's identify leaves out: the peer's agent, our own, and a limit for what is kept."""

from __future__ import annotations

from typing import Any, Final

from libp2p.host import basic_host
from libp2p.identity.identify import identify

AGENT: Final = "agent"
"""Key of the peer store."""
MAX_AGENT: Final = 256
MAX_PROTOCOLS: Final = 256
MAX_ADDRESSES: Final = 32

_update: Final = basic_host.update_peerstore_from_identify


def install(agent: str) -> None:
    """For all hosts of this process."""
    identify.AGENT_VERSION = agent
    basic_host.update_peerstore_from_identify = _note


async def _note(store: Any, peer: Any, message: Any) -> None:
    del message.protocols[MAX_PROTOCOLS:], message.listen_addrs[MAX_ADDRESSES:]
    await _update(store, peer, message)
    store.put(peer, AGENT, message.agent_version[:MAX_AGENT])
