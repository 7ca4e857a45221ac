"""What is public knowledge of the public chains' genesis blocks (RFC 24), for use without the blocks themselves."""

from __future__ import annotations

from dataclasses import dataclass

from consensus.chainspec.genesis_build import (
    OUTPUT_DAO,
    OUTPUT_MULTISIG_ALL,
    OUTPUT_SECP256K1_DATA,
    OUTPUT_SIGHASH_ALL,
)
from consensus.chainspec.spec import MAINNET_GENESIS_HASH

_SIGHASH_ALL = "specs/cells/secp256k1_blake160_sighash_all"
_DAO = "specs/cells/dao"
_SECP256K1_DATA = "specs/cells/secp256k1_data"
_MULTISIG_ALL = "specs/cells/secp256k1_blake160_multisig_all"


@dataclass(frozen=True, slots=True)
class OfficialCell:
    """A system cell of the public chains: its file's name in specs, its place in the cellbase, what it holds."""

    file: str
    output_index: int
    data_hash: bytes
    has_type_id: bool


OFFICIAL_CELLS = (
    OfficialCell(
        _SIGHASH_ALL,
        OUTPUT_SIGHASH_ALL,
        bytes.fromhex("709f3fda12f561cfacf92273c57a98fede188a3f1a59b1f888d113f9cce08649"),
        has_type_id=True,
    ),
    OfficialCell(
        _DAO,
        OUTPUT_DAO,
        bytes.fromhex("32064a14ce10d95d4b7343054cc19d73b25b16ae61a6c681011ca781a60c7923"),
        has_type_id=True,
    ),
    OfficialCell(
        _SECP256K1_DATA,
        OUTPUT_SECP256K1_DATA,
        bytes.fromhex("9799bee251b975b82c45a02154ce28cec89c5853ecc14d12b7b8cccfc19e0af4"),
        has_type_id=False,
    ),
    OfficialCell(
        _MULTISIG_ALL,
        OUTPUT_MULTISIG_ALL,
        bytes.fromhex("43400de165f0821abf63dcac299bbdf7fd73898675ee4ddb099b0a0d8db63bfb"),
        has_type_id=True,
    ),
)

DEP_GROUPS = ((_SECP256K1_DATA, _SIGHASH_ALL), (_SECP256K1_DATA, _MULTISIG_ALL))
"""Files of each output of the second transaction."""


@dataclass(frozen=True, slots=True)
class PublishedGenesis:
    """Hashes of a genesis block's two transactions; of the spec, where ours does not hold all that it says."""

    cellbase: bytes
    dep_groups: bytes
    spec_hash: bytes | None = None


PUBLISHED_GENESIS = {
    MAINNET_GENESIS_HASH: PublishedGenesis(
        bytes.fromhex("e2fb199810d49a4d8beec56718ba2593b665db9d52299a0f9e6e75416d73ff5c"),
        bytes.fromhex("71a7ba8fc96349fea0ed3a5c47992e3b4084b031a42264a018e0072e8172e46c"),
        bytes.fromhex("3fe86931c2cf5dfa6d7b9447561b5e547937fe4699787bb7ae906218b3f1e6c5"),
    ),
    # Pudge, the test chain
    bytes.fromhex("10639e0895502b5688a6be8cf69460d76541bfa4821629d86d62ba0aae3f9606"): PublishedGenesis(
        bytes.fromhex("8f8c79eb6671709633fe6a46de93c0fedc9c1b8a6527a18d3983879542635c9f"),
        bytes.fromhex("f8de3bb47d055cdf460d93a2a6e1b05f7432f9777c8c474abf4eec1d4aee5d37"),
    ),
    # preview
    bytes.fromhex("9ed819e4bac690c22e97111baf7fbc873811fa053bfa8764db22e138be3f3728"): PublishedGenesis(
        bytes.fromhex("e93c55bea88e10c64d9b218ee2b504bc89b9e5ee912186ff904c1827360a5362"),
        bytes.fromhex("0fab65924f2784f17ad7f86d6aef4b04ca1ca237102a68961594acebc5c77816"),
    ),
    # staging
    bytes.fromhex("bc081e6b2e31149c1dc39007f161ed0a0b63d5d30b3b771acc6a3b622133fcc0"): PublishedGenesis(
        bytes.fromhex("7295631c414e50a8d9bb73d9845231ac212d10404045c96de7f149ec874ac6b7"),
        bytes.fromhex("d5780747735fd22c9ba7363bde8afe59061658caa836962867253b03cbda264e"),
    ),
}
"""By genesis hash."""
