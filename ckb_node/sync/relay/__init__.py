"""Relay (protocol 101): blocks, transactions and proposals of the tip, from and to peers."""
