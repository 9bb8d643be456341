"""How kernels are compiled, kept and called, how they see a node's state, and the arithmetic and chance that they share."""
