"""Events, clocks and links, and the loop to read."""
