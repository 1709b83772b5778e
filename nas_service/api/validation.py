"""What a job's spec and the metadata show before anything starts: boards, data, space, constraints, checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from nas_service.errors import InvalidRequestError, NotFoundError
from nas_service.fleet import Board, ExpectedBoard, Measurement
from nas_service.image_folder import ImageFolder
from nas_service.job import DATASETS, InvalidJobError, JobSpec, Problem
from nas_service.pair_space import PairSpace, SpaceDefinition
from nas_service.presence import waiting_text
from nas_service.scalar_log import missing_extras
from nas_service.sensing import classes_without_energy
from nas_service.space import load_definition
from nas_service.store.job_record import Job
from nas_service.tune.warm import unfit_for_warm_start

# Channels, side in pixels, classes of the data sets whose shape their name tells.
SHAPES = {
    "digits": (1, 8, 10),
    "fashion_mnist": (1, 28, 10),
    "cifar10": (3, 32, 10),
    "cifar100": (3, 32, 100),
}
FOLDERS = {"imagenet": 224, "folder": 96}  # image folders, and the side that they have unless the job says another
TEST_NAMES = {"imagenet": ("val",), "folder": ("test", "val")}

_PARQUET_MARK = b"PAR1"
_MOST_FILES = 1000
_RESULTS_LOOKED_AT = 100


class BoardList(Protocol):
    """Knows the boards that have not been removed and what they measured; the store's `fleet` is one."""

    def boards(self) -> Sequence[Board]:
        """Return them."""
        ...

    def expected(self, *, now: float) -> Sequence[ExpectedBoard]:
        """Return those that were added and may still enrol at `now`, in unix seconds."""
        ...

    def measurements(self, *, board_class: str, limit: int) -> Sequence[Measurement]:
        """Return at most `limit` results of a class, newest first."""
        ...


class ArtefactList(Protocol):
    """Tells whether the file store has a file."""

    def exists(self, sha256: str) -> bool:
        """Return whether it is there."""
        ...


class JobList(Protocol):
    """Knows the jobs; the store's `jobs` is one."""

    def get(self, job_id: str) -> Job:
        """Return a job; raise NotFoundError if there is none."""
        ...


def validate_job(
    spec: JobSpec,
    fleet: BoardList,
    *,
    jobs: JobList,
    files: ArtefactList | None = None,
    data: Path | None = None,
    now: float,
) -> None:
    """Refuse a job that cannot succeed here, naming everything found at once.

    Args:
        spec: the job, already well-formed.
        fleet: knows the boards.
        jobs: knows the jobs that a warm start names.
        files: the file store, to look the checkpoint up in; None skips that.
        data: the folder that relative data roots lie in; None is the working folder.
        now: unix seconds.

    Raises:
        InvalidJobError: an unknown board class, or one without an energy sensor that is asked for energy, data or a
            checkpoint that is not there, constraints that nobody meets, a warm start from what does not compare.
    """
    problems = [
        *_board_problems(spec, fleet, now=now),
        *_data_problems(spec, data),
        *_space_problems(spec),
        *_warm_problems(spec, jobs),
    ]
    checkpoint = spec.supernet.checkpoint
    if checkpoint is not None and files is not None and not files.exists(checkpoint):
        message = f"no artefact {checkpoint!r} is stored here; `nas show JOB` lists a job's artefacts"
        problems.append(Problem(path="supernet.checkpoint", message=message))
    problems += [Problem(path=f"logging.{key}", message=advice) for key, advice in missing_extras(spec.logging)]
    if problems:
        raise InvalidJobError(problems)


def data_root(root: str, data: Path | None = None) -> Path:
    """Return where a data set's root lies on this machine: `~` expanded, a relative one under `data`."""
    path = Path(root).expanduser()
    return path if path.is_absolute() or data is None else data / path


def _board_problems(spec: JobSpec, fleet: BoardList, *, now: float) -> Iterator[Problem]:
    wanted = {name: name.partition("@")[2] for name in (*spec.objectives, *spec.constraints) if "@" in name}
    if not wanted:
        return
    boards = fleet.boards()
    known = sorted({board.board_class for board in boards})
    allowed = f"known: {', '.join(known)}" if known else "no board is enrolled"
    for name, board_class in wanted.items():
        path = "objectives" if name in spec.objectives else f"constraints.{name}"
        if board_class not in known:
            expected = [board.name for board in fleet.expected(now=now) if board.board_class == board_class]
            why = (
                f"no board of class {board_class!r} has enrolled; {waiting_text(expected)}"
                if expected
                else f"unknown board class {board_class!r}; {allowed}. Add a board with `nas board add`"
            )
            yield Problem(path=path, message=f"{name}: {why}")
        elif name.startswith("energy_mj") and _has_no_energy(board_class, boards, fleet):
            message = (
                f"{name}: no board of class {board_class!r} has an energy sensor, so nothing would ever have this "
                "figure; `nas-edge doctor` on a board says what is missing, or leave it out"
            )
            yield Problem(path=path, message=message)


def _has_no_energy(board_class: str, boards: Sequence[Board], fleet: BoardList) -> bool:
    results = fleet.measurements(board_class=board_class, limit=_RESULTS_LOOKED_AT)
    mine = [board for board in boards if board.board_class == board_class]
    return bool(classes_without_energy(mine, [measured.result for measured in results]))


def _warm_problems(spec: JobSpec, jobs: JobList) -> Iterator[Problem]:
    for index, job_id in enumerate(spec.warm_start):
        try:
            complaint = unfit_for_warm_start(spec, jobs.get(job_id))
        except NotFoundError:
            complaint = "is no job here; `nas jobs` lists them"
        if complaint is not None:
            yield Problem(path=f"warm_start[{index}]", message=f"{job_id!r} {complaint}")


def _data_problems(spec: JobSpec, data: Path | None) -> Iterator[Problem]:
    if not DATASETS.get(spec.dataset.name) or spec.dataset.root is None:
        return
    root = data_root(spec.dataset.root, data)
    complaint = _root_complaint(root, spec.dataset.name)
    if complaint is not None:
        message = f"{str(root)!r} {complaint}; give the folder of {spec.dataset.name!r} on the service's machine"
        yield Problem(path="dataset.root", message=message)
    elif spec.dataset.name in FOLDERS:
        try:
            ImageFolder.find(root, test_names=TEST_NAMES[spec.dataset.name])
        except InvalidRequestError as error:
            yield Problem(path="dataset.root", message=str(error))


def _root_complaint(root: Path, name: str) -> str | None:
    try:
        if not root.exists():
            return "does not exist"
        if name == "parquet":
            return _parquet_complaint(root)
        if not root.is_dir():
            return "is no folder"
        return None if any(root.iterdir()) else "is empty"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _parquet_complaint(root: Path) -> str | None:
    files = [root] if root.is_file() else sorted(root.rglob("*.parquet"))[:_MOST_FILES]
    if not files:
        return "holds no *.parquet file"
    return next(
        (f"holds {f.name}, which is no Parquet file or is cut short" for f in files if not _is_parquet(f)), None
    )


def _is_parquet(path: Path) -> bool:
    if path.stat().st_size < 12:
        return False
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-4, 2)
        return head == _PARQUET_MARK == file.read(4)


def _space_problems(spec: JobSpec) -> Iterator[Problem]:
    """Yield what is wrong with the space; a user's own is only imported where the job runs, never here."""
    if ":" in spec.space.preset:
        return
    path = "space"
    try:
        definition = load_definition(
            spec.space.preset, couplings=spec.space.couplings, activation=spec.space.activation
        )
        path = "dataset"
        space = _space(definition, spec)
        path = "constraints"
        space.check_constraints()
    except InvalidRequestError as error:
        yield Problem(path=path, message=str(error))


def _space(definition: SpaceDefinition, spec: JobSpec) -> PairSpace:
    side = spec.dataset.resolution or FOLDERS.get(spec.dataset.name)
    least = (1, definition.least_resolution, 2) if side is None else (3, side, 2)
    channels, resolution, classes = SHAPES.get(spec.dataset.name, least)
    bounds = {name: bound for name, bound in spec.constraints.items() if "@" not in name}
    return PairSpace(definition, channels=channels, resolution=resolution, classes=classes, constraints=bounds)
