"""Bit rot, lost files and power cuts, on copies of a node's directory."""
