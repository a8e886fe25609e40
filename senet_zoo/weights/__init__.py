"""Models with their weights: manifest, hub and cache, create, load, save, convert, publish, verify."""
