"""Transactions, cells, blocks and pool entries made by hand, and a wallet that signs."""
