"""`python -m edge_agent` is `nas-edge`. Any Python 3 can read this module, so that an old one is told what to do."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit(
        f"nas-edge: needs Python 3.10 or later, and this is {sys.version_info[0]}.{sys.version_info[1]}.\n"
        "On a Jetson with JetPack 4 run the agent's image:\n"
        "  docker build -f docker/Dockerfile.edge -t biglittle-nas-edge:0.1.0 .   # docs/board.md, Jetson Nano\n"
        "Elsewhere install a newer Python beside the system's: sudo apt install python3.11 python3.11-venv"
    )

from edge_agent.cli import main

if __name__ == "__main__":
    sys.exit(main())
