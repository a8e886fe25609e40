"""Models with their weights: the only room that sees both the networks and the hub."""
