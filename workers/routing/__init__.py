"""Data-aware routing: what is fitted after training, on held-out data, and decides which inputs are escalated."""
