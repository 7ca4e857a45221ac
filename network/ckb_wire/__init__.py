"""The wire of CKB's peers below the protocols: bytes in, events and bytes out. No sockets, no clock, no logs."""
