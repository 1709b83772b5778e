"""What to search, what was found, and how to ask for it."""
