"""The networks: the gate that all share, layers, blocks, families as tables, and the class that builds them."""
