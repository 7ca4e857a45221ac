"""Attacks of peers on a node that follows a mining one: `python -m tests.hostile.following`."""
