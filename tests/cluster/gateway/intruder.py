"""A board's key in the hands of somebody who tries everything that the stock OpenSSH client can do."""

from __future__ import annotations

import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

# What a board may not do; `pi-2` is another board's mailbox. Each is one `sftp` batch that must fail.
REFUSED = (
    "get ../pi-2/agent.json stolen",
    "get /pi-2/heartbeat.json stolen",
    "get ../../gateway/host_key stolen",
    "get /etc/passwd stolen",
    "get ../../../../../../etc/passwd stolen",
    "ls /etc",
    "put small inbox/lease-x.json",
    "put small artifacts/x",
    "put small agent.json",
    "put small new.json",
    "put small /tmp/x",
    "put small ../pi-2/outbox/r1.json",
    "put huge outbox/r9.json.part",
    "mkdir outbox/new",
    "mkdir new",
    "rmdir inbox",
    "rm agent.json",
    "rm heartbeat.json",
    "rename agent.json outbox/r1.json",
    "rename outbox inbox/outbox",
    "symlink /etc/passwd outbox/r1.json.part",
    "symlink ../inbox outbox/r1.json.part",
    "ln agent.json outbox/r1.json.part",
    "chmod 777 agent.json",
    "chmod 777 outbox",
    "df",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intruder:
    """The stock client with one board's key, against one server."""

    user: str
    key: Path
    port: int
    host_key_line: str
    folder: Path

    def sftp(self, *commands: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a batch of commands in `folder`, which has the files `small` and `huge`."""
        (self.folder / "small").write_text("{}")
        (self.folder / "huge").write_bytes(b"x" * (2 << 20))
        (self.folder / "batch").write_text("\n".join(commands) + "\n")
        return self._run("sftp", "-q", "-b", "batch", "-P", str(self.port), f"{user or self.user}@127.0.0.1")

    def ssh(self, *arguments: str, command: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run `ssh` with options, and perhaps a remote command."""
        return self._run("ssh", "-p", str(self.port), *arguments, f"{self.user}@127.0.0.1", *command)

    def forwards(self, kind: str, target_port: int) -> bool:
        """Return whether a byte of a listener on `target_port` comes through a forwarding of `kind` (-L or -D)."""
        port = free_port()
        argument = str(port) if kind == "-D" else f"{port}:127.0.0.1:{target_port}"
        client = subprocess.Popen(
            ["ssh", *self._options(), "-p", str(self.port), "-N", kind, argument, f"{self.user}@127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )
        try:
            return _reads_a_byte(port, socks_to=target_port if kind == "-D" else None)
        finally:
            client.kill()
            client.wait()

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *self._options(), *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, cwd=self.folder,
        )  # fmt: skip

    def _options(self) -> list[str]:
        known = self.folder / "known"
        known.write_text(f"[127.0.0.1]:{self.port} {self.host_key_line}\n")
        options = ("BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "IdentitiesOnly=yes",
                   "ConnectTimeout=10")  # fmt: skip
        return ["-F", "none", "-i", str(self.key), *(flag for option in options for flag in ("-o", option))]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _reads_a_byte(port: int, *, socks_to: int | None) -> bool:
    import time

    give_up_at = time.monotonic() + 5.0
    while time.monotonic() < give_up_at:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
                if socks_to is not None:
                    link.sendall(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + socks_to.to_bytes(2, "big"))
                    got = link.recv(2)  # the greeting's answer is the client's own
                    return len(link.recv(64)) > 10 if got else False
                return link.recv(1) != b""
        except ConnectionRefusedError:
            time.sleep(0.05)
        except OSError:
            return False
    raise AssertionError("the client never listened")
