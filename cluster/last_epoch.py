"""The last finished epoch of a training that is not over, in the job's folder: whoever resumes goes on from there."""

from __future__ import annotations

from pathlib import Path

from nas_service.whole_file import write_whole

CHECKPOINT = "checkpoint.safetensors"


class LastEpoch:
    """The checkpoint of one training of a job.

    Args:
        work: The job's folder; it is made if it is missing.
        training: Which of the job's trainings; empty for the only one of its kind.
    """

    def __init__(self, work: Path, training: str = "") -> None:
        self._path = work / (f"{training}-{CHECKPOINT}" if training else CHECKPOINT)

    def read(self) -> bytes | None:
        """Return the checkpoint, None before the end of the first epoch."""
        return self._path.read_bytes() if self._path.exists() else None

    def keep(self, checkpoint: bytes) -> None:
        """Put `checkpoint` in place of that of the epoch before."""
        write_whole(self._path, checkpoint, mode=0o600, folder_mode=0o700)

    def forget(self) -> None:
        """Remove it: what the training was for is recorded."""
        self._path.unlink(missing_ok=True)
