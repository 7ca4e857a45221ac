"""Attacks on the RPC of a running node, while honest clients measure how they are served: `make hostile`."""
