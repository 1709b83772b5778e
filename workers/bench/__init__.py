"""The bench: systems of one preset, trained at equal budgets and judged by the protocol."""
