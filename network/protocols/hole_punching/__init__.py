"""HolePunching (protocol 130): two nodes behind routers meet, with the help of peers that both are connected with."""

from network.protocols.hole_punching.handler import HolePunchingProtocol
from network.protocols.hole_punching.traversal import HolePuncher

__all__ = ["HolePuncher", "HolePunchingProtocol"]
