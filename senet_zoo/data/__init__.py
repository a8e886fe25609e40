"""Pictures and labelled pictures, wherever they lie."""
