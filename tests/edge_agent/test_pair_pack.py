"""A pair pack is whole, or it is refused with its cause."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edge_agent.errors import ModelRefusedError
from edge_agent.pair_pack import PACK_FILES, unpack_pack
from edge_agent.records import Artifact, PackHeader, RecordError
from tests.edge_agent.packs import make_pack


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pack(tmp_path_factory.mktemp("pack"))


def changed(source_pack: Path, path: Path, *, without: str = "", **content: bytes) -> Path:
    with zipfile.ZipFile(source_pack) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if name != without:
                target.writestr(name, content.get(name.partition(".")[0], source.read(name)))
        if "extra" in content:
            target.writestr("../extra", content["extra"])
    return path


def assert_refused(path: Path, folder: Path, message: str) -> None:
    folder.mkdir()
    with pytest.raises(ModelRefusedError, match=message):
        unpack_pack(path, folder)
    assert not (folder.parent / "extra").exists()


def test_a_pack_gives_its_four_files_and_who_decides(pack: Path, tmp_path: Path) -> None:
    header = unpack_pack(pack, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(PACK_FILES)
    assert (header.precision, header.classes, header.operating_point.name) == ("fp32", 3, "half")
    assert PackHeader.from_dict(header.to_dict()) == header


def test_a_truncated_pack_is_refused(pack: Path, tmp_path: Path) -> None:
    path = tmp_path / "pair.zip"
    path.write_bytes(pack.read_bytes()[:-100])
    assert_refused(path, tmp_path / "out", "no whole zip|must hold pack.json")  # a zip lies within, and may be found


def test_a_pack_with_anything_else_in_it_is_refused(pack: Path, tmp_path: Path) -> None:
    assert_refused(
        changed(pack, tmp_path / "pair.zip", extra=b"x"), tmp_path / "out", r"holds .*\.\./extra but must hold"
    )


def test_a_pack_that_lacks_a_file_is_refused(pack: Path, tmp_path: Path) -> None:
    assert_refused(
        changed(pack, tmp_path / "pair.zip", without="big.onnx"), tmp_path / "out", "but must hold pack.json"
    )


def test_a_pack_that_grows_beyond_its_limit_is_refused(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Artifact, "MAX_BYTES", 1000)
    assert_refused(pack, tmp_path / "out", "unpacks to more than")


@pytest.mark.parametrize(
    ("header", "message"), [(b"{}", "header cannot be used: .* lacks"), (b"\xff", "header cannot be used: .* not JSON")]
)
def test_a_header_that_is_none_is_refused(pack: Path, tmp_path: Path, header: bytes, message: str) -> None:
    assert_refused(changed(pack, tmp_path / "pair.zip", pack=header), tmp_path / "out", message)


def test_a_header_of_another_version_is_refused(pack: Path, tmp_path: Path) -> None:
    header = unpack_pack(pack, tmp_path).to_dict()
    with pytest.raises(RecordError, match="pair pack has version 2 but this side speaks 1"):
        PackHeader.from_dict({**header, "version": 2})
