"""Data sets in memory, their splits, and what is done to images on the way into a network."""
