from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

import pytest

from nas_service.errors import InvalidRequestError, NotFoundError
from nas_service.store.files import CorruptFileError, FileStore, FsspecFileStore, LocalFileStore, open_files

DATA = b"an ONNX file"
DIGEST = hashlib.sha256(DATA).hexdigest()
ABSENT = "0" * 64


@pytest.fixture(params=["local", "fsspec"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    return open_files(tmp_path if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def test_bytes_come_back_by_their_hash(files: FileStore) -> None:
    assert files.put(DATA) == DIGEST
    assert (files.get(DIGEST), files.size(DIGEST), files.exists(DIGEST)) == (DATA, len(DATA), True)


def test_keeping_twice_is_keeping_once_and_nothing_is_a_file_too(files: FileStore) -> None:
    assert files.put(DATA) == files.put(DATA)
    assert files.get(files.put(b"")) == b""


def test_what_was_never_kept_is_not_found(files: FileStore) -> None:
    assert not files.exists(ABSENT)
    for ask in (files.get, files.size):
        with pytest.raises(NotFoundError, match=f"no file {ABSENT} in the store"):
            ask(ABSENT)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_only_a_hash_names_a_file(files: FileStore, name: str) -> None:
    for ask in (files.get, files.size, files.path, files.exists):
        with pytest.raises(InvalidRequestError, match=r"64 lower-case hexadecimal|no local path"):
            ask(name)


@pytest.mark.parametrize("damage", [b"an ONNX fil", b"an ONNX filE", b""])
def test_a_corrupt_file_is_never_served_and_is_healed_by_keeping_it_again(tmp_path: Path, damage: bytes) -> None:
    files = LocalFileStore(tmp_path)
    files.put(DATA)
    place = files.path(DIGEST)
    place.chmod(0o644)
    place.write_bytes(damage)
    for ask in (files.get, files.path):
        with pytest.raises(CorruptFileError, match=f"file {DIGEST} in the store is corrupt.*put it again"):
            ask(DIGEST)
    files.put(DATA)
    assert files.get(DIGEST) == DATA


def test_a_corrupt_remote_file_is_never_served(files: FileStore) -> None:
    remote = FsspecFileStore(f"memory://{uuid.uuid4().hex}")
    remote.put(DATA)
    remote._files.pipe_file(remote._place(DIGEST), b"damage")
    with pytest.raises(CorruptFileError, match="is corrupt"):
        remote.get(DIGEST)
    remote.put(DATA)
    assert remote.get(DIGEST) == DATA


def test_a_local_file_lies_at_its_hash_and_may_be_linked(tmp_path: Path) -> None:
    files = LocalFileStore(tmp_path / "files")
    files.put(DATA)
    place = files.path(DIGEST)
    assert place == tmp_path / "files" / "sha256" / DIGEST[:2] / DIGEST
    assert place.stat().st_mode & 0o222 == 0
    os.link(place, tmp_path / "link")
    assert (tmp_path / "link").read_bytes() == DATA


def test_a_put_that_fails_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        LocalFileStore(tmp_path).put(DATA)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_remote_file_has_no_path() -> None:
    with pytest.raises(InvalidRequestError, match=r"files at memory://x have no local path; read .* with get\(\)"):
        open_files("memory://x").path(ABSENT)


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(
        InvalidRequestError, match=r"files cannot be kept at 'nowhere://x': Protocol not known: nowhere"
    ):
        open_files("nowhere://x")


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    open_files(f"file://{tmp_path}").put(DATA)
    assert open_files(tmp_path).get(DIGEST) == DATA
