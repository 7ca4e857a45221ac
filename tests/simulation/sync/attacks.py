"""All attacks, by the files that have them."""

from __future__ import annotations

from typing import Final

from tests.simulation.sync.attacks_blocks import ATTACKS as BLOCKS
from tests.simulation.sync.attacks_serving import ATTACKS as SERVING
from tests.simulation.sync.attacks_sync import ATTACKS as SYNC
from tests.simulation.sync.attacks_transactions import ATTACKS as TRANSACTIONS

ATTACKS: Final = (*SYNC, *BLOCKS, *TRANSACTIONS, *SERVING)
