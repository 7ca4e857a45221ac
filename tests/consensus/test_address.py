"""Addresses. Examples are those of RFC 21; the dev account's are in the CKB documentation on dev chains."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.address import (
    CHARSET,
    MAX_ADDRESS_CHARS,
    AddressChecksumError,
    AddressEncodingError,
    AddressError,
    AddressFormat,
    AddressNetwork,
    AddressPayloadError,
    CkbAddress,
    decode_address,
    encode_address,
)
from consensus.crypto.hashing import blake160
from consensus.types.blockchain import HASH_TYPE_DATA, HASH_TYPE_TYPE, Script
from tests.support.fuzz import examples

SIGHASH = bytes.fromhex("9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8")
MULTISIG = bytes.fromhex("5c5069eb0857efc65e1bca0c07df34c31663b3622fd3876c876320fc9634e2a8")
ARGS = bytes.fromhex("b39bbc0b3673c7d36450bc14cfcdad2d559c6c64")
LOCK = Script(code_hash=SIGHASH, hash_type=HASH_TYPE_TYPE, args=ARGS)
FULL = "ckb1qzda0cr08m85hc8jlnfp3zer7xulejywt49kt2rr0vthywaa50xwsqdnnw7qkdnnclfkg59uzn8umtfd2kwxceqxwquc4"
SHORT_SIGHASH = "ckb1qyqt8xaupvm8837nv3gtc9x0ekkj64vud3jqfwyw5v"
SHORT_MULTISIG = "ckb1qyq5lv479ewscx3ms620sv34pgeuz6zagaaqklhtgg"
FULL_TYPE = "ckb1qjda0cr08m85hc8jlnfp3zer7xulejywt49kt2rr0vthywaa50xw3vumhs9nvu786dj9p0q5elx66t24n3kxgj53qks"
DEV_ARGS = bytes.fromhex("c8328aabcd9b9e8e64fbc566c4385c3bdeb219d7")
DEV_FULL = "ckt1qzda0cr08m85hc8jlnfp3zer7xulejywt49kt2rr0vthywaa50xwsqwgx292hnvmn68xf779vmzrshpmm6epn4c0cgwga"
DEV_SHORT = "ckt1qyqvsv5240xeh85wvnau2eky8pwrhh4jr8ts8vyj37"

MAIN, TEST = AddressNetwork.MAINNET, AddressNetwork.TESTNET


def test_full_address() -> None:
    assert encode_address(LOCK, MAIN) == FULL
    assert decode_address(FULL) == CkbAddress(MAIN, AddressFormat.FULL, LOCK)


def test_dev_account() -> None:
    lock = Script(code_hash=SIGHASH, hash_type=HASH_TYPE_TYPE, args=DEV_ARGS)
    assert encode_address(lock, TEST) == DEV_FULL
    assert decode_address(DEV_FULL) == CkbAddress(TEST, AddressFormat.FULL, lock)
    assert decode_address(DEV_SHORT) == CkbAddress(TEST, AddressFormat.SHORT, lock)


def test_deprecated_short_addresses() -> None:
    assert decode_address(SHORT_SIGHASH) == CkbAddress(MAIN, AddressFormat.SHORT, LOCK)
    # RFC 21 gives the multisig script: 2 of 3, the first one required
    members = (
        "bd07d9f32bce34d27152a6a0391d324f79aab854",
        "094ee28566dff02a012a66505822a2fd67d668fb",
        "4643c241e59e81b7876527ebff23dfb24cf16482",
    )
    args = blake160(bytes.fromhex("00010203" + "".join(members)))
    assert args.hex() == "4fb2be2e5d0c1a3b8694f832350a33c1685d477a"
    lock = Script(code_hash=MULTISIG, hash_type=HASH_TYPE_TYPE, args=args)
    assert decode_address(SHORT_MULTISIG) == CkbAddress(MAIN, AddressFormat.SHORT, lock)


def test_deprecated_full_address() -> None:
    assert decode_address(FULL_TYPE) == CkbAddress(MAIN, AddressFormat.FULL_TYPE, LOCK)


def bech32(payload: bytes, constant: int, prefix: str = "ckb") -> str:
    """Any payload with a right checksum, worked out by the definition of BIP 173: one bit at a time."""
    bits = "".join(f"{byte:08b}" for byte in payload)
    bits += "0" * (-len(bits) % 5)
    return bech32_of_values([int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)], constant, prefix)


def bech32_of_values(values: list[int], constant: int, prefix: str = "ckb") -> str:
    generators = [0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]
    everything = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + values + [0] * 6
    remainder = 1
    for value in everything:
        top, remainder = remainder >> 25, (remainder & 0x1FFFFFF) << 5 ^ value
        for i in range(5):
            remainder ^= generators[i] * (top >> i & 1)
    remainder ^= constant
    checksum = [remainder >> 5 * (5 - i) & 31 for i in range(6)]
    return prefix + "1" + "".join(CHARSET[value] for value in values + checksum)


OLD, NEW = 1, 0x2BC830A3


def test_anyone_can_pay_differs_by_network() -> None:
    """Code hashes of RFC 26."""
    main = decode_address(bech32(b"\1\2" + ARGS, OLD)).script
    test = decode_address(bech32(b"\1\2" + ARGS, OLD, "ckt")).script
    assert main.code_hash.hex() == "d369597ff47f29fbc0d47d2e3775370d1250b85140c670e4718af712983a2354"
    assert test.code_hash.hex() == "3419a1c09eb2567f6552ee7a8ecffd64155cffe0f1796e6e61ec088d740c1356"
    assert (main.hash_type, main.args) == (HASH_TYPE_TYPE, ARGS)


def test_deprecated_full_data_address() -> None:
    script = decode_address(bech32(b"\2" + SIGHASH + ARGS, OLD)).script
    assert script == Script(code_hash=SIGHASH, hash_type=HASH_TYPE_DATA, args=ARGS)


def test_upper_case_is_allowed() -> None:
    assert decode_address(FULL.upper()) == decode_address(FULL)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", AddressEncodingError),
        ("1", AddressEncodingError),
        ("ckb1", AddressEncodingError),
        ("ckb1qqqqq", AddressEncodingError),
        ("ckb", AddressEncodingError),
        ("bc" + FULL[3:], AddressEncodingError),
        ("CKB" + FULL[3:], AddressEncodingError),
        (FULL[:-1] + "C", AddressEncodingError),
        (FULL[:10] + "b" + FULL[11:], AddressEncodingError),
        (FULL[:10] + "é" + FULL[11:], AddressEncodingError),
        (FULL + "\n", AddressEncodingError),
        (" " + FULL, AddressEncodingError),
        ("ckb1" + "q" * MAX_ADDRESS_CHARS, AddressEncodingError),
        ("ckt" + FULL[3:], AddressChecksumError),
        (FULL[:-1] + "5", AddressChecksumError),
        (bech32(b"\0" + SIGHASH + b"\1" + ARGS, OLD), AddressChecksumError),
        (bech32(b"\1\0" + ARGS, NEW), AddressChecksumError),
        (bech32(b"\2" + SIGHASH + ARGS, NEW), AddressChecksumError),
        (bech32(b"\4" + SIGHASH + ARGS, NEW), AddressChecksumError),
        (bech32(b"\4" + SIGHASH + ARGS, 2), AddressChecksumError),
        (bech32(b"", NEW), AddressPayloadError),
        (bech32(b"\3" + SIGHASH, NEW), AddressPayloadError),
        (bech32(b"\0" + SIGHASH, NEW), AddressPayloadError),
        (bech32(b"\0" + SIGHASH[1:], NEW), AddressPayloadError),
        (bech32(b"\0" + SIGHASH + b"\3" + ARGS, NEW), AddressPayloadError),
        (bech32(b"\4" + SIGHASH[1:], OLD), AddressPayloadError),
        (bech32(b"\1", OLD), AddressPayloadError),
        (bech32(b"\1\0" + ARGS[1:], OLD), AddressPayloadError),
        (bech32(b"\1\0" + ARGS + b"\0", OLD), AddressPayloadError),
        (bech32(b"\1\3" + ARGS, OLD), AddressPayloadError),
        # padding: a bit that is set, and a whole character too much
        (bech32_of_values([0, 1], NEW), AddressEncodingError),
        (bech32_of_values([0, 0, 0], NEW), AddressEncodingError),
    ],
)
def test_what_is_no_address(text: str, error: type[AddressError]) -> None:
    with pytest.raises(error):
        decode_address(text)


scripts = st.builds(
    Script,
    code_hash=st.binary(min_size=32, max_size=32),
    hash_type=st.sampled_from([0, 1, 2, 4]),
    args=st.binary(max_size=100),
)


@given(script=scripts, network=st.sampled_from(AddressNetwork))
def test_round_trip(script: Script, network: AddressNetwork) -> None:
    text = encode_address(script, network)
    assert decode_address(text) == CkbAddress(network, AddressFormat.FULL, script)
    assert text == bech32(b"\0" + script.code_hash + bytes([script.hash_type]) + script.args, NEW, network.value)


@given(script=scripts, position=st.integers(4, 10_000), shift=st.integers(1, 31))
def test_a_wrong_character_is_always_found(script: Script, position: int, shift: int) -> None:
    text = encode_address(script, MAIN)
    position = 4 + position % (len(text) - 4)
    wrong = CHARSET[(CHARSET.index(text[position]) + shift) % 32]
    with pytest.raises(AddressError):
        decode_address(text[:position] + wrong + text[position + 1 :])


@settings(max_examples=examples(300))
@given(text=st.text(max_size=120) | st.text(alphabet=CHARSET, max_size=120).map("ckb1".__add__))
def test_noise_is_refused_by_address_errors_only(text: str) -> None:
    with pytest.raises(AddressError):
        decode_address(text)
