"""Bringing it up: the composition root that joins service, workers and boards."""
