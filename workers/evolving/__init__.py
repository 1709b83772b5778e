"""Dimensions that evolve while a supernet is trained: by gradient, by evolution, or shrinking by schedule."""
