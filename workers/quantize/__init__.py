"""Pairs in int8: static quantisation of both graphs, and training that makes up for what it loses."""
