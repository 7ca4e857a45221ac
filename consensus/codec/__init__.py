"""Bytes: molecule, and where the parts of a transaction or block lie."""
