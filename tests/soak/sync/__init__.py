"""Sync of real processes that are killed, stopped and cut off from each other."""
