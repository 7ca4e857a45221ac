"""`ckb-node debug`: runs scripts with observers: sources of transactions, observers, output."""
