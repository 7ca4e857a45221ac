"""Sync and relay in the simulator: nodes with the real chain writer, pool rules and handlers, their chains in memory.

`blocks.py` is the chain that they have and how blocks are made, `stores.py` their disks, `chain.py` and `pool.py` what
sync and relay see of a node, `node.py` such a node, `traffic.py` what is noted of messages, `world.py` many nodes with
their miners and misfortunes, `checks.py` what must be true in the end; `impostor.py` a peer that can be made to lie,
`attacks.py` and the files beside it its lies, `rules.py` which rules they break, `storm.py` one seed of all of it.
"""
