"""The pool's rules once more, in plain words: what it must say to a transaction, and whether one could be in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ckb_node.txpool.entry import Status
from tests.pool_walk.plain import Plain, PlainPool, closure

MOST_REPLACED: Final = 100


class Judge:
    """Of transactions whose signatures are good. `kind` of the refusal, "" for one that comes in, None where the
    answer depends on what is evicted for it."""

    def __init__(self, plain: PlainPool) -> None:
        self._plain: Final = plain
        self._limits: Final = plain.pool.limits

    def verdict(self, tx: Plain) -> str | None:
        if tx.tx.short_id in self._plain.pool.graph:
            return "Duplicated"
        if any(each in self._plain.spent or self._is_read(each) for each in tx.outputs):
            return None  # its children came first
        rules: tuple[Callable[[Plain], str | None], ...] = (
            self._cells, self._fee, self._time, self._occupied, self._scripts, self._replacement, self._reads,
            self._ancestors,
        )  # fmt: skip
        for rule in rules:
            if (kind := rule(tx)) is not None:
                return kind
        leaving = self._plain.descendants(self._conflicts(tx))
        size = self._plain.pool.graph.total_size + tx.size - sum(self._plain.txs[each].size for each in leaving)
        return None if size > self._limits.max_size else ""

    def _is_read(self, key: bytes) -> bool:
        return any(key in each.deps for each in self._plain.txs.values())

    def is_available(self, tx: Plain) -> bool:
        """All that it uses is there, and no other transaction of the pool spends it."""
        return self._cells(tx) is None and not self._conflicts(tx)

    def _conflicts(self, tx: Plain) -> set[bytes]:
        return {self._plain.spent[key] for key in tx.inputs if key in self._plain.spent}

    def _cells(self, tx: Plain) -> str | None:
        plain = self._plain
        is_lacking = any(plain.capacity(key) is None for key in (*tx.inputs, *tx.deps))
        is_off = not all(plain.view.is_main(each) for each in tx.tx.body.header_deps)
        is_twice = len(set(tx.inputs)) != len(tx.inputs)
        is_read_too_late = not self._conflicts(tx) and any(key in plain.spent for key in tx.deps)
        return "Resolve" if is_lacking or is_off or is_twice or is_read_too_late else None

    def _fee(self, tx: Plain) -> str | None:
        fee = self._plain.fee(tx)
        if fee < 0:
            return "Malformed"
        return "LowFeeRate" if fee < self._limits.min_fee_rate * tx.size // 1000 else None

    def _time(self, tx: Plain) -> str | None:
        """The tests' transactions have a height as since, or none."""
        tip, closest = self._plain.view.tip_header().number, self._plain.pool.consensus.proposal_window.closest
        height = {
            Status.PENDING: tip + 1 + closest, Status.GAP: tip + closest, Status.PROPOSED: tip - 1 + closest,
        }[self._plain.status(tx.tx.short_id)]  # fmt: skip
        return "Verification" if any(each.since > height for each in tx.tx.body.inputs) else None

    def _occupied(self, tx: Plain) -> str | None:
        body = tx.tx.body
        pairs = zip(body.outputs, body.outputs_data, strict=True)
        return (
            "Verification" if any(each.capacity < each.occupied_capacity(len(data)) for each, data in pairs) else None
        )

    def _scripts(self, tx: Plain) -> str | None:
        passes = tx.program is None or tx.program.passes_on(self._plain.vm_version)
        return None if passes else "Verification"

    def _replacement(self, tx: Plain) -> str | None:
        plain, conflicts = self._plain, self._conflicts(tx)
        if not conflicts:
            return None
        replaced = plain.descendants(conflicts)
        old_inputs = {key for each in conflicts for key in plain.txs[each].inputs}
        has_new = any(key not in old_inputs and plain.view.transaction_info(key[:32]) is None for key in tx.inputs)
        needs = {plain.created[key] for key in (*tx.inputs, *tx.deps) if key in plain.created}
        least = sum(plain.entries[each].fee for each in replaced) + self._limits.min_rbf_rate * tx.size // 1000
        is_allowed = len(replaced) <= MOST_REPLACED and needs.isdisjoint(replaced) and plain.fee(tx) >= least
        return None if is_allowed and not has_new else "RBFRejected"

    def _reads(self, tx: Plain) -> str | None:
        conflicts = self._conflicts(tx)
        spenders = {self._plain.spent[key] for key in tx.deps if key in self._plain.spent and key not in tx.inputs}
        return None if spenders <= conflicts else "Resolve"

    def _ancestors(self, tx: Plain) -> str | None:
        plain = self._plain
        leaving = plain.descendants(self._conflicts(tx))
        needed = {plain.created[key] for key in (*tx.inputs, *tx.deps) if key in plain.created} - leaving
        up = {each: plain.parents(plain.txs[each]) for each in plain.txs}
        return "ExceededMaximumAncestorsCount" if len(closure(needed, up)) >= self._limits.max_ancestors else None
