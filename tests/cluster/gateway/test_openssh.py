"""The mailbox behind the real sshd, set up by its script, in a mount namespace with accounts of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import cluster
from edge_agent.home import Home as BoardHome
from nas_service.measurement import RequestStatus
from tests.cluster.gateway.client import make_key
from tests.cluster.gateway.intruder import REFUSED, Intruder, free_port
from tests.cluster.gateway.processes import AgentProcess, Service, wait_for

SHARED = {"python": sys.base_prefix, "site": sysconfig.get_path("purelib"), "code": Path(cluster.__file__).parents[1]}
SCRIPT = Path(cluster.__file__).parent / "openssh" / "mailbox.sh"


def _missing() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux: sshd changes roots and accounts"
    for name in ("/usr/sbin/sshd", "unshare", "nsenter", "setpriv", "useradd"):
        if shutil.which(name) is None:
            return f"{name} is not installed (apt-get install openssh-server util-linux passwd)"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "mount namespaces cannot be made here"
    return None


pytestmark = [
    pytest.mark.ssh,
    pytest.mark.slow,
    pytest.mark.skipif(_missing() is not None, reason=str(_missing())),
]


class Machine:
    """A mount namespace with a private /etc and /srv, where accounts may be made without touching this machine's."""

    def __init__(self, folder: Path) -> None:
        self.srv = folder / "srv"
        self.srv.mkdir(mode=0o755)
        private = f"cp -a /etc {folder}/etc && mount --bind {folder}/etc /etc && mount --bind {self.srv} /srv"
        for name, source in SHARED.items():  # Python may lie in a home that no other account can look into
            private += f" && mkdir /srv/{name} && mount --bind {source} /srv/{name}"
        script = f"{private} && mkdir -m 755 /srv/nas && echo ready && exec sleep 600"
        self._init = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
        assert self._init.stdout is not None
        assert self._init.stdout.readline() == "ready\n"
        self._started: list[subprocess.Popen[str]] = []
        self.log = folder / "machine.log"

    def command(self, *words: str | Path) -> list[str]:
        return ["nsenter", "--mount", "--wd=/", "--target", str(self._init.pid), *map(str, words)]

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=60, check=False)

    def script(self, *words: str | Path) -> str:
        done = self.run(SCRIPT, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command(*words), stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in [*self._started, self._init]:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM) if os.getpgid(process.pid) == process.pid else process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=15)
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


class Site:
    """A service of an ordinary account, whose boards come in through OpenSSH."""

    def __init__(self, folder: Path) -> None:
        self.machine, self.folder, self.port = Machine(folder), folder, free_port()
        assert self.machine.run("useradd", "--system", "nas").returncode == 0
        assert self.machine.run("chown", "nas:nas", "/srv/nas").returncode == 0
        end(self.start_gateway()[0])  # makes the host key
        places = ("--home", "/srv/nas", "--user", "nas", "--root", "/srv/boards")
        self.install = ("install", *places, "--port", str(self.port))
        self.dry = self.machine.script("--dry-run", *self.install)
        self.machine.script(*self.install)
        self.gateway, self.said = self.start_gateway("pi-1:x86")
        self.service = Service(self.machine.srv / "nas")
        self.sshd = self.machine.start(SCRIPT, "run")
        self.agent = AgentProcess(folder / "board")
        done = self.agent.enroll(self.said["port"], self.said["codes"]["pi-1:x86"])
        assert done.returncode == 0, done.stderr
        other = make_key(folder, "pi-2")
        token = self.service.store.fleet.create_enrolment("pi-2", board_class="other", ttl_s=60.0, now=time.time())
        self.service.store.fleet.redeem(token, public_key=other.line, fingerprint={}, now=time.time())
        for name in ("pi-1", "pi-2"):
            self.machine.script("add", name, self.service.store.fleet.board(name).public_key)

    def start_gateway(self, *enrol: str) -> tuple[subprocess.Popen[str], dict[str, object]]:
        words = [word for pair in enrol for word in ("--enrol", pair)]
        become = ["setpriv", "--reuid=nas", "--regid=nas", "--init-groups", "env", "HOME=/srv/nas", "OMP_NUM_THREADS=1"]
        python = f"/srv/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"
        gateway = self.machine.start(
            *become, "PYTHONPATH=/srv/code:/srv/site", python, "-m", "cluster.gateway", "--home", "/srv/nas", *words
        )
        assert gateway.stdout is not None
        line = gateway.stdout.readline()
        assert line, self.machine.log.read_text()
        return gateway, json.loads(line)

    @property
    def chroot(self) -> Path:
        return self.machine.srv / "boards" / "pi-1"

    def intruder(self, folder: Path) -> Intruder:
        board = BoardHome(self.agent.home)
        return Intruder(user="pi-1", key=board.key_path, port=self.port, host_key_line=board.host_key(), folder=folder)

    def close(self) -> None:
        self.agent.stop()
        self.service.close()
        self.machine.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("openssh"))
    yield site
    site.close()


def test_dry_run_says_what_it_would_do_and_a_second_run_changes_nothing(site: Site) -> None:
    assert "would run: groupadd --system nas-edge" in site.dry
    assert "would write: /etc/nas-edge-ssh/sshd_config" in site.dry
    again = site.machine.script(*site.install)
    assert "wrote:" not in again
    assert "unchanged: /etc/nas-edge-ssh/sshd_config" in again
    assert not Path("/etc/nas-edge-ssh").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("add", "Pi.1", "ssh-ed25519 AAAA"), "cannot be an account's name"),
        (("add", "daemon", "ssh-ed25519 " + "A" * 68), "account daemon is there and is no board's"),
        (("add", "pi-9", "ssh-rsa AAAA"), "the key must be one line: ssh-ed25519"),
        (("install", "--home", "/srv/nas", "--user", "nobody-here"), "no user nobody-here on this machine"),
        (("install", "--home", "/srv/nas", "--user", "nas", "--root", "/tmp/x"), "may be written by others than root"),
    ],
)
def test_script_refuses_with_words(site: Site, words: tuple[str, ...], message: str) -> None:
    done = site.machine.run(SCRIPT, *words)
    assert done.returncode == 1
    assert message in done.stderr


def test_agent_measures_and_answers_through_openssh_and_the_service_needs_no_root(site: Site, model: bytes) -> None:
    moved = subprocess.run(
        [sys.executable, "-m", "edge_agent", "move", "--home", str(site.agent.home), f"127.0.0.1:{site.port}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert moved.returncode == 0, moved.stderr
    site.agent.start()
    site.service.store.files.put(model)
    site.machine.run("chown", "-R", "nas:nas", "/srv/nas")  # as if the service itself had stored it
    state = site.service.wait_final(site.service.request(model, name="a", board_class="x86"), timeout_s=90)
    site.agent.stop()
    assert state.state is RequestStatus.DONE, state
    assert (site.chroot / "inbox").stat().st_uid not in (0, (site.chroot / "outbox").stat().st_uid)
    assert not list((site.chroot / "outbox").iterdir())


def test_every_attempt_outside_its_own_outbox_fails_and_changes_nothing(site: Site, tmp_path: Path) -> None:
    intruder = site.intruder(tmp_path)
    assert intruder.sftp("ls").returncode == 0
    for path in (site.machine.srv / "boards" / "pi-2" / "outbox").iterdir():
        path.unlink()
    # Without a size of its own internal-sftp dies of a file that is too large; the rest is refused.
    succeeded = [command for command in REFUSED if intruder.sftp(command).returncode == 0]
    assert succeeded == []
    assert not (tmp_path / "stolen").exists()
    outbox = {path.name: path.stat().st_size for path in (site.chroot / "outbox").iterdir()}
    assert all(name == "r9.json.part" and size <= 256 << 10 for name, size in outbox.items())
    assert not list((site.machine.srv / "boards" / "pi-2" / "outbox").iterdir())
    assert sorted(path.name for path in site.chroot.iterdir()) == [
        "agent.json", "artifacts", "heartbeat.json", "inbox", "outbox",
    ]  # fmt: skip


def test_neither_commands_nor_shells_nor_forwarding(site: Site, tmp_path: Path) -> None:
    intruder = site.intruder(tmp_path)
    said = intruder.ssh(command=("id",))
    assert "uid=" not in said.stdout
    assert "This service allows sftp connections only" in said.stdout + said.stderr
    assert "uid=" not in intruder.ssh("-tt", command=("id",)).stdout
    assert not intruder.forwards("-L", site.port)
    assert not intruder.forwards("-D", site.port)
    assert intruder.ssh("-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1").returncode == 255
    assert replace(intruder, user="pi-2").sftp("ls").returncode == 255
    assert replace(intruder, user="root").sftp("ls").returncode == 255


def test_removing_a_board_ends_its_sessions_at_once(site: Site, tmp_path: Path) -> None:
    intruder = site.intruder(tmp_path)
    folder = tmp_path / "other"
    folder.mkdir()
    lasting = replace(intruder, folder=folder)
    client = subprocess.Popen(
        ["sftp", *lasting._options(), "-q", "-P", str(site.port), "pi-1@127.0.0.1"], stdin=subprocess.PIPE
    )
    wait_for("the session", lambda: site.machine.run("pgrep", "-u", "pi-1").stdout)
    session = site.machine.run("pgrep", "-u", "pi-1").stdout.split()
    assert "can no longer come in" in site.machine.script("remove", "pi-1")
    wait_for("the session's end", lambda: not any(Path("/proc", pid).exists() for pid in session))
    client.kill()  # at a prompt, some versions of sftp do not look whether anybody still listens
    client.communicate()
    assert intruder.sftp("ls").returncode == 255
    assert not site.chroot.exists()
    site.machine.script("remove", "pi-1")
