"""Hashes and proof of work."""
