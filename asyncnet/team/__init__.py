"""Which nodes and links a scenario asks for, and what follows from that: shapes, archives, nodes."""
