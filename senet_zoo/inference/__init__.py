"""The same function, faster or elsewhere: `optimize`, `export` and the benchmark."""
