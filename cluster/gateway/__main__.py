"""`python -m cluster.gateway`: the gateway alone, for boards without a cluster, and to look into it.

Prints one line of JSON with the port and the host key's fingerprint when it listens; runs until SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from pathlib import Path

from cluster.gateway.gateway import Gateway
from nas_service.errors import NasError
from nas_service.home import Home
from nas_service.store import Store


def main() -> int:
    """Run the gateway; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cluster.gateway", description="the boards' SSH gateway")
    parser.add_argument("--home", type=Path, required=True, help="the service's folder (NAS_HOME)")
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=None, help="port to listen on (default: as before, or any free)")
    parser.add_argument("--enrol", metavar="BOARD:CLASS", action="append", default=[], help="print a one-time code")
    parser.add_argument("--debug", action="store_true", help="log more, and show tracebacks")
    options = parser.parse_args()
    _log_to_stderr(debug=options.debug)
    try:
        return _serve(options.home.expanduser().resolve(), options.bind, options.port, options.enrol)
    except NasError as error:
        if options.debug:
            raise
        print(f"gateway: {error}", file=sys.stderr)
        return 1


def _serve(home_path: Path, bind: str, port: int | None, enrol: list[str]) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    home = Home(home_path).create()
    with Store.open(home) as store, Gateway(home, store, bind=bind, port=port) as gateway:
        status = gateway.status()
        codes = {pair: gateway.enrol(*_names(pair)) for pair in enrol}
        print(json.dumps({"port": status.port, "fingerprint": status.fingerprint, "codes": codes}), flush=True)
        stop.wait()
    return 0


def _names(pair: str) -> tuple[str, str]:
    board, _, board_class = pair.partition(":")
    return board, board_class or board


def _log_to_stderr(*, debug: bool) -> None:
    level = logging.DEBUG if debug else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("asyncssh", "alembic"):
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
