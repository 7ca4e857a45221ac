"""Many real nodes in one network: see __main__."""
