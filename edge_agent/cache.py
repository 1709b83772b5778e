"""Artefacts on the board's disk, each under its SHA-256, the least recently used dropped when there are too many."""

from __future__ import annotations

import os
from pathlib import Path

from edge_agent.files import sha256_of
from edge_agent.records import Artifact

DEFAULT_MAX_BYTES = 512 << 20


class ArtifactCache:
    """A folder of whole, verified files. A `.part` beside them is a transfer that can be taken up again."""

    def __init__(self, folder: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """Take the folder, which must exist, and the size that it is kept under (the newest file always stays)."""
        self._folder, self._max_bytes = folder, max_bytes

    def part_path(self, artifact: Artifact) -> Path:
        """Return where an unfinished transfer of `artifact` lies."""
        return self._folder / f"{artifact.sha256}.part"

    def get(self, artifact: Artifact) -> Path | None:
        """Return the file if it is here and whole; one that rotted is removed."""
        path = self._folder / artifact.sha256
        if not path.exists():
            return None
        if path.stat().st_size != artifact.size_bytes or sha256_of(path) != artifact.sha256:
            path.unlink()
            return None
        os.utime(path)
        return path

    def adopt_part(self, artifact: Artifact) -> Path | None:
        """Move a finished transfer to its place if its content is what its name says; else remove it, return None."""
        part, path = self.part_path(artifact), self._folder / artifact.sha256
        if part.stat().st_size != artifact.size_bytes or sha256_of(part) != artifact.sha256:
            part.unlink()
            return None
        os.replace(part, path)
        self._shrink(keep=path)
        return path

    def _shrink(self, *, keep: Path) -> None:
        files = sorted((path for path in self._folder.iterdir() if path.is_file()), key=lambda p: p.stat().st_mtime_ns)
        total = sum(path.stat().st_size for path in files)
        for path in files:
            if total <= self._max_bytes:
                return
            if path != keep:
                total -= path.stat().st_size
                path.unlink()
