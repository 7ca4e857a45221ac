"""What misbehaviour costs a peer, one row each. Times of bans and texts of disconnects are the reference's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

__all__ = ["PENALTIES", "Action", "Misbehaviour", "Penalty", "apply_penalty", "penalty"]

MINUTE: Final = 60
SHORT: Final = 5 * MINUTE
LONGER: Final = 10 * MINUTE
DAY: Final = 24 * 60 * MINUTE
THREE_DAYS: Final = 3 * DAY


class Action(Enum):
    """What is done to the peer."""

    NOTHING = "nothing"
    CLOSE_PROTOCOL = "close the protocol"
    DISCONNECT = "disconnect"
    BAN = "ban"


@dataclass(frozen=True, slots=True)
class Penalty:
    """`ban_seconds` is 0 unless the action is BAN; `reason` is what the peer is told and the log says."""

    action: Action
    ban_seconds: int
    reason: str


class Misbehaviour(Enum):
    """What a peer did wrong. The numbers in names are status codes of the protocol, as developers know them."""

    # Any protocol
    BROKEN_FRAME = auto()
    """Too large, cut off, or not to be decompressed."""
    OUR_FAULT = auto()
    """A handler of ours failed, or our own message was too large: not the peer's doing."""
    SYNC_NOT_OPENED = auto()

    # Identify
    IDENTIFY_UNDECODABLE = auto()
    IDENTIFY_TWICE = auto()
    IDENTIFY_TIMEOUT = auto()
    IDENTIFY_TOO_MANY_ADDRESSES = auto()
    IDENTIFY_INNER_UNDECODABLE = auto()
    IDENTIFY_OTHER_CHAIN = auto()
    IDENTIFY_NO_FLAGS = auto()
    IDENTIFY_MISSING_FLAGS = auto()
    """As the dialler we need a peer that serves what we ask for."""

    # Ping
    PING_UNDECODABLE = auto()
    PONG_WRONG = auto()
    """Not asked for, or with another number."""
    PING_TIMEOUT = auto()

    # Discovery
    DISCOVERY_UNDECODABLE = auto()
    DISCOVERY_SECOND_GET_NODES = auto()
    DISCOVERY_SECOND_NODES = auto()
    DISCOVERY_TOO_MANY_ANNOUNCED = auto()
    DISCOVERY_TOO_MANY_NODES = auto()
    DISCOVERY_TOO_MANY_ADDRESSES = auto()

    # Time, alert
    TIME_UNDECODABLE = auto()
    ALERT_UNDECODABLE = auto()
    ALERT_NOT_UTF8 = auto()
    ALERT_BAD_SIGNATURES = auto()

    # Hole punching
    PUNCHING_UNDECODABLE = auto()
    PUNCHING_410_TOO_MANY_HOPS = auto()
    PUNCHING_411_BAD_FROM = auto()
    PUNCHING_412_BAD_TO = auto()
    PUNCHING_413_BAD_ROUTE = auto()
    PUNCHING_414_BAD_ADDRESSES = auto()

    # Sync and relay
    SYNC_UNDECODABLE = auto()
    RELAY_UNDECODABLE = auto()
    SYNC_400_MALFORMED = auto()
    SYNC_401_INVALID_BLOCK = auto()
    RELAY_402_INVALID_HEADER = auto()
    RELAY_403_DUPLICATE_SHORT_IDS = auto()
    RELAY_404_NO_PREFILLED_CELLBASE = auto()
    RELAY_405_DUPLICATE_PREFILLED = auto()
    RELAY_406_PREFILLED_OUT_OF_ORDER = auto()
    RELAY_407_PREFILLED_OUT_OF_RANGE = auto()
    RELAY_409_WRONG_TRANSACTIONS_ROOT = auto()
    RELAY_410_WRONG_TRANSACTION_COUNT = auto()
    RELAY_411_WRONG_TRANSACTIONS = auto()
    RELAY_412_WRONG_UNCLE_COUNT = auto()
    RELAY_413_WRONG_UNCLES = auto()
    SYNC_414_NO_COMMON_ANCESTOR = auto()
    SYNC_415_INVALID_HEADERS = auto()
    RELAY_416_TOO_MANY_UNKNOWN_TRANSACTIONS = auto()
    SYNC_417_GENESIS_ASKED = auto()
    SYNC_418_ASKED_TWICE = auto()
    SYNC_5XX_WARNING = auto()
    SYNC_TIMEOUT = auto()
    """Headers came too slowly, or the peer's chain stayed behind ours."""
    SYNC_NO_BLOCKS = auto()
    """The peer's budget of blocks in flight fell to nothing."""
    SYNC_OUTBOUND_IN_IBD = auto()
    SYNC_USELESS_IN_IBD = auto()
    TRANSACTION_CYCLES_ABOVE_LIMIT = auto()
    TRANSACTION_WRONG_CYCLES = auto()
    TRANSACTION_INVALID = auto()

    # Filter, light client
    FILTER_UNDECODABLE = auto()
    FILTER_4XX = auto()
    LIGHT_CLIENT_UNDECODABLE = auto()
    LIGHT_CLIENT_400_MALFORMED = auto()
    LIGHT_CLIENT_401_UNEXPECTED = auto()
    LIGHT_CLIENT_410_INVALID_REQUEST = auto()
    LIGHT_CLIENT_411_INVALID_LAST_BLOCK = auto()
    LIGHT_CLIENT_412_INVALID_BLOCK = auto()
    LIGHT_CLIENT_413_BAD_DIFFICULTY_BOUNDARY = auto()
    LIGHT_CLIENT_5XX_WARNING = auto()


def _ban(seconds: int, reason: str) -> Penalty:
    return Penalty(Action.BAN, seconds, reason)


def _disconnect(reason: str) -> Penalty:
    return Penalty(Action.DISCONNECT, 0, reason)


_M = Misbehaviour

PENALTIES: Final = {
    _M.BROKEN_FRAME: Penalty(Action.CLOSE_PROTOCOL, 0, "a frame that cannot be read"),
    _M.OUR_FAULT: _disconnect("a fault on our side"),
    _M.SYNC_NOT_OPENED: _disconnect("open protocols error: incomplete open protocols"),
    _M.IDENTIFY_UNDECODABLE: _disconnect("identify: undecodable message"),
    _M.IDENTIFY_TWICE: _disconnect("identify: second message"),
    _M.IDENTIFY_TIMEOUT: _disconnect("identify: timeout"),
    _M.IDENTIFY_TOO_MANY_ADDRESSES: _disconnect("identify: too many addresses"),
    _M.IDENTIFY_INNER_UNDECODABLE: _ban(SHORT, "identify: undecodable content"),
    _M.IDENTIFY_OTHER_CHAIN: _ban(SHORT, "identify: another chain"),
    _M.IDENTIFY_NO_FLAGS: _ban(SHORT, "identify: no flags"),
    _M.IDENTIFY_MISSING_FLAGS: _disconnect("identify: the flags do not suffice"),
    _M.PING_UNDECODABLE: _disconnect("ping failed"),
    _M.PONG_WRONG: _disconnect("ping failed"),
    _M.PING_TIMEOUT: _disconnect("ping timeout"),
    _M.DISCOVERY_UNDECODABLE: _disconnect("discovery: undecodable message"),
    _M.DISCOVERY_SECOND_GET_NODES: _disconnect("discovery: second GetNodes"),
    _M.DISCOVERY_SECOND_NODES: _disconnect("discovery: second answer"),
    _M.DISCOVERY_TOO_MANY_ANNOUNCED: _disconnect("discovery: too many nodes announced"),
    _M.DISCOVERY_TOO_MANY_NODES: _disconnect("discovery: too many nodes in an answer"),
    _M.DISCOVERY_TOO_MANY_ADDRESSES: _disconnect("discovery: too many addresses of a node"),
    _M.TIME_UNDECODABLE: _ban(SHORT, "time: undecodable message"),
    _M.ALERT_UNDECODABLE: _ban(SHORT, "alert: undecodable message"),
    _M.ALERT_NOT_UTF8: _ban(SHORT, "alert: text is not UTF-8"),
    _M.ALERT_BAD_SIGNATURES: _ban(SHORT, "alert: invalid signatures"),
    _M.PUNCHING_UNDECODABLE: _ban(DAY, "hole punching: undecodable message"),
    _M.PUNCHING_410_TOO_MANY_HOPS: _ban(DAY, "hole punching 410: too many hops"),
    _M.PUNCHING_411_BAD_FROM: _ban(DAY, "hole punching 411: `from` is no peer id"),
    _M.PUNCHING_412_BAD_TO: _ban(DAY, "hole punching 412: `to` is no peer id"),
    _M.PUNCHING_413_BAD_ROUTE: _ban(DAY, "hole punching 413: invalid route"),
    _M.PUNCHING_414_BAD_ADDRESSES: _ban(DAY, "hole punching 414: invalid listen addresses"),
    _M.SYNC_UNDECODABLE: _ban(SHORT, "sync: undecodable message"),
    _M.RELAY_UNDECODABLE: _ban(SHORT, "relay: undecodable message"),
    _M.SYNC_400_MALFORMED: _ban(SHORT, "400: malformed message"),
    _M.SYNC_401_INVALID_BLOCK: _ban(SHORT, "401: invalid block"),
    _M.RELAY_402_INVALID_HEADER: _ban(SHORT, "402: compact block with an invalid header"),
    _M.RELAY_403_DUPLICATE_SHORT_IDS: _ban(SHORT, "403: compact block with duplicate short ids"),
    _M.RELAY_404_NO_PREFILLED_CELLBASE: _ban(SHORT, "404: compact block without its cellbase"),
    _M.RELAY_405_DUPLICATE_PREFILLED: _ban(SHORT, "405: compact block with a transaction twice"),
    _M.RELAY_406_PREFILLED_OUT_OF_ORDER: _ban(SHORT, "406: compact block with transactions out of order"),
    _M.RELAY_407_PREFILLED_OUT_OF_RANGE: _ban(SHORT, "407: compact block with an index out of range"),
    _M.RELAY_409_WRONG_TRANSACTIONS_ROOT: _ban(SHORT, "409: compact block with another transactions root"),
    _M.RELAY_410_WRONG_TRANSACTION_COUNT: _ban(SHORT, "410: block transactions of another number than asked"),
    _M.RELAY_411_WRONG_TRANSACTIONS: _ban(SHORT, "411: other block transactions than asked"),
    _M.RELAY_412_WRONG_UNCLE_COUNT: _ban(SHORT, "412: uncles of another number than asked"),
    _M.RELAY_413_WRONG_UNCLES: _ban(SHORT, "413: other uncles than asked"),
    _M.SYNC_414_NO_COMMON_ANCESTOR: _ban(LONGER, "414: no common ancestor in a locator"),
    _M.SYNC_415_INVALID_HEADERS: _ban(SHORT, "415: invalid headers"),
    _M.RELAY_416_TOO_MANY_UNKNOWN_TRANSACTIONS: _ban(SHORT, "416: too many unknown transactions"),
    _M.SYNC_417_GENESIS_ASKED: _ban(SHORT, "417: the genesis block was asked for"),
    _M.SYNC_418_ASKED_TWICE: _ban(SHORT, "418: the same was asked for twice"),
    _M.SYNC_5XX_WARNING: Penalty(Action.NOTHING, 0, "a warning"),
    _M.SYNC_TIMEOUT: _disconnect("sync timeout eviction"),
    _M.SYNC_NO_BLOCKS: _disconnect("sync disconnect"),
    _M.SYNC_OUTBOUND_IN_IBD: _disconnect("outbound in ibd"),
    _M.SYNC_USELESS_IN_IBD: _disconnect("useless outbound peer in IBD"),
    _M.TRANSACTION_CYCLES_ABOVE_LIMIT: _ban(THREE_DAYS, "transaction: declared cycles above the limit of a block"),
    _M.TRANSACTION_WRONG_CYCLES: _ban(THREE_DAYS, "transaction: wrong declared cycles"),
    _M.TRANSACTION_INVALID: _ban(THREE_DAYS, "transaction: invalid"),
    _M.FILTER_UNDECODABLE: _ban(SHORT, "filter: undecodable message"),
    _M.FILTER_4XX: _ban(SHORT, "filter: bad request"),
    _M.LIGHT_CLIENT_UNDECODABLE: _ban(SHORT, "light client: undecodable message"),
    _M.LIGHT_CLIENT_400_MALFORMED: _ban(SHORT, "light client 400: malformed message"),
    _M.LIGHT_CLIENT_401_UNEXPECTED: _ban(SHORT, "light client 401: unexpected message"),
    _M.LIGHT_CLIENT_410_INVALID_REQUEST: _ban(SHORT, "light client 410: invalid request"),
    _M.LIGHT_CLIENT_411_INVALID_LAST_BLOCK: _ban(SHORT, "light client 411: invalid last block"),
    _M.LIGHT_CLIENT_412_INVALID_BLOCK: _ban(SHORT, "light client 412: invalid block"),
    _M.LIGHT_CLIENT_413_BAD_DIFFICULTY_BOUNDARY: _ban(SHORT, "light client 413: bad difficulty boundary"),
    _M.LIGHT_CLIENT_5XX_WARNING: Penalty(Action.NOTHING, 0, "a warning"),
}


class Punished(Protocol):
    """What is needed of a peer, see `network.peer.Peer`."""

    def disconnect(self, reason: str) -> None: ...

    def ban(self, seconds: int, reason: str) -> None: ...


def penalty(misbehaviour: Misbehaviour, detail: str = "") -> Penalty:
    """The row, with more about it in the reason."""
    row = PENALTIES[misbehaviour]
    return Penalty(row.action, row.ban_seconds, f"{row.reason}: {detail}") if detail else row


def apply_penalty(peer: Punished, misbehaviour: Misbehaviour, detail: str = "") -> None:
    """Ban or disconnect the peer as the table says. Other actions are the caller's, who knows the protocol."""
    row = penalty(misbehaviour, detail)
    if row.action is Action.BAN:
        peer.ban(row.ban_seconds, row.reason)
    elif row.action is Action.DISCONNECT:
        peer.disconnect(row.reason)
