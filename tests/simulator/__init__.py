"""A simulator of chains: from a seed it grows a tree of blocks, good and bad, and gives it to a node in many orders.

`rules.py` is the chain, `state.py` what is true after a block (plain dictionaries, judged by the plain rules),
`transactions.py`, `grow.py` and `spoil.py` make the blocks, `model.py` says what a node must do with each of them,
`node.py` asks the real chain processor and store, `run.py` is one seed from end to end.
"""
