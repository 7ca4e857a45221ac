"""A simulator of networks: many nodes in one process, each with the peer layer that the real node has, on a clock that
only moves when nothing is left to do. The same seed gives the same run.

`clock.py` is the time, `wires.py` the cables between hosts (latency, bandwidth, cuts, partitions), `node.py` a node
with its switch and handlers, `world.py` all of it together with churn, `hostile.py` peers that break the rules.
"""
