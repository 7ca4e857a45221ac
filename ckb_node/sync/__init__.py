"""Sync and relay: blocks and transactions from and to peers."""
