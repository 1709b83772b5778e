"""Finished cells, read back from disk, and what they are compared with on the same test images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import ConflictError
from workers.bench.choices import SystemChoices
from workers.bench.folder import CellFolder, CellId
from workers.bench.rows import RowMaker
from workers.bench.system import SystemOutputs
from workers.protocol.envelope import StaticEnvelope, StaticNet
from workers.protocol.outcomes import Mask
from workers.protocol.report import Comparison

BIG = "static-big"
OURS = ("ours", "evolved")  # how names of our own pairs begin
THIRD = ("static-mid2", "static-mid3", "static-mid1", "static-mid4", BIG)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinishedCell:
    """One cell: what it cost, what was chosen, what it says of the test images."""

    cell: CellId
    record: dict[str, Any] = field(repr=False)
    choices: SystemChoices = field(repr=False)
    test: SystemOutputs = field(repr=False)
    shift: dict[str, SystemOutputs] = field(repr=False)

    @property
    def routed(self) -> bool:
        """Whether something routes between its exits; the exits of others are static nets."""
        return self.choices.router is not None

    @property
    def maker(self) -> RowMaker:
        """Makes its rows."""
        return RowMaker(system=self.cell.system, seed=str(self.cell.seed))

    @property
    def correct(self) -> Mask:
        """(N,) whether the last exit is right on test."""
        return np.asarray(self.test.logits[-1].argmax(axis=1) == self.test.labels)

    def routes(self) -> Iterator[StaticNet]:
        """Yield every exit as a static net, which all images leave at."""
        for index, (logits, macs) in enumerate(zip(self.test.logits, self.choices.macs, strict=True)):
            correct = np.asarray(logits.argmax(axis=1) == self.test.labels)
            yield StaticNet(name=f"{self.cell} exit {index}", cost=macs, correct=correct)


def read_finished(root: Path, cells: Iterable[CellId]) -> list[FinishedCell]:
    """Return the cells that are done.

    Raises:
        ConflictError: the choices on disk are not those that a test split was opened for.
    """
    return [_read(folder) for folder in (CellFolder(root, cell) for cell in cells) if folder.done]


def _read(folder: CellFolder) -> FinishedCell:
    choices = SystemChoices.from_dict(folder.read_json("choices.json"))
    opened = [opening["choices_sha256"] for opening in folder.read_json("openings.json") or []]
    if opened != [choices.sha256]:
        raise ConflictError(
            f"the choices of {folder.cell} are {choices.sha256[:12]}, but its test split was opened for "
            f"{', '.join(o[:12] for o in opened) or 'none'}; restore choices.json, or train the cell in a new folder"
        )
    return FinishedCell(
        cell=folder.cell,
        record=folder.read_json("record.json"),
        choices=choices,
        test=folder.read_outputs("test.npz")["test"],
        shift=folder.read_outputs("shift.npz"),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """All finished cells, and the references among them."""

    cells: Sequence[FinishedCell]
    classes: tuple[str, ...]

    def comparison(self, cell: FinishedCell) -> Comparison:
        """Return what one cell is compared with."""
        big, third = self.reference(BIG, cell), self.third(cell)
        macs = [cost for member in self.cells for cost in member.choices.macs]
        return Comparison(
            classes=self.classes,
            reference_correct=None if big is None else big.correct,
            envelope=self.envelope(),
            third_logits=None if third is None else third.test.logits[-1],
            cost_interval=(min(macs), max(macs)) if min(macs) < max(macs) else None,
        )

    def envelope(self) -> StaticEnvelope | None:
        """Return the envelope of all static nets of all seeds; None without any.

        The own subnets of our pairs are among them: each route taken for every image, without a router.
        """
        if all(cell.routed for cell in self.cells):
            return None
        members = [c for c in self.cells if not c.routed or c.cell.system.startswith(OURS)]
        return StaticEnvelope([net for member in members for net in member.routes()])

    def reference(self, system: str, cell: FinishedCell) -> FinishedCell | None:
        """Return the cell of another system with the same seed, or with the least seed there is."""
        found = [c for c in self.cells if c.cell.system == system and c.cell != cell.cell]
        same = [c for c in found if c.cell.seed == cell.cell.seed]
        return next(iter(same or sorted(found, key=lambda c: c.cell.seed)), None)

    def third(self, cell: FinishedCell) -> FinishedCell | None:
        """Return a static net whose loss tells how difficult an image is, none of the cell's own."""
        found = (self.reference(system, cell) for system in THIRD)
        return next((c for c in found if c is not None), None)


def labels_of(cells: Sequence[FinishedCell]) -> NDArray[np.int64]:
    """Return the test labels, the same for all cells; ConflictError if they are not."""
    first = cells[0].test.labels
    for cell in cells:
        if not np.array_equal(cell.test.labels, first):
            raise ConflictError(
                f"{cell.cell} saw other test images than {cells[0].cell}; compare cells of one data set and split"
            )
    return first
