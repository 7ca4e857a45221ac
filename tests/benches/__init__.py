"""Benchmarks (`make bench`): each prints a table and writes build/bench/<name>.json, one flat object of figures."""
