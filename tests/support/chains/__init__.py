"""Chains of blocks, each for another question: kept by a node in this process, or by the rules alone."""
