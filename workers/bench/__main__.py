"""One cell in a process of its own: `python -m workers.bench FOLDER SYSTEM SEED`."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from nas_service.errors import ConflictError
from workers.bench.cell import run_cell
from workers.bench.folder import CellFolder, CellId

DONE, FAILED, BUSY = 0, 1, 75
_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring one cell to its end and return the exit code: 0 done, 1 failed, 75 another process is at it."""
    options = _parser().parse_args(arguments)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    if options.with_parent:
        _end_with_parent()
    cell, folder = CellId(system=options.system, seed=options.seed), Path(options.folder)
    files = CellFolder(folder, cell)
    try:
        run_cell(folder, cell, notice=lambda text: print(text, flush=True))
    except ConflictError as error:
        if files.done or "another process" not in str(error):
            return _failed(files, error)
        print(error, file=sys.stderr)
        return BUSY
    except Exception as error:
        return _failed(files, error)
    (files.path / "failure.txt").unlink(missing_ok=True)
    return DONE


def _failed(files: CellFolder, error: Exception) -> int:
    """Keep why, where the bench looks for it."""
    files.write("failure.txt", f"{error}\n\n{traceback.format_exc()}".encode())
    print(f"{files.cell}: {error}", file=sys.stderr)
    return FAILED


def _end_with_parent() -> None:
    """Have the kernel end this process when its parent is gone, so that no cell is trained unseen."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.bench", description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("system")
    parser.add_argument("seed", type=int)
    parser.add_argument("--core", type=int, help="run on this core alone")
    parser.add_argument("--with-parent", action="store_true", help="end when the parent ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
