"""The dev chain's accounts, by the arguments of their locks. Their keys are published, and worth nothing elsewhere."""

from __future__ import annotations

FUNDED_KEYS = {
    bytes.fromhex("c8328aabcd9b9e8e64fbc566c4385c3bdeb219d7"): (
        "d00c06bfd800d27397002dca6fb0993d5ba6399b4238b2f29ee9deb97593d2bc"
    ),
    bytes.fromhex("470dcdc5e44064909650113a274b3b36aecb6dc7"): (
        "63d86723e08f0f813a36ce6aa123bb2289d90680ae1e99d4de8cdb334553f24d"
    ),
}
"""Private keys of the accounts that have cells in the genesis block."""

MINER_ARG = "0xe12604086e90e2a9123eb7800bd206d0746d81a3"
"""Of the account that is paid for blocks: another one, so that balances of the funded accounts stay as they are."""

MINER_KEY = "722c3ca74cefe066712310a199d43dc4fa846199cbecbea5bb0767ce11027e7f"
