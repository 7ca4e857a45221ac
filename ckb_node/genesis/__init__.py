"""The genesis block of the node's chain: where it is kept, and how it is got when it cannot be built."""
