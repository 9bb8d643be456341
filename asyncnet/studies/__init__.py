"""Studies: a question asked of many runs, their table, its statistics and pictures."""
