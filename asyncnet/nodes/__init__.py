"""A node: its state and kernels bound to parts, what it sends, and the two that are no learning nodes."""
