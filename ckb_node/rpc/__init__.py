"""JSON-RPC: what SDKs, wallets and miners talk to. `dispatch` knows no transport, the methods know no storage."""
