"""Content-addressed files: bytes go in, their SHA-256 comes out, and only bytes that still match it are served."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any, Protocol

from edge_agent.records import RecordError, check_sha256
from nas_service.errors import InvalidRequestError, NasError, NotFoundError
from nas_service.whole_file import write_whole

_CHUNK_BYTES = 1 << 20


class CorruptFileError(NasError):
    """A stored file whose bytes no longer match its name: put it again, or make it anew."""


class FileStore(Protocol):
    """Where bytes are kept by their SHA-256 (64 lower-case hexadecimal digits)."""

    def put(self, data: bytes) -> str:
        """Keep `data` and return its SHA-256; keeping the same bytes twice keeps them once."""
        ...

    def get(self, sha256: str) -> bytes:
        """Return the bytes; raise NotFoundError if there are none, CorruptFileError if they no longer match."""
        ...

    def size(self, sha256: str) -> int:
        """Return the number of bytes; raise NotFoundError if there are none."""
        ...

    def path(self, sha256: str) -> Path:
        """Return a local file with the bytes, never to be written to; raise as `get` does."""
        ...

    def exists(self, sha256: str) -> bool:
        """Return whether the file is here."""
        ...


def open_files(place: str | Path) -> FileStore:
    """Return the file store at a folder or an fsspec URL such as s3://bucket/nas.

    Raises:
        InvalidRequestError: the URL's protocol is unknown here.
    """
    text = str(place)
    if text.startswith("file://"):
        return LocalFileStore(Path(text.removeprefix("file://")))
    return FsspecFileStore(text) if "://" in text else LocalFileStore(Path(text))


class LocalFileStore:
    """Files in a local folder, at sha256/ab/HASH."""

    def __init__(self, root: Path) -> None:
        self._root = Path(root).absolute()

    def put(self, data: bytes) -> str:
        """Keep `data`, on the disk when this returns, and return its SHA-256."""
        digest = hashlib.sha256(data).hexdigest()
        target = self._place(digest)
        if target.exists() and _hash_of(target) == digest:
            return digest
        write_whole(target, data, mode=0o444, folder_mode=0o700)
        return digest

    def get(self, sha256: str) -> bytes:
        """Return the bytes, hashed again."""
        try:
            data = self._place(sha256).read_bytes()
        except FileNotFoundError:
            raise _not_found(sha256) from None
        return _checked(data, sha256)

    def size(self, sha256: str) -> int:
        """Return the number of bytes."""
        try:
            return self._place(sha256).stat().st_size
        except FileNotFoundError:
            raise _not_found(sha256) from None

    def path(self, sha256: str) -> Path:
        """Return the file itself, hashed again; link or copy it, never write to it."""
        place = self._place(sha256)
        try:
            if _hash_of(place) != sha256:
                raise _corrupt(sha256)
        except FileNotFoundError:
            raise _not_found(sha256) from None
        return place

    def exists(self, sha256: str) -> bool:
        """Return whether the file is here."""
        return self._place(sha256).exists()

    def _place(self, sha256: str) -> Path:
        return self._root / _relative(sha256)


class FsspecFileStore:
    """Files at any URL that fsspec reaches; `path` is refused, since there is no local file."""

    def __init__(self, url: str) -> None:
        import fsspec

        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise InvalidRequestError(f"files cannot be kept at {url!r}: {error}") from None
        self._url = url

    def put(self, data: bytes) -> str:
        """Keep `data` and return its SHA-256; readers never see a part of it."""
        digest = hashlib.sha256(data).hexdigest()
        target = self._place(digest)
        if self._files.exists(target) and hashlib.sha256(self._files.cat_file(target)).hexdigest() == digest:
            return digest
        part = f"{target}.{uuid.uuid4().hex}.tmp"
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(part, data)
        self._files.mv(part, target)
        return digest

    def get(self, sha256: str) -> bytes:
        """Return the bytes, hashed again."""
        try:
            data: bytes = self._files.cat_file(self._place(sha256))
        except FileNotFoundError:
            raise _not_found(sha256) from None
        return _checked(data, sha256)

    def size(self, sha256: str) -> int:
        """Return the number of bytes."""
        try:
            info: dict[str, Any] = self._files.info(self._place(sha256))
        except FileNotFoundError:
            raise _not_found(sha256) from None
        return int(info["size"])

    def path(self, sha256: str) -> Path:
        """Raise InvalidRequestError: the file is not on this machine."""
        raise InvalidRequestError(f"files at {self._url} have no local path; read {sha256} with get() instead")

    def exists(self, sha256: str) -> bool:
        """Return whether the file is there."""
        return bool(self._files.exists(self._place(sha256)))

    def _place(self, sha256: str) -> str:
        return f"{self._root.rstrip('/')}/{_relative(sha256)}"


def _relative(sha256: str) -> str:
    try:
        check_sha256(sha256)
    except RecordError as error:
        raise InvalidRequestError(str(error)) from None
    return f"sha256/{sha256[:2]}/{sha256}"


def _hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _checked(data: bytes, sha256: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _corrupt(sha256)
    return data


def _not_found(sha256: str) -> NotFoundError:
    return NotFoundError(f"no file {sha256} in the store")


def _corrupt(sha256: str) -> CorruptFileError:
    return CorruptFileError(f"file {sha256} in the store is corrupt: its bytes no longer match; put it again")
