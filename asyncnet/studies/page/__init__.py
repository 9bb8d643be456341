"""A report's page: HTML in which everything is escaped, figures with their points, and the sections of a study and of runs."""
