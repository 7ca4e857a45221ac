"""Work for miners: block templates, candidate uncles, and the dev chain's own miner."""
