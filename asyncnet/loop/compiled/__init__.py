"""The same loop as machine code, over tables."""
