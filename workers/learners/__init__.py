"""Learners: how each kind of model learns from one batch."""
