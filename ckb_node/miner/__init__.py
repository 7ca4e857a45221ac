"""`ckb-node miner`: work from a node or a pool, solved on all cores.

A source (`node_source`, `pool_source`) gives work and takes what was found; workers (`search_threads`, `dummy_worker`)
solve it; `miner` stands between them and counts.
"""
