"""Runs: one in this process or many, their directories, states and results."""
