from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_service.bundle_file import unpack_bundle
from nas_service.errors import ConflictError, NasError
from tests.nas_service.commands.live import bundle_files, manifest, zip_of


def archive(folder: Path, files: dict[str, bytes], *, described: dict[str, bytes] | None = None) -> Path:
    """Write a zip whose manifest describes other files than it holds, if `described` is given."""
    text = json.dumps(manifest(described or files).to_dict()).encode()
    path = folder / "bundle.zip"
    path.write_bytes(zip_of({"bundle.json": text, **files}))
    return path


def assert_nothing_left(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["bundle.zip"]


def test_a_good_bundle_appears_with_all_its_files(tmp_path):
    made = unpack_bundle(archive(tmp_path, bundle_files()), tmp_path / "out")
    assert made.candidate == "digits-demo-k3q7ab-0002"
    assert (tmp_path / "out" / "little.onnx").read_bytes() == b"little graph"
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_an_empty_folder_is_taken_and_a_full_one_is_not(tmp_path):
    path = archive(tmp_path, bundle_files())
    (tmp_path / "out").mkdir()
    unpack_bundle(path, tmp_path / "out")
    with pytest.raises(ConflictError, match="exists and is not an empty folder"):
        unpack_bundle(path, tmp_path / "out")


def altered(**changes: bytes) -> dict[str, bytes]:
    return {**bundle_files(), **{name.replace("_", "."): data for name, data in changes.items()}}


@pytest.mark.parametrize(
    ("held", "text"),
    [
        (altered(little_onnx=b"little graqh"), r"little\.onnx has 12 bytes with SHA-256 .* but its manifest promises"),
        (altered(little_onnx=b"short"), r"little\.onnx has 5 bytes"),
        (altered(little_onnx=b"x" * 10_000_000), "longer than the 12 bytes"),
        ({"little.onnx": b"little graph", "big.onnx": b"big graph"}, r"lacks parity\.npz"),
        (altered(evil_sh=b"rm"), r"holds evil\.sh, which its manifest does not name"),
        ({**bundle_files(), "../escape": b"x"}, "which its manifest does not name"),
        ({**bundle_files(), "/etc/escape": b"x"}, "which its manifest does not name"),
    ],
)
def test_a_bundle_that_is_not_what_its_manifest_says_leaves_nothing(tmp_path, held, text):
    with pytest.raises(NasError, match=text):
        unpack_bundle(archive(tmp_path, held, described=bundle_files()), tmp_path / "out")
    assert_nothing_left(tmp_path)


def test_a_manifest_may_not_name_files_outside_the_bundle(tmp_path):
    described = manifest(bundle_files()).to_dict()
    described["files"][0]["name"] = "../little.onnx"
    (tmp_path / "bundle.zip").write_bytes(zip_of({"bundle.json": json.dumps(described).encode()}))
    with pytest.raises(NasError, match="must be a plain file name"):
        unpack_bundle(tmp_path / "bundle.zip", tmp_path / "out")
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"no zip", "no whole zip"), (zip_of({"a": b""}), r"has no bundle\.json, only: a")],
    ids=["no zip", "no manifest"],
)
def test_what_is_no_bundle_is_refused(tmp_path, content, text):
    (tmp_path / "bundle.zip").write_bytes(content)
    with pytest.raises(NasError, match=text):
        unpack_bundle(tmp_path / "bundle.zip", tmp_path / "out")
    assert_nothing_left(tmp_path)


def test_a_zip_cut_short_is_refused(tmp_path):
    path = archive(tmp_path, bundle_files())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(NasError, match="no whole zip"):
        unpack_bundle(path, tmp_path / "out")
    assert_nothing_left(tmp_path)


def test_a_zip_damaged_inside_is_refused(tmp_path):
    path = archive(tmp_path, bundle_files())
    path.write_bytes(path.read_bytes().replace(b"big graph", b"big grapH"))
    with pytest.raises(NasError, match="no whole zip"):
        unpack_bundle(path, tmp_path / "out")
    assert_nothing_left(tmp_path)
