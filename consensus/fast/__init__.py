"""Fast paths to the verdicts of `consensus.rules`, which decide whatever these leave open."""
