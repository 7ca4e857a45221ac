"""CKB addresses (RFC 21): a lock script in one line with a checksum.

New addresses are always written in the full format (bech32m). The formats that are no longer written, short and full
with bech32, are still read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from consensus.errors import CkbError
from consensus.types.blockchain import HASH_TYPE_DATA, HASH_TYPE_DATA1, HASH_TYPE_DATA2, HASH_TYPE_TYPE, Script

MAX_ADDRESS_CHARS = 8192
"""Far above any real lock's; bounds the work on hostile input."""

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
CHECKSUM_CHARS = 6
BECH32 = 1
BECH32M = 0x2BC830A3
_VALUES = {char: value for value, char in enumerate(CHARSET)}
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)

HASH_TYPES = frozenset({HASH_TYPE_DATA, HASH_TYPE_TYPE, HASH_TYPE_DATA1, HASH_TYPE_DATA2})
SHORT_ARGS_SIZE = 20


class AddressError(CkbError):
    """Text that is no address."""


class AddressEncodingError(AddressError):
    """The text breaks the rules of bech32: characters, case, separator, prefix, padding or length."""


class AddressChecksumError(AddressError):
    """The checksum is wrong, or is of the kind that the payload's format does not use."""


class AddressPayloadError(AddressError):
    """The checksum is right, but the payload is no lock script."""


class AddressNetwork(Enum):
    """Prefix of the addresses of a chain: mainnet's, or that of every other one."""

    MAINNET = "ckb"
    TESTNET = "ckt"


class AddressFormat(Enum):
    """First byte of the payload."""

    FULL = 0x00
    SHORT = 0x01
    FULL_DATA = 0x02
    FULL_TYPE = 0x04


@dataclass(frozen=True, slots=True)
class CkbAddress:
    """A decoded address."""

    network: AddressNetwork
    format: AddressFormat
    script: Script


# Locks that short addresses name by an index (RFC 24, RFC 26). anyone_can_pay was deployed on each chain by itself.
SIGHASH_CODE_HASH = bytes.fromhex("9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8")
MULTISIG_CODE_HASH = bytes.fromhex("5c5069eb0857efc65e1bca0c07df34c31663b3622fd3876c876320fc9634e2a8")
ACP_CODE_HASHES = {
    AddressNetwork.MAINNET: bytes.fromhex("d369597ff47f29fbc0d47d2e3775370d1250b85140c670e4718af712983a2354"),
    AddressNetwork.TESTNET: bytes.fromhex("3419a1c09eb2567f6552ee7a8ecffd64155cffe0f1796e6e61ec088d740c1356"),
}


def encode_address(script: Script, network: AddressNetwork) -> str:
    """The address of a lock script, in the full format."""
    payload = bytes([AddressFormat.FULL.value]) + script.code_hash + bytes([script.hash_type]) + script.args
    values = _to_groups_of_5(payload)
    prefix = network.value
    checksum = _polymod([*_expanded(prefix), *values, *[0] * CHECKSUM_CHARS]) ^ BECH32M
    values += [checksum >> 5 * (CHECKSUM_CHARS - 1 - i) & 31 for i in range(CHECKSUM_CHARS)]
    return f"{prefix}1{''.join(CHARSET[value] for value in values)}"


def decode_address(text: str) -> CkbAddress:
    """Read an address of any format; AddressError (one of its subclasses) says what is wrong."""
    network, values, checksum = _split(text)
    payload = _to_bytes(values)
    if not payload:
        raise AddressPayloadError("the address is empty")
    try:
        address_format = AddressFormat(payload[0])
    except ValueError:
        raise AddressPayloadError(f"unknown address format {payload[0]:#04x}") from None
    wanted = BECH32M if address_format is AddressFormat.FULL else BECH32
    if checksum != wanted:
        raise AddressChecksumError("the checksum is wrong")
    return CkbAddress(network, address_format, _script(network, address_format, payload[1:]))


def _script(network: AddressNetwork, address_format: AddressFormat, payload: bytes) -> Script:
    if address_format is AddressFormat.SHORT:
        return _short_script(network, payload)
    code_hash, rest = payload[:32], payload[32:]
    if len(code_hash) < 32 or (address_format is AddressFormat.FULL and not rest):
        raise AddressPayloadError("the address is too short for a code hash and hash type")
    if address_format is AddressFormat.FULL_DATA:
        return Script(code_hash=code_hash, hash_type=HASH_TYPE_DATA, args=rest)
    if address_format is AddressFormat.FULL_TYPE:
        return Script(code_hash=code_hash, hash_type=HASH_TYPE_TYPE, args=rest)
    if rest[0] not in HASH_TYPES:
        raise AddressPayloadError(f"unknown hash type {rest[0]:#04x}")
    return Script(code_hash=code_hash, hash_type=rest[0], args=rest[1:])


def _short_script(network: AddressNetwork, payload: bytes) -> Script:
    code_hashes = (SIGHASH_CODE_HASH, MULTISIG_CODE_HASH, ACP_CODE_HASHES[network])
    index, args = payload[:1], payload[1:]
    if len(args) != SHORT_ARGS_SIZE:
        raise AddressPayloadError(f"a short address has {SHORT_ARGS_SIZE} bytes of arguments, this one {len(args)}")
    if index[0] >= len(code_hashes):
        raise AddressPayloadError(f"unknown code hash index {index[0]:#04x}")
    return Script(code_hash=code_hashes[index[0]], hash_type=HASH_TYPE_TYPE, args=args)


# --- bech32 (BIP 173) and bech32m (BIP 350), without their limit of 90 characters ---


def _split(text: str) -> tuple[AddressNetwork, list[int], int]:
    """Network, data values without the checksum, and which constant the checksum comes to."""
    if len(text) > MAX_ADDRESS_CHARS:
        raise AddressEncodingError(f"longer than {MAX_ADDRESS_CHARS} characters")
    if not text.isascii():
        raise AddressEncodingError("only ASCII characters are allowed")
    lower = text.lower()
    if text not in (lower, text.upper()):
        raise AddressEncodingError("upper and lower case are mixed")
    prefix, separator, data = lower.rpartition("1")
    if not separator or len(data) < CHECKSUM_CHARS:
        raise AddressEncodingError("too short for an address")
    try:
        network = AddressNetwork(prefix)
    except ValueError:
        raise AddressEncodingError(f"unknown prefix {prefix[:16]!r}: expected ckb or ckt") from None
    if wrong := set(data) - _VALUES.keys():
        raise AddressEncodingError(f"character {min(wrong)!r} is not allowed")
    values = [_VALUES[char] for char in data]
    checksum = _polymod([*_expanded(prefix), *values])
    if checksum not in (BECH32, BECH32M):
        raise AddressChecksumError("the checksum is wrong")
    return network, values[:-CHECKSUM_CHARS], checksum


def _polymod(values: Iterable[int]) -> int:
    """Remainder of the BCH code."""
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                checksum ^= generator
    return checksum


def _expanded(prefix: str) -> list[int]:
    codes = prefix.encode()
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


def _to_groups_of_5(data: bytes) -> list[int]:
    """Bits of the bytes in groups of 5, zeros at the end."""
    count = -(-len(data) * 8 // 5)
    bits = int.from_bytes(data, "big") << (count * 5 - len(data) * 8)
    return [bits >> 5 * (count - 1 - i) & 31 for i in range(count)]


def _to_bytes(values: Sequence[int]) -> bytes:
    """Bytes from groups of 5 bits; at most 4 bits, all zero, may be left over."""
    left_over = len(values) * 5 % 8
    bits = 0
    for value in values:
        bits = bits << 5 | value
    if left_over > 4 or bits & ((1 << left_over) - 1):
        raise AddressEncodingError("the padding is wrong")
    return (bits >> left_over).to_bytes(len(values) * 5 // 8, "big")
