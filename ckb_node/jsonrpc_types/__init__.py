"""Chain types as JSON-RPC writes them, shared by the RPC, the commands, the debugger and the miner."""
