"""Block filters (RFC 45) of the main chain, built behind the tip."""
