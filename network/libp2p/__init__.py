"""Peers over libp2p: a process of its own speaks libp2p, here is what tells it and hears it. See decision 57."""
