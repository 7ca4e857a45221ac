"""Blocks of the public chains whose ancestors' scripts need not be run again: heights and hashes, lowest first.

The last ones are those of the reference's release 0.209.0 (July 2026), about 60 days old then; of those before, which
only let blocks be fetched before all headers are there, the ones up to block 14,000,000 that it has too.
"""

from __future__ import annotations

from typing import Final

from consensus.chainspec.spec import MAINNET, TESTNET

_MAINNET: Final = (
    (500_000, "b72f4d9758a36a2f9d4b8aea5a11d232e3e48332b76ec350f0a375fac10317a4"),
    (1_000_000, "7544e2a9db2054fbe42215ece2e5d31f175972cfeccaa7597c8ff3ec5c8b7d67"),
    (2_000_000, "c0c1ca7dcfa5862b9d2afeb5ea94db14744b8146c9005982879030f01e1f47cb"),
    (3_000_000, "36ff0ea1100e7892367b5004a362780c14c85fc2812bb6bd511e1c3a131c3fda"),
    (4_000_000, "cd925c9baa8c3110980546c916dad122dc69111780e49b50c3bb407ab7b6aa1c"),
    (5_000_000, "10898dd0307ef95e9086794ae7070d2f960725d1dd1e0800044eb8d8b2547da6"),
    (6_000_000, "0d78219b6972c21f33350958882da3e961c2ebbddc4521bf45ee47139b331333"),
    (7_000_000, "1c280be16bf3366cf890cd5a8c5dc4eeed8c6ddeeb988a482d7feabb3bd014c6"),
    (8_000_000, "063ccfcdbad01922792914f0bd61e47930bbb4a531f711013a24210638c0174a"),
    (9_000_000, "cf95c190a0054ce2404ad70d9befb5ec78579dd0a9ddb95776c5ac1bc5ddeed1"),
    (10_000_000, "e784f617bf1e13a3ac1a564e361b7e6298364193246e11cd328243f329f3592d"),
    (11_000_000, "e9b97767424dd04aa65a1f7ad562b0faf8dd0fbf2a213d1586ea7969160f5996"),
    (12_000_000, "2210a9bd5a292888f79ec7547ac3ea79c731df8bfe2049934f3206cabdc07f54"),
    (13_000_000, "cffc6a0a1f363db8fdbe2fea916ab5cd8851dd479bc04003dab88c9379dca1d0"),
    (14_000_000, "f283cacaa21556957b9621b8ac303a0b2c06434c26a1b53b1e590219d2c7313a"),
    (19_274_114, "d81931b857abe0521203372f0175ef692aab344865b5563e1e287ff46aaa09f6"),
)

_TESTNET: Final = (
    (500_000, "f9c73f3db9a7c6707c3c6800a9a0dbd5a2edf69e3921832f65275dcd71f7871c"),
    (1_000_000, "935a48f2660fd141121114786edcf17ef5789c6c2fe7aca04ea27813b30e1fa3"),
    (2_000_000, "f4d1648131b7bc4a0c9dbc442d240395c89a0c77b0cc197dce8794cd93669b32"),
    (3_000_000, "1d1bd2a6a50d9532b7131c5d0b05c006fb354a0341a504e54eaf39b27acc620d"),
    (4_000_000, "b33c0e0a649003ab65062e93a3126a2235f6e7c3ca1b16fe9938816d846bb14f"),
    (5_000_000, "ff4f979d8ab597a5836c533828d5253021c05f2614470fd8a4df7724ff8ec5e1"),
    (6_000_000, "fdb427f18e03cee68947609db1f592ee2651181528da35fb62b64d4d4d5d749a"),
    (7_000_000, "f9e1c6398f524c10b358dca7e000f59992004fda68c801453ed4da06bc3c6ecc"),
    (8_000_000, "2be0f327e78032f495f90da159883da84f2efd5025fde106a6a7590b8fca6647"),
    (9_000_000, "ba1e8db7d162445979f2c73392208b882ea01c7627a8a98be82789d6f130ce35"),
    (10_000_000, "f64c95cfa813e0aa1ae2e0e28af4723134263c9862979c953842511381b7d8c6"),
    (11_000_000, "0a9e4de75031163fefc5e7c0d40adadb2d7cb23eb9b1b2dae46872e921f4bcf1"),
    (12_000_000, "9f24177a181798b7ad63dfc8e0b89fe0ce60c099e86743675070f428ca1037b4"),
    (13_000_000, "c884fb5ca8cc2acddf6ce4888dc7fe0f583bb0dd4f80c5be31bed87268b1ca2f"),
    (14_000_000, "fb7da0ff926540463e3a9168cf0cd73113c24e4692a561525554c87c62aa3475"),
    (21_030_885, "4ec3242ee50da3ef5f7a03dde9ae2b69fe11e75be020c2bc2184231ab426c1b1"),
)

DEFAULT_TARGETS: Final = {
    chain: tuple(bytes.fromhex(text) for _, text in targets)
    for chain, targets in ((MAINNET, _MAINNET), (TESTNET, _TESTNET))
}
"""Block hashes by the name of the chain's spec; other chains have none."""
