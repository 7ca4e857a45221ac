"""The chain service: the only writer of the store, fork choice, and the events that follow."""
