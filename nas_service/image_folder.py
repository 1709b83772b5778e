"""Image sets as folders: `train/CLASS/IMAGE` with `test/` or `val/` beside it, or `CLASS/IMAGE` alone.

What can be told from names alone is told here, so that it is known when a job is submitted, without opening an image.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas_service.errors import InvalidRequestError

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif")
IGNORED = ("thumbs.db", "desktop.ini")  # besides whatever begins with a dot
SPLITS = ("train", "test", "val")
LIKELY = {"training": "train", "testing": "test", "validation": "val", "valid": "val"}
MOST_NAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolder:
    """Where the images of a set lie.

    Attributes:
        root: The set's folder, without links.
        classes: Names of the class folders, sorted; a label is a place in it.
        train: The folder that holds the class folders of the train part.
        test: The same of the test part; None if the set has no parts and `train` is all of it.
    """

    root: Path
    classes: tuple[str, ...]
    train: Path
    test: Path | None

    @classmethod
    def find(cls, root: Path, *, test_names: Sequence[str] = ("test", "val")) -> ImageFolder:
        """Return the layout under `root`.

        Args:
            root: The set's folder.
            test_names: Names of the test part's folder, the preferred one first.

        Raises:
            InvalidRequestError: no folder, a missing part, fewer than two classes, other classes in one part than in
                the other, a class without an image, a link that leads out; it names the path.
        """
        if not root.is_dir():
            raise InvalidRequestError(f"{root} is no folder; give the one that holds train/ and {test_names[0]}/")
        root = root.resolve()
        parts = {name: root / name for name in SPLITS if _is_part(root / name)}
        if not parts:
            _refuse_likely(root)
            return cls(root=root, classes=_classes(root, root), train=root, test=None)
        test = next((parts[name] for name in test_names if name in parts), None)
        if "train" not in parts or test is None:
            lacking = " nor ".join(f"{name}/" for name in test_names) if "train" in parts else "train/"
            have = ", ".join(f"{name}/" for name in parts)
            raise InvalidRequestError(
                f"{root} has {have} but no {lacking}; a set has both parts, or class folders only"
            )
        classes = _classes(parts["train"], root)
        _same(parts["train"], classes, test, _classes(test, root))
        return cls(root=root, classes=classes, train=parts["train"], test=test)

    def images(self, part: Path) -> Iterator[tuple[Path, int]]:
        """Yield the images of `part`, which is `train` or `test`, with their labels, in the order of their names.

        Raises:
            InvalidRequestError: a file that is no image by its name, or a link that leads out of the root.
        """
        for label, name in enumerate(self.classes):
            for path in _files(part / name, self.root):
                yield path, label


def _is_part(folder: Path) -> bool:
    """Whether it holds folders, as a part does; one with images alone is a class of that name."""
    return folder.is_dir() and (any(e.is_dir() for e in _entries(folder)) or not any(_entries(folder)))


def _refuse_likely(root: Path) -> None:
    for entry in _entries(root):
        if (name := LIKELY.get(entry.name.lower())) and _is_part(root / entry.name):
            raise InvalidRequestError(f"{entry.path} is not a name that is looked for; call it {name}/")


def _classes(part: Path, root: Path) -> tuple[str, ...]:
    """Return the names of the class folders, each of which has an image."""
    names = []
    for entry in _entries(part):
        _check_link(entry, root)
        if not entry.is_dir():
            raise InvalidRequestError(
                f"{entry.path} lies beside the class folders of {part}; move it into its class's folder, or away"
            )
        if not _has_image(Path(entry.path)):
            raise InvalidRequestError(f"{entry.path} is a class without an image; put some there or remove the folder")
        names.append(entry.name)
    if len(names) < 2:
        raise InvalidRequestError(
            f"{part} has {len(names)} class folder{'' if len(names) == 1 else 's'}; a classifier needs at least 2, "
            "each a folder with its images"
        )
    return tuple(names)


def _has_image(folder: Path) -> bool:
    """Whether there is one, looking at no more entries than it takes: class folders can be large."""
    try:
        with os.scandir(folder) as found:
            return any(_is_image(e) or (e.is_dir(follow_symlinks=False) and _has_image(Path(e.path))) for e in found)
    except OSError as error:
        raise _unreadable(folder, error) from None


def _same(train: Path, names: tuple[str, ...], test: Path, others: tuple[str, ...]) -> None:
    for here, there, missing in ((train, test, set(names) - set(others)), (test, train, set(others) - set(names))):
        if missing:
            shown = ", ".join(sorted(missing)[:MOST_NAMES]) + (", ..." if len(missing) > MOST_NAMES else "")
            raise InvalidRequestError(
                f"{there} lacks {len(missing)} of the classes of {here} ({shown}); make them equal"
            )


def _files(folder: Path, root: Path) -> Iterator[Path]:
    """Yield the images in `folder` and below it, sorted within each folder."""
    for entry in _entries(folder):
        _check_link(entry, root)
        if entry.is_dir() and entry.is_symlink():
            raise InvalidRequestError(
                f"{entry.path} is a link to a folder, which may never end; copy what it points to"
            )
        if entry.is_dir():
            yield from _files(Path(entry.path), root)
        elif _is_image(entry):
            yield Path(entry.path)
        else:
            raise InvalidRequestError(
                f"{entry.path} is no image by its name; allowed: {', '.join(SUFFIXES)}. Remove it"
            )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            kept = [e for e in found if not e.name.startswith(".") and e.name.lower() not in IGNORED]
    except OSError as error:
        raise _unreadable(folder, error) from None
    return sorted(kept, key=lambda e: e.name)


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".")


def _unreadable(folder: Path, error: OSError) -> InvalidRequestError:
    return InvalidRequestError(f"{folder} cannot be read ({error.strerror}); let the service's user read it")


def _check_link(entry: os.DirEntry[str], root: Path) -> None:
    if not entry.is_symlink():
        return
    target = Path(os.path.realpath(entry.path))
    if not target.is_relative_to(root):
        raise InvalidRequestError(f"{entry.path} is a link out of {root}, to {target}; copy what it points to")
    if not target.exists():
        raise InvalidRequestError(f"{entry.path} is a link to {target}, which is not there; remove it")
