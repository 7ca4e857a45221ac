"""Which scene breaks which rule (PROTOCOL-NET 2.14 to 2.22). `test_rules.py` holds it complete and true.

| rule | of | scenes |
|---|---|---|
| messages can be decoded, strictly, to their last item | 2.14 | RULES: undecodable |
| limits of counts and sizes, content that makes sense | 2.15–2.19 | RULES: 400 |
| a locator ends with the genesis block | 2.15 | RULES: 414 |
| headers: at most 2,000, on each other, valid, on valid ones | 2.15 | RULES: 415; test_pow.py |
| headers from the future are left; branches of low work take no room | 2.15 | HARMLESS |
| InIBD: a dialled peer leaves, another rests | 2.15 | RULES: OUTBOUND_IN_IBD; HARMLESS; test_redial.py |
| headers come fast enough; a chain does not stay behind | 2.15 | RULES: TIMEOUT; test_behind.py |
| a dialled peer is of use in the initial download | 2.15, 2.16 | RULES: USELESS_IN_IBD, NO_BLOCKS |
| nobody asks for the genesis block, or twice for one | 2.16, 2.19 | RULES: 417, 418 |
| blocks are those that were asked for, and come | 2.16 | HARMLESS; test_dialled_liars.py |
| blocks are valid, at each depth | 2.16, 2.18 | RULES: 401 |
| thirty messages a second of a kind | 2.17 | HARMLESS: questions without an end |
| compact blocks; those that are stale, known, without parents | 2.18 | RULES: 402 to 409; HARMLESS |
| their transactions and uncles; collisions | 2.18 | RULES: 410 to 413; HARMLESS |
| not too many unknown transactions of one peer | 2.19 | RULES: 416 |
| transactions are given by who has announced them | 2.19 | test_attacks.py: a transaction that is withheld |
| declared cycles are true; transactions are valid | 2.19 | RULES: TRANSACTION |
| a low fee, a conflict, missing parents cost nothing | 2.19 | HARMLESS |
| filters, their hashes and check points | 2.21 | RULES: FILTER; HARMLESS |
| questions of light clients | 2.22 | RULES: LIGHT_CLIENT; HARMLESS |
| the genesis block is the one of its hash, whoever gives it | – | test_genesis.py |

Who lies about what light clients are given cannot be met: the node asks no light-client questions but those of
test_genesis.py, and it takes no filters from anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from network.peers.penalties import Misbehaviour

_M = Misbehaviour

BAD_BRANCHES: Final = "bad block: "
"""Attacks whose names begin so: each rule of blocks, on forks of each depth."""

RULES: Final[Mapping[Misbehaviour, Sequence[str]]] = {
    _M.SYNC_UNDECODABLE: ["sync: undecodable", "empty message", "unknown field"],
    _M.SYNC_400_MALFORMED: [
        "locator too long",
        "asks for too many blocks",
        "malformed block",
        "block too large",
        "compact block, too many uncles",
        "compact block, too many proposals",
        "compact block, too many short ids",
        "compact block, too large",
        "block transactions, malformed",
        "block transactions, too large",
        "asks for too many block transactions",
        "asks for too many uncles",
        "too many hashes",
        "asks for too many transactions",
        "malformed transaction",
        "asks for too many proposals",
        "too many proposals",
    ],
    _M.SYNC_401_INVALID_BLOCK: [
        BAD_BRANCHES,
        "wrong bodies",
        "bad compact block: dao",
        "bad compact block: not proposed",
        "test_what_stands_on_a_bad_block_is_bad",
    ],
    _M.SYNC_414_NO_COMMON_ANCESTOR: ["locator empty", "locator of another chain"],
    _M.SYNC_415_INVALID_HEADERS: [
        "too many headers",
        "headers that do not stand on each other",
        "header of a wrong number",
        "header of another version",
        "header of a wrong epoch",
        "header that is too old",
        "header on an unknown one",
        "headers that claim less work than their epoch has",
        "test_what_stands_on_a_bad_block_is_bad",
        "test_what_has_no_work_is_paid_for",
    ],
    _M.SYNC_417_GENESIS_ASKED: ["asks for the genesis block"],
    _M.SYNC_418_ASKED_TWICE: ["asks twice for a block", "asks twice for a transaction", "asks twice for a proposal"],
    _M.SYNC_TIMEOUT: [
        "test_who_never_answers_makes_room",
        "test_who_stays_behind_is_told_and_makes_room_and_is_left_alone",
    ],
    _M.SYNC_NO_BLOCKS: [
        "test_who_withholds_blocks_makes_room_and_comes_back_to_nobodys_harm",
        "test_who_has_less_than_the_node_is_of_no_use_to_it",
    ],
    _M.SYNC_OUTBOUND_IN_IBD: ["test_who_downloads_itself_is_disconnected_and_not_banned"],
    _M.SYNC_USELESS_IN_IBD: ["test_who_has_less_than_the_node_is_of_no_use_to_it"],
    _M.RELAY_UNDECODABLE: ["relay: undecodable", "transactions, one of them unreadable"],
    _M.RELAY_402_INVALID_HEADER: ["compact block, invalid header", "test_what_has_no_work_is_paid_for"],
    _M.RELAY_403_DUPLICATE_SHORT_IDS: ["compact block, duplicate short ids"],
    _M.RELAY_404_NO_PREFILLED_CELLBASE: ["compact block without cellbase"],
    _M.RELAY_405_DUPLICATE_PREFILLED: ["compact block, prefilled twice"],
    _M.RELAY_406_PREFILLED_OUT_OF_ORDER: ["compact block, out of order"],
    _M.RELAY_407_PREFILLED_OUT_OF_RANGE: ["compact block, index out of range"],
    _M.RELAY_409_WRONG_TRANSACTIONS_ROOT: [
        "compact block, wrong transactions root",
        "block transactions with other witnesses",
        "a collision, and a false answer",
    ],
    _M.RELAY_410_WRONG_TRANSACTION_COUNT: ["block transactions, one less"],
    _M.RELAY_411_WRONG_TRANSACTIONS: ["block transactions in another order"],
    _M.RELAY_412_WRONG_UNCLE_COUNT: ["block transactions, an uncle too many"],
    _M.RELAY_413_WRONG_UNCLES: ["block transactions, another uncle"],
    _M.RELAY_416_TOO_MANY_UNKNOWN_TRANSACTIONS: ["hashes without an end"],
    _M.TRANSACTION_CYCLES_ABOVE_LIMIT: ["cycles above the limit"],
    _M.TRANSACTION_WRONG_CYCLES: ["wrong cycles", "too few cycles"],
    _M.TRANSACTION_INVALID: ["script that fails", "capacity out of nothing", "a dep twice", "deps without an end"],
    _M.FILTER_UNDECODABLE: ["filters: undecodable"],
    _M.LIGHT_CLIENT_UNDECODABLE: ["light client: undecodable"],
    _M.LIGHT_CLIENT_400_MALFORMED: [
        "light client: no truth value",
        "light client: no blocks",
        "light client: too many blocks",
        "light client: a block twice",
        "light client: the last block itself",
        "light client: no transactions",
        "light client: too many transactions",
        "light client: too many last blocks",
        "light client: too many samples",
    ],
    _M.LIGHT_CLIENT_401_UNEXPECTED: ["light client: a server's message", "light client: a server's proof"],
    _M.LIGHT_CLIENT_410_INVALID_REQUEST: [
        "light client: difficulties that fall",
        "light client: difficulties above the boundary",
        "light client: difficulties below the beginning",
    ],
    _M.LIGHT_CLIENT_413_BAD_DIFFICULTY_BOUNDARY: ["light client: a boundary that is not reached"],
}

NEVER: Final = {
    _M.SYNC_NOT_OPENED: "of the peer layer: tests/simulation/test_sessions.py",
    _M.SYNC_5XX_WARNING: "a warning is no punishment",
    _M.LIGHT_CLIENT_5XX_WARNING: "a warning is no punishment",
    _M.FILTER_4XX: "no question about filters is refused",
    _M.LIGHT_CLIENT_411_INVALID_LAST_BLOCK: "the tip is told instead, as the reference does",
    _M.LIGHT_CLIENT_412_INVALID_BLOCK: "no question leads to it",
}
"""What is in the table of penalties and is never caused."""

HARMLESS: Final = [
    "header from the future",
    "header flood of low work",
    "unrequested blocks",
    "withheld blocks",
    "says that it is in its initial download",
    "compact block from the future",
    "stale compact blocks",
    "known compact blocks, again and again",
    "compact blocks that never complete",
    "compact blocks without parents",
    "block transactions, not asked for",
    "a collision",
    "asks for block transactions out of range",
    "asks for transactions of no block",
    "proposals that nobody asked for",
    "transactions that nobody asked for",
    "transaction with a low fee",
    "transaction that conflicts",
    "transaction without parents",
    "transactions without parents, hundreds",
    "announces and gives nothing",
    "questions without an end",
    "light client: a transaction twice",
    "light client: a beginning above the end",
    "light client: an unknown last block",
    "light client: the genesis block is the last one, of blocks",
    "light client: the genesis block is the last one, of transactions",
    "light client: the genesis block is the last one, of samples",
    "light client: unknown blocks and transactions",
    "light client: all at once",
    "filters: a server's message",
    "filters: beyond all",
]
"""What costs nothing, and changes nothing."""
