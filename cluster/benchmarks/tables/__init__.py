"""Tables of real trained networks, on which searchers are compared: the nets, their training, and the files."""
