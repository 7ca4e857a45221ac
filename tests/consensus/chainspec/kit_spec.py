"""The dev chain's spec, to be changed, and the published hashes of the bundled chains."""

from __future__ import annotations

import tomllib
from typing import Any

from ckb_node import specs
from consensus.chainspec.spec import (
    ChainSpec,
    read_spec,
)

CKB = 100_000_000


# docs/hashes.toml of the reference node: genesis, cellbase and dep-group transaction of each bundled chain.
PUBLISHED = {
    "mainnet": (
        "92b197aa1fba0f63633922c61c92375c9c074a93e85963554f5499fe1450d0e5",
        "e2fb199810d49a4d8beec56718ba2593b665db9d52299a0f9e6e75416d73ff5c",
        "71a7ba8fc96349fea0ed3a5c47992e3b4084b031a42264a018e0072e8172e46c",
    ),
    "testnet": (
        "10639e0895502b5688a6be8cf69460d76541bfa4821629d86d62ba0aae3f9606",
        "8f8c79eb6671709633fe6a46de93c0fedc9c1b8a6527a18d3983879542635c9f",
        "f8de3bb47d055cdf460d93a2a6e1b05f7432f9777c8c474abf4eec1d4aee5d37",
    ),
    "preview": (
        "9ed819e4bac690c22e97111baf7fbc873811fa053bfa8764db22e138be3f3728",
        "e93c55bea88e10c64d9b218ee2b504bc89b9e5ee912186ff904c1827360a5362",
        "0fab65924f2784f17ad7f86d6aef4b04ca1ca237102a68961594acebc5c77816",
    ),
    "staging": (
        "bc081e6b2e31149c1dc39007f161ed0a0b63d5d30b3b771acc6a3b622133fcc0",
        "7295631c414e50a8d9bb73d9845231ac212d10404045c96de7f149ec874ac6b7",
        "d5780747735fd22c9ba7363bde8afe59061658caa836962867253b03cbda264e",
    ),
    "dev": (
        "120ab9abd48e3b82f93b88eba8c50a0e1304cc2fffb5573fb14b56c6348f2305",
        "a563884b3686078ec7e7677a5f86449b15cf2693f3c1241766c6996f206cc541",
        "ace5ea83c478bb866edf122ff862085789158f5cbff155b7bb5f13058555b708",
    ),
}


def some_cell(name: str) -> bytes:
    """Stands for a system cell: what is in it does not matter to most rules of genesis."""
    return f"code of {name}".encode()


def dev_document() -> dict[str, Any]:
    return tomllib.loads(specs.bundled_text("dev"))


def dev_spec(**genesis: Any) -> ChainSpec:
    document = dev_document()
    document["genesis"].update(genesis)
    return read_spec(document)
