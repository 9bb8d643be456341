"""What a run's nodes heard, kept in files, and done again."""
