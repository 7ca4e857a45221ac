"""Chain specifications and genesis blocks."""
