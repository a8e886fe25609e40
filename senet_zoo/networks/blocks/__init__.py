"""Units that stages are made of, each with the spec that builds it."""
