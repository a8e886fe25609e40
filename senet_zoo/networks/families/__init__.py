"""One file a family of networks, which reads like its paper's table; `register` names each function."""
