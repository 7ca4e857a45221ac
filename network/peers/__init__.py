"""Who the peers are: known addresses, bans, the table of connected ones, and what misbehaviour costs."""
