"""What runs on a board: the agent, its sensors, its measuring, and the runtime of deployed pairs."""
