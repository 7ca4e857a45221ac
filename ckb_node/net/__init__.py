"""The node's network as the rest of the node sees it: its configuration, figures, and what RPC tells of it."""
