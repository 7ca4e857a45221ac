"""Outputs that wallets know how to spend: what `well_known_scripts_only` lets pass."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import Enum
from struct import unpack

from consensus.params import Consensus
from consensus.rules.dao import is_dao_script
from consensus.rules.since import Metric, Since
from consensus.types.blockchain import HASH_TYPE_TYPE, CellOutput, Script, Transaction


class OutputsValidator(Enum):
    """What kinds of outputs `send_transaction` lets pass."""

    PASSTHROUGH = "passthrough"
    WELL_KNOWN_SCRIPTS_ONLY = "well_known_scripts_only"


@dataclass(frozen=True, slots=True)
class WellKnownScripts:
    """Scripts that `well_known_scripts_only` lets pass besides the system's own."""

    locks: Sequence[Script] = ()
    types: Sequence[Script] = ()


PUBKEY_HASH_SIZE = 20
SINCE_SIZE = 8

# Anyone-can-pay and cheque locks, and the simple UDT, by the type hashes of the cells that hold them on each chain.
# The reference means to take any arguments, but compares them with their length in front, so that only empty ones pass;
# a wallet that asks for this check gets the same answer here.
_LOCKS = {
    "ckb": (
        "d369597ff47f29fbc0d47d2e3775370d1250b85140c670e4718af712983a2354",
        "e4d4ecc6e5f9a059bf2f7a82cca292083aebc0c421566a52484fe2ec51a9fb0c",
    ),
    "ckb_testnet": (
        "3419a1c09eb2567f6552ee7a8ecffd64155cffe0f1796e6e61ec088d740c1356",
        "60d5f39efce409c587cb9ea359cefdead650ca128f0bd9cb3855348f98c70d5b",
    ),
}
_TYPES = {
    "ckb": ("5e7a36a77e68eecc013dfa2fe6a23f3b6c344b04005808694ae6dd45eea4cfd5",),
    "ckb_testnet": ("c5e5dcf215925f7ef4dfaf5f4b4f105bc321c02776d6e7d52a1db3fcd9d011a4",),
}


class UnknownScriptError(Exception):
    """An output has a script that is not well known."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"output index: {index}, error: {reason}")
        self.index, self.reason = index, reason


def verify_outputs_well_known(consensus: Consensus, transaction: Transaction, extra: WellKnownScripts) -> None:
    """Raise UnknownScriptError at the first output whose lock or type script is not well known."""
    for index, output in enumerate(transaction.body.outputs):
        if not is_known_lock(consensus, output.lock, extra.locks):
            raise UnknownScriptError(index, "NotWellKnownLockScript")
        if not is_known_type(consensus, output, extra.types):
            raise UnknownScriptError(index, "NotWellKnownTypeScript")


def is_known_lock(consensus: Consensus, lock: Script, extra: Container[Script]) -> bool:
    """The system's single signature or multisig lock with arguments in form, or one of the well known."""
    if lock.hash_type == HASH_TYPE_TYPE:
        size = len(lock.args)
        if lock.code_hash == consensus.secp256k1_blake160_sighash_all_type_hash and size == PUBKEY_HASH_SIZE:
            return True
        if lock.code_hash == consensus.secp256k1_blake160_multisig_all_type_hash:
            if size == PUBKEY_HASH_SIZE:
                return True
            if size == PUBKEY_HASH_SIZE + SINCE_SIZE and _since_of(lock) is not None:
                return True
        if size == 0 and lock.code_hash.hex() in _LOCKS.get(consensus.id, ()):
            return True
    return lock in extra


def is_known_type(consensus: Consensus, output: CellOutput, extra: Container[Script]) -> bool:
    """No type script, NervosDAO, or one of the well known.

    A DAO cell under a multisig lock with a since must have it as an absolute epoch: the DAO script takes no other.
    """
    script = output.type_
    if script is None:
        return True
    if is_dao_script(consensus, script) and _since_suits_dao(output.lock):
        return True
    if (
        script.hash_type == HASH_TYPE_TYPE
        and not script.args
        and script.code_hash.hex() in _TYPES.get(consensus.id, ())
    ):
        return True
    return script in extra


def _since_suits_dao(lock: Script) -> bool:
    if len(lock.args) != PUBKEY_HASH_SIZE + SINCE_SIZE:
        return True
    since = _since_of(lock)
    return since is not None and since.metric is Metric.EPOCH and not since.is_relative


def _since_of(lock: Script) -> Since | None:
    (raw,) = unpack("<Q", lock.args[PUBKEY_HASH_SIZE:])
    return Since.parse(raw)
