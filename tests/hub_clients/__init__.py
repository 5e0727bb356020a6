"""Stock clients of the Hub, each in an environment of its own, against a server as `serve` starts it."""
