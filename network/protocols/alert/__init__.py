"""Alert (protocol 110): signed notices of the developers, which nodes show, and pass on to each other."""

from network.protocols.alert.handler import AlertProtocol
from network.protocols.alert.keys import DEVELOPERS, AlertKeys
from network.protocols.alert.signatures import AlertSignatureError, SignatureFault, verify_signatures

__all__ = ["DEVELOPERS", "AlertKeys", "AlertProtocol", "AlertSignatureError", "SignatureFault", "verify_signatures"]
