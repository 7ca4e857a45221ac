"""Who is paid for a block that a user's share makes."""

from __future__ import annotations

from typing import Literal

from ckb_node.stratum.limits import PAYOUT_LOCK_BYTES
from consensus.address import AddressError, AddressNetwork, decode_address
from consensus.rules.hardfork import ENABLED_HASH_TYPES
from consensus.types.blockchain import Script

Policy = Literal["assembler", "user"]


class PayoutError(Exception):
    """The name of a user is no address that can be paid; the text is for the miner."""


def payout_of(policy: Policy, user: str, network: AddressNetwork) -> Script | None:
    """The lock for a user `ADDRESS[.worker]`; None: that of the block assembler. Raises PayoutError."""
    if policy == "assembler":
        return None
    text = user.partition(".")[0]
    try:
        address = decode_address(text)
    except AddressError as error:
        raise PayoutError(f"the user must be a CKB address: {error}") from None
    if address.network is not network:
        raise PayoutError(f"the address is of another network: this one's begin with {network.value}1")
    if address.script.hash_type not in ENABLED_HASH_TYPES:
        raise PayoutError("the address has a hash type that no lock may have")
    if len(address.script.raw) > PAYOUT_LOCK_BYTES:
        raise PayoutError(f"the address' lock is longer than {PAYOUT_LOCK_BYTES} bytes")
    return address.script


def network_of(network_name: str) -> AddressNetwork:
    """Of the chain with this id: mainnet's addresses differ from all others."""
    return AddressNetwork.MAINNET if network_name == "ckb" else AddressNetwork.TESTNET
