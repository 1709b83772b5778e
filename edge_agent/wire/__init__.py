"""The values on the wire, one noun a module. Others import them from `edge_agent.records`, which lists them all."""
