"""Baselines: what a co-trained pair is compared with, trained by the same loop, data and budget."""
