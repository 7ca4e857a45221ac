"""Messages of the wire as molecule schemas."""
