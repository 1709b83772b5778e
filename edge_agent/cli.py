"""The command `nas-edge`: data on stdout, logs on stderr, exit status 0 done, 1 failed, 2 bad usage."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

from edge_agent import __version__
from edge_agent.errors import BadUsageError, EdgeError, WrongImageError
from edge_agent.home import DEFAULT_HOME, HOME_VARIABLE, Home
from edge_agent.inference import PROVIDERS
from edge_agent.tiers import TIERS

PRECISIONS = ("fp32", "int8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    level = logging.DEBUG if options.debug else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        return COMMANDS[options.command](options)
    except KeyboardInterrupt:
        return 1
    except (EdgeError, OSError) as error:
        if options.debug:
            raise
        print(f"nas-edge: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadUsageError) else 1


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--home", metavar="DIR", help=f"the board's folder (default: ${HOME_VARIABLE} or {DEFAULT_HOME})"
    )
    shared.add_argument("--debug", action="store_true", help="more log, and tracebacks")
    parser = argparse.ArgumentParser(prog="nas-edge", description="The agent and runtime of biglittle-nas on a board.")
    parser.add_argument("--version", action="version", version=f"nas-edge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    enroll = commands.add_parser("enroll", parents=[shared], help="make this machine a board of a gateway")
    enroll.add_argument("address", metavar="HOST[:PORT]")
    enroll.add_argument("code", metavar="CODE", help="from `nas board add` on the service's machine")

    move = commands.add_parser("move", parents=[shared], help="reach the same gateway at another address")
    move.add_argument("address", metavar="HOST[:PORT]")

    run = commands.add_parser("run", parents=[shared], help="serve measurements until stopped")
    run.add_argument("--local", action="store_true", help="this machine also runs the service; results say so")

    run.add_argument(
        "--start-celsius",
        type=float,
        default=60.0,
        metavar="C",
        help="from tier rank on, wait until the board is this cool (default: 60)",
    )

    doctor = commands.add_parser("doctor", parents=[shared], help="check this board and say how to mend it")
    doctor.add_argument("--json", action="store_true", help="for machines")

    measure = commands.add_parser("measure", parents=[shared], help="measure a bundle, or one ONNX file, here")
    measure.add_argument("path", metavar="BUNDLE")
    measure.add_argument(
        "--tier",
        choices=list(TIERS),
        default="screen",
        help="up to rank each half by itself, then the pair whole; an ONNX file always by itself",
    )
    measure.add_argument("--threads", type=int, default=1, metavar="N", help="of onnxruntime, 1 to 256 (default: 1)")
    measure.add_argument("--provider", choices=list(PROVIDERS), default="cpu", help="what runs the model")
    measure.add_argument("--precision", choices=PRECISIONS, help="one of a bundle's variants (default: all)")
    measure.add_argument("--json", action="store_true", help="for machines")

    predict = commands.add_parser("predict", parents=[shared], help="classify images with a bundle")
    predict.add_argument("path", metavar="BUNDLE")
    predict.add_argument(
        "images", metavar="IMAGE", nargs="+", help=".npy (H, W, C) uint8, PPM or PGM; JPEG and PNG with Pillow"
    )
    predict.add_argument("--operating-point", metavar="NAME", help="default: the bundle's own")
    predict.add_argument("--precision", choices=PRECISIONS, help="default: the bundle's own, mostly fp32")
    predict.add_argument("--json", action="store_true", help="for machines")
    predict.add_argument(
        "--drift",
        action="store_true",
        help="watch the escalation rate; ask the big net about every image while it is not as promised",
    )
    return parser


def _enroll(options: argparse.Namespace) -> int:
    from edge_agent.enroll import enroll
    from edge_agent.fingerprint import read_fingerprint

    home = Home.at(options.home)
    config = enroll(home, address=options.address, code=options.code, fingerprint=read_fingerprint())
    print(f"enrolled as {config.board} (class {config.board_class}) at {config.host}:{config.port}")
    where = f" --home {options.home}" if options.home else ""
    print(f"start the agent with: nas-edge run{where}", file=sys.stderr)
    return 0


def _move(options: argparse.Namespace) -> int:
    from edge_agent.enroll import move

    config = move(Home.at(options.home), address=options.address)
    print(f"{config.board} now reaches its gateway at {config.host}:{config.port}; restart the agent")
    return 0


def _run(options: argparse.Namespace) -> int:
    from edge_agent.agent import Agent
    from edge_agent.lifetime import StopSignal, only_agent

    home = Home.at(options.home)
    config = home.config()
    home.create()
    stop = StopSignal()
    with only_agent(home) as incarnation, stop.listen():
        Agent(
            home,
            config=config,
            incarnation=incarnation,
            stop=stop,
            local=options.local,
            start_c=options.start_celsius,
        ).run()
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from edge_agent.doctor import examine

    checks = examine(Home.at(options.home))
    if options.json:
        print(json.dumps([check.to_dict() for check in checks], indent=2))
    else:
        for check in checks:
            print(check.as_text())
    return 1 if any(check.state == "fail" for check in checks) else 0


def _measure(options: argparse.Namespace) -> int:
    from edge_agent.local_measure import as_table, measure_path
    from edge_agent.sensors import Place

    rows = measure_path(
        options.path,
        tier=options.tier,
        threads=options.threads,
        provider=PROVIDERS[options.provider],
        precision=options.precision,
        place=Place.of_home(Home.at(options.home).root),
    )
    print(json.dumps(rows, indent=2) if options.json else as_table(rows))
    return 0 if all(row["status"] == "ok" for row in rows) else 1


def _predict(options: argparse.Namespace) -> int:
    from edge_agent.images import read_image
    from edge_agent.runtime import Pair

    with Pair.load(options.path, options.operating_point, precision=options.precision, drift=options.drift) as pair:
        for path in options.images:
            try:
                prediction = pair.predict(read_image(path))
            except WrongImageError as error:
                raise WrongImageError(f"{path}: {error}") from None
            row: dict[str, Any] = {"image": path, **prediction.to_dict()}
            if options.json:
                print(json.dumps(row))
            else:
                shown = f"{prediction.label}\t{max(prediction.probabilities):.3f}\t{prediction.route}"
                print(f"{path}\t{shown}\t{prediction.latency_ms:.3f} ms")
        if pair.drift is not None:
            print(f"drift: {pair.drift.as_text()}", file=sys.stderr)
    return 0


COMMANDS = {"enroll": _enroll, "move": _move, "run": _run, "doctor": _doctor, "measure": _measure, "predict": _predict}
