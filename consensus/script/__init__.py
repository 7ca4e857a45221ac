"""Scripts: which code runs for a transaction, on which VM, and what it may ask of the node (RFC 9, 22, 32, 34, 50)."""
