"""Every path of the gateway in one place: the host key, the fixed port, the boards' mailboxes.

A mailbox lies in the gateway's own folder, or, where `openssh/mailbox.sh` has put it, in a chroot of OpenSSH. There the
root belongs to root, so that the gateway's and the board's own files lie where each of them may write.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One board's folder, which is the root that the board sees; `chroot` if OpenSSH serves it."""

    root: Path
    chroot: bool = False

    @property
    def artifacts(self) -> Path:
        """Files of the board's leases, by SHA-256."""
        return self.root / "artifacts"

    @property
    def inbox(self) -> Path:
        """Leases and acknowledgements for the board."""
        return self.root / "inbox"

    @property
    def outbox(self) -> Path:
        """Results from the board."""
        return self.root / "outbox"

    @property
    def heartbeat(self) -> Path:
        """What the board last said of itself."""
        return self.root / "heartbeat.json"

    @property
    def agent(self) -> Path:
        """What the gateway tells the board about time and settings; a chroot has a link to it in its root."""
        return (self.inbox if self.chroot else self.root) / "agent.json"

    def lease(self, lease_id: str) -> Path:
        """The file of one lease."""
        return self.inbox / f"lease-{lease_id}.json"

    def acknowledgement(self, result_id: str) -> Path:
        """The file that tells the board that a result has arrived."""
        return self.inbox / f"ack-{result_id}.json"

    @property
    def file_mode(self) -> int | None:
        """The mode of files that the board is to read through its group; None where the gateway itself serves them."""
        return 0o640 if self.chroot else None

    def make(self) -> None:
        """Make the folders that are not there yet; those of a chroot are made by its script, with their owners."""
        if self.chroot:
            return
        for folder in (self.artifacts, self.inbox, self.outbox):
            folder.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True, slots=True)
class GatewayFolders:
    """The gateway's part of NAS_HOME; `chroots` is where OpenSSH's mailboxes lie, if there are any."""

    root: Path
    chroots: Path | None = None

    @classmethod
    def at(cls, root: Path) -> GatewayFolders:
        """Return the folders at `root`, with the chroots that the file `openssh` in it names."""
        try:
            text = (root / "openssh").read_text().strip()
        except FileNotFoundError:
            text = ""
        return cls(root, chroots=Path(text) if text else None)

    @property
    def host_key(self) -> Path:
        """The server's private key, mode 0600."""
        return self.root / "host_key"

    @property
    def next_host_key(self) -> Path:
        """The private key that the boards are being told of; absent unless the key is being changed."""
        return self.root / "host_key.next"

    @property
    def port(self) -> Path:
        """The port of the first start, kept so that boards find the gateway again."""
        return self.root / "port"

    @property
    def lock(self) -> Path:
        """Held by the gateway that runs over this folder."""
        return self.root / "lock"

    @property
    def boards(self) -> Path:
        """The mailboxes, one folder per board."""
        return self.root / "boards"

    @property
    def enrolments(self) -> Path:
        """The roots that enrolling boards see, one folder per code."""
        return self.root / "enrolments"

    @property
    def refusals(self) -> Path:
        """What the boards handed in and was no result, one folder per board."""
        return self.root / "refused"

    def refused(self, board: str) -> Path:
        """The last uploads of a board that were no result, for a person to look at."""
        return self.refusals / board

    def mailbox(self, board: str) -> Mailbox:
        """Return the mailbox of `board`, a name that has passed `check_name`."""
        if self.chroots is not None and (self.chroots / board / "inbox").is_dir():
            return Mailbox(self.chroots / board, chroot=True)
        return Mailbox(self.boards / board)


def write_whole(path: Path, data: bytes, *, sync: bool = True, mode: int | None = None) -> None:
    """Write `data` so that a reader sees all of it or none: a temporary file, flushed if `sync`, moved over `path`."""
    draft = path.with_name(f".{path.name}.part")
    with draft.open("wb") as file:
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    os.replace(draft, path)
