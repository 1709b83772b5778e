"""How the halves of a pair are trained together: terms, phases, the router between them, expected cost."""
