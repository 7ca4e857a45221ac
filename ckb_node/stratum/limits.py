"""All bounds of the stratum server that the operator does not choose. Sizes in bytes, times in seconds."""

from __future__ import annotations

from typing import Final

LINE_BYTES: Final = 4096
"""Of a message from a miner."""
UNREAD_BYTES: Final = 8 << 10
"""Of lines that wait for their turn; beyond, the system keeps what a miner sends."""
UNSENT_BYTES: Final = 64 << 10
"""A miner that does not read what it is sent is disconnected beyond."""
USER_CHARS: Final = 256
AGENT_CHARS: Final = 64
MESSAGE_ID_CHARS: Final = 64
USERS_OF_CONNECTION: Final = 64
"""A proxy authorises several workers by one connection."""
PAYOUT_LOCK_BYTES: Final = 256
"""Of a lock script that a user names as address; templates leave room for it."""

LOGIN_SECONDS: Final = 30.0
"""From the connection to the first authorised user, and for the rest of a line that has begun."""
CLOSE_SECONDS: Final = 5.0
"""For a miner that is disconnected to read what it was sent."""
HANDSHAKE_SECONDS: Final = 10.0
"""Of TLS."""
HANDSHAKES_OF_ADDRESS: Final = 32
"""At once, each of which takes a millisecond; others of the address wait, at most LOGIN_SECONDS."""
TLS_BUFFER_BYTES: Final = 16 << 10
"""Of each connection by TLS, a record; asyncio's own choice is 256 KiB."""
MESSAGES_A_SECOND: Final = 50.0
MESSAGES_AT_ONCE: Final = 300
"""A miner that sends more is disconnected."""
JUNK_POINTS: Final = 20
"""Messages that make no sense, after which a miner is disconnected; for lines that are no messages at all its address
is banned."""
BAD_SHARES: Final = 200
"""More wrong shares than right ones, by so many: the miner is disconnected."""
BANNED_ADDRESSES: Final = 10_000

ROUNDS: Final = 32
"""Templates whose jobs are remembered: late blocks of them may still become uncles."""
PAYOUTS: Final = 4096
"""Locks whose work in a template is kept; that of others is made anew."""
JOBS: Final = 4096
"""Of one template, by dialect, payout and target, that are kept to be sent again."""
SEEN_SHARES: Final = 20_000
"""Of one template; the oldest are forgotten."""
OWN_TIMES: Final = 10_000
"""Miners whose nonces have no part of ours get headers with a time of their own, so many milliseconds at most later."""
WORKERS: Final = 10_000
"""Whose statistics are kept; the one that was quiet longest is forgotten."""
FOUND_BLOCKS: Final = 256
SUBMITS_AT_ONCE: Final = 256
"""Blocks that miners found, under way to the chain."""
