"""Header sync: who is asked for headers, how fast they must come, and what others get who ask."""
