"""What the node answers light clients, and at what pace it answers anybody."""
