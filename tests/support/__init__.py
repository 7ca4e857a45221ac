"""What tests of more than one room share: builders of parts, chains of blocks, running nodes, programs for the VM.

Tests import from here and from their own room; no test imports another test.
"""
