"""Are enough of the right signatures on an alert? m of n, over blake2b of the raw alert, with key recovery."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from coincurve import PublicKey

from network.messages.protocols import Alert
from network.protocols.alert.keys import AlertKeys

__all__ = ["AlertSignatureError", "SignatureFault", "verify_signatures"]

SIGNATURE_SIZE: Final = 65
"""Bytes: r, s (32 each, big endian), recovery id."""
MAX_RECOVERY_ID: Final = 1
CURVE_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


class SignatureFault(Enum):
    """Named as in the reference's RPC."""

    TOO_MANY = "SigCountOverflow"
    TOO_FEW = "SigNotEnough"
    THRESHOLD = "Threshold"


class AlertSignatureError(ValueError):
    """Not enough valid signatures. `valid`: how many keys have signed, of `threshold` that must."""

    def __init__(self, fault: SignatureFault, message: str, threshold: int, valid: int = 0) -> None:
        super().__init__(message)
        self.fault, self.valid, self.threshold = fault, valid, threshold

    @property
    def name(self) -> str:
        """With its fields, as the reference's RPC writes it."""
        if self.fault is SignatureFault.THRESHOLD:
            return f"Threshold {{ threshold: {self.threshold}, pass_sigs: {self.valid} }}"
        return str(self.fault.value)


def verify_signatures(alert: Alert, keys: AlertKeys) -> None:
    """Raises AlertSignatureError. Signatures that are none (size, numbers out of range) do not count at all; of the
    others there may not be more than keys."""
    signatures = [signature for signature in alert.signatures if _is_well_formed(signature)]
    if len(signatures) > len(keys.public_keys):
        raise AlertSignatureError(
            SignatureFault.TOO_MANY, "The count of sigs should be less than privkeys.", keys.threshold
        )
    if len(signatures) < keys.threshold:
        raise AlertSignatureError(SignatureFault.TOO_FEW, "The count of sigs is less than threshold.", keys.threshold)
    valid = len(_signers(signatures, alert.body.hash) & keys.public_keys)
    if valid < keys.threshold:
        message = f"Failed to meet threshold {keys.threshold}, actual: {valid}."
        raise AlertSignatureError(SignatureFault.THRESHOLD, message, keys.threshold, valid)


def _is_well_formed(signature: bytes) -> bool:
    """High values of s are good."""
    if len(signature) != SIGNATURE_SIZE or signature[-1] > MAX_RECOVERY_ID:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return 1 <= r < CURVE_ORDER and 1 <= s < CURVE_ORDER


def _signers(signatures: Sequence[bytes], digest: bytes) -> set[bytes]:
    """The compressed keys that have signed; a signature that leads to no key is left out."""
    found = set[bytes]()
    for signature in signatures:
        try:
            found.add(PublicKey.from_signature_and_message(signature, digest, hasher=None).format())
        except ValueError:
            continue
    return found
