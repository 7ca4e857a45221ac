"""All bounds and times of header sync, in one place. Those of the reference are named so."""

from __future__ import annotations

from typing import Final

MAX_HEADERS: Final = 2000
"""Of a message (reference). So many mean that there are more."""
MAX_LOCATOR: Final = 101
"""Hashes of a GetHeaders that is answered (reference)."""

MAX_UNJUDGED_PEER: Final = 2
"""Batches of one peer that are being judged; it is not read meanwhile. Each is 416 kB."""
MAX_UNJUDGED: Final = 8
"""Batches of all peers; beyond, each peer is read again when all of its own are judged."""
MAX_REMEMBERED_QUESTIONS: Final = 16
"""Of one peer: from where it was asked lately."""

TICK_SECONDS: Final = 1.0
"""(reference)"""
SAME_QUESTION_SECONDS: Final = 15.0
"""An identical GetHeaders is not sent to the same peer again (reference)."""
NEWS_SECONDS: Final = 1.0
"""But it is after this time when the peer has told of a block since whose parent is not known."""
REPEAT_SECONDS: Final = 28.0
"""A peer that had no more headers is asked again (reference: the mean of the least and the most block interval)."""
SUSPEND_SECONDS: Final = 300.0
"""For a peer that is in its own download, or too slow though protected (reference)."""
SILENCE_SECONDS: Final = 120.0
"""A peer that does not answer leaves (the reference asks the chain-sync candidates for so long)."""
PATIENCE_SECONDS: Final = 10.0
"""During the initial download another peer is asked, too, while one has not answered for so long."""
ASLEEP_SECONDS: Final = 10.0
"""A tick that comes so late: this process stood still, and no peer is to blame for what did not come."""

MAX_ASKED_BEHIND: Final = 2
"""Peers that are asked at the same time while the best header is older than a day, after the initial download."""

MAX_ANSWER_QUEUE: Final = 4 << 20
"""Bytes that wait to be sent to a peer; with more its GetHeaders waits."""
ANSWER_WAIT_SECONDS: Final = 0.1
"""Between two looks whether such a peer has read something."""
MAX_AHEAD: Final = 4
"""Answers of 416 kB that were read before they were asked for."""
HINT_SECONDS: Final = 10.0
"""During the initial download the locators of a peer are looked at so often."""

UNASKED_PER_SECOND: Final = 1.0
UNASKED_AT_ONCE: Final = 16.0
"""Batches that a peer sends without a question; more are not looked at."""
RUSH_SECONDS: Final = 0.25
"""Headers rush in while the best one is moved at least so often: 8,000 a second."""
