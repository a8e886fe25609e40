"""Files of tensors that this zoo and other libraries write, and how those name the same tensors. Asks no hub."""
