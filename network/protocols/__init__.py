"""The protocols that peers speak about themselves, one handler each. No I/O: time and randomness are handed in."""
