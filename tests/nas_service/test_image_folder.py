from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.image_folder import ImageFolder


def lay(root: Path, *names: str) -> Path:
    """Make empty files: what they hold is not looked at."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def both(root: Path, test: str = "test") -> Path:
    return lay(root, "train/cat/1.jpg", "train/dog/1.png", f"{test}/cat/2.jpg", f"{test}/dog/2.JPEG")


@pytest.mark.parametrize("test", ["test", "val"])
def test_parts_are_found_by_their_names(tmp_path: Path, test: str) -> None:
    found = ImageFolder.find(both(tmp_path, test))
    assert (found.classes, found.test) == (("cat", "dog"), tmp_path / test)
    assert [(p.name, label) for p, label in found.images(tmp_path / test)] == [("2.jpg", 0), ("2.JPEG", 1)]


def test_the_preferred_test_part_is_taken_if_there_are_two(tmp_path: Path) -> None:
    both(both(tmp_path), "val")
    assert ImageFolder.find(tmp_path).test == tmp_path / "test"
    assert ImageFolder.find(tmp_path, test_names=("val",)).test == tmp_path / "val"


def test_class_folders_alone_are_a_set_without_parts(tmp_path: Path) -> None:
    found = ImageFolder.find(lay(tmp_path, "b/1.jpg", "a/2.jpg", "a/1.jpg", "train/1.jpg"))
    assert (found.classes, found.test) == (("a", "b", "train"), None)
    assert [p.relative_to(tmp_path).as_posix() for p, _ in found.images(found.train)] == [
        "a/1.jpg",
        "a/2.jpg",
        "b/1.jpg",
        "train/1.jpg",
    ]


def test_images_may_lie_deeper_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    found = ImageFolder.find(lay(tmp_path, "a/images/1.jpg", "b/1.jpg", "b/.DS_Store", "a/Thumbs.db", ".cache/x"))
    assert len(list(found.images(found.train))) == 2


def without(name: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        (root / name).unlink()

    return change


def with_file(name: str) -> Callable[[Path], object]:
    return lambda root: lay(root, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: os.rename(r / "test", r.parent / "gone"), r"set has train/ but no test/ nor val/; a set has both"),
        (lambda r: os.rename(r / "train", r.parent / "gone"), r"set has test/ but no train/; a set has both parts"),
        (without("train/dog/1.png"), r"set/train/dog is a class without an image; put some there or remove the folder"),
        (without("test/dog/2.JPEG"), r"set/test/dog is a class without an image"),
        (with_file("train/eel/1.jpg"), r"set/test lacks 1 of the classes of .*set/train \(eel\); make them equal"),
        (with_file("test/eel/1.jpg"), r"set/train lacks 1 of the classes of .*set/test \(eel\); make them equal"),
        (with_file("train/1.jpg"), r"set/train/1.jpg lies beside the class folders of .*set/train; move it into"),
    ],
)
def test_what_is_missing_or_unequal_is_named_with_its_path(
    tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    root = both(tmp_path / "set")
    change(root)
    with pytest.raises(InvalidRequestError, match=message):
        ImageFolder.find(root)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a/1.jpg",), r"set has 1 class folder; a classifier needs at least 2, each a folder"),
        (("train/a/1.jpg", "test/a/1.jpg"), r"set/train has 1 class folder; a classifier needs at least 2"),
        (("validation/a/1.jpg", "training/a/1.jpg"), r"set/training is not a name that is looked for; call it train/"),
        (("a/1.jpg", "b/1.jpg", "labels.csv"), r"set/labels.csv lies beside the class folders of .*set;"),
    ],
)
def test_a_folder_of_another_layout_is_refused(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        ImageFolder.find(lay(tmp_path / "set", *names))


def test_a_wrong_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"nowhere is no folder; give the one that holds train/ and test/"):
        ImageFolder.find(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(InvalidRequestError, match=r"bare has 0 class folders; a classifier needs at least 2"):
        ImageFolder.find(tmp_path / "bare")


def test_a_file_that_is_no_image_by_its_name_is_named(tmp_path: Path) -> None:
    found = ImageFolder.find(lay(tmp_path, "a/1.jpg", "a/notes.txt", "b/1.jpg"))
    with pytest.raises(InvalidRequestError, match=r"a/notes.txt is no image by its name; allowed: .jpeg, .jpg"):
        list(found.images(found.train))


def test_links_inside_the_root_are_followed(tmp_path: Path) -> None:
    root = lay(tmp_path / "set", "a/1.jpg", "b/1.jpg")
    (root / "b" / "2.jpg").symlink_to(root / "a" / "1.jpg")
    found = ImageFolder.find(root)
    assert len(list(found.images(found.train))) == 3


@pytest.mark.parametrize(
    ("link", "target", "message"),
    [
        ("b/2.jpg", "../../secret.jpg", r"set/b/2.jpg is a link out of .*set, to .*secret.jpg; copy what it points to"),
        ("c", "../outside", r"set/c is a link out of .*set, to .*outside"),
        ("b/2.jpg", "gone.jpg", r"set/b/2.jpg is a link to .*gone.jpg, which is not there; remove it"),
        ("b/again", "../b", r"set/b/again is a link to a folder, which may never end"),
    ],
)
def test_links_that_lead_out_to_nothing_or_round_are_refused(
    tmp_path: Path, link: str, target: str, message: str
) -> None:
    root = lay(tmp_path / "set", "a/1.jpg", "b/1.jpg")
    lay(tmp_path, "secret.jpg", "outside/1.jpg")
    (root / link).symlink_to(target)

    def read() -> None:
        found = ImageFolder.find(root)
        list(found.images(found.train))

    with pytest.raises(InvalidRequestError, match=message):
        read()
