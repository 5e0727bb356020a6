"""The benchmarks: the same work, several rounds, against a server exactly as `serve` starts it."""
