"""Running scripts: when to stop, who goes first, and on which core."""
