"""What runs on a board: the agent, its sensors, its measuring, and the runtime of deployed pairs."""

__version__ = "0.1.0"
