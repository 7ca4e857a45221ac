"""The cell indexer: live cells and transactions by script, for wallets (modules Indexer of the RPC)."""
