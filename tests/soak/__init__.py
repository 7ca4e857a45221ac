"""Long runs by hand (`make soak-…`); a short form of each is a test in tests/functional."""
