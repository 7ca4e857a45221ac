"""asyncio shells of the wire: sockets, connections, listening, dialling, Tor. What they carry is decided elsewhere."""
