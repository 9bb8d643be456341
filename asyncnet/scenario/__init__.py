"""What a scenario may say, where it comes from, and what is said of a mistake in it."""
