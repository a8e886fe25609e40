"""Pictures in, classes out; what reads an exported network needs no torch."""
