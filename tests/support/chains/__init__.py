"""Chains of blocks, each for another question.

- `in_memory`: what rules look up, kept in dictionaries; `unchecked` grows it by blocks that keep hardly a rule, `valid`
  by blocks that keep all, which a test then spoils.
- `long_chain`: valid blocks with signed transfers, as bytes, for imports and benchmarks; `two_branches` two of it.
- `devchain`: a node's chain, pool and miner in this process; `branches` and `funded_pool` stand on it.
- `stored`: random blocks that keep no rule, and what the chain store must say of them.
"""
