"""The verbs of the command line, a class each: its options, and what it does."""
