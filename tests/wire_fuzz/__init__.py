"""Fuzzing of the wire: every decoder and every state machine that hostile bytes reach (`make fuzz-wire`)."""
