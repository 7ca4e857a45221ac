"""Who may send alerts. Configured as `[alert_signature]`; without it, the public networks' developers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coincurve import PublicKey

__all__ = ["DEVELOPERS", "AlertKeys"]


@dataclass(frozen=True, slots=True)
class AlertKeys:
    """Compressed public keys, and how many of them must sign. Raises ValueError for what is no key, or cannot do."""

    threshold: int
    public_keys: frozenset[bytes]

    def __post_init__(self) -> None:
        for key in self.public_keys:
            if PublicKey(key).format() != key:
                raise ValueError("expected compressed public keys of 33 bytes")
        if not 1 <= self.threshold <= len(self.public_keys):
            raise ValueError(f"{self.threshold} of {len(self.public_keys)} keys cannot sign")


DEVELOPERS: Final = AlertKeys(
    2,
    frozenset(
        map(
            bytes.fromhex,
            (
                "03933a9b116c5017561742c37ae69acb0dca3329a52c479c85df5bb387c8ac8715",
                "038da23240e5a4234601902cf3db3cdfc1b3fdb2db2a54ba6204f6ca1d6ef6129a",
                "02adc94b64a9809019139fe70bd26aa0d787772a1ad645a4bcb1456fb3e1105f09",
                "0369eca725513fc94685cd0b8ccebc7be874afea38d23ccb090566aa1c50d696b1",
            ),
        )
    ),
)
