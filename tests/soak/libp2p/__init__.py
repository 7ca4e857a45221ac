"""Real nodes over libp2p alone, and over both wires with the reference among them: `python -m tests.soak.libp2p`."""
