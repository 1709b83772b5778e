"""The mailbox against a real SFTP server."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from pathlib import Path

import asyncssh
import paramiko
import pytest

from edge_agent.backoff import Backoff, poll_pause_s
from edge_agent.cache import ArtifactCache
from edge_agent.errors import ArtifactError, HostKeyError, LinkError, RefusedError
from edge_agent.home import Home
from edge_agent.identity import ensure_key
from edge_agent.mailbox import SftpMailbox, open_mailbox, parse_inbox, write_remote
from edge_agent.records import Acknowledgement, Artifact, RecordError
from tests.edge_agent.sftp_gateway import SftpGateway

pytestmark = pytest.mark.ssh

DATA = random.Random(0).randbytes(3_000_000)


@pytest.fixture
def mailbox(enrolled: Home) -> SftpMailbox:
    return open_mailbox(enrolled, enrolled.config())


def test_an_artefact_arrives_whole_and_is_kept(mailbox: SftpMailbox, gateway: SftpGateway) -> None:
    artifact = gateway.put_artifact(DATA)
    path = mailbox.fetch_artifact(artifact)
    assert path.read_bytes() == DATA
    gateway.stop()
    assert mailbox.fetch_artifact(artifact) == path
    gateway.start()


def test_a_broken_transfer_is_taken_up_where_it_ended(
    mailbox: SftpMailbox, gateway: SftpGateway, enrolled: Home
) -> None:
    artifact = gateway.put_artifact(DATA)
    part = enrolled.cache_path / f"{artifact.sha256}.part"
    part.write_bytes(DATA[:2_000_001])
    inode = part.stat().st_ino
    path = mailbox.fetch_artifact(artifact)
    assert path.read_bytes() == DATA
    assert path.stat().st_ino == inode


def test_a_corrupt_part_is_dropped_and_fetched_once_more(
    mailbox: SftpMailbox, gateway: SftpGateway, enrolled: Home
) -> None:
    artifact = gateway.put_artifact(DATA)
    (enrolled.cache_path / f"{artifact.sha256}.part").write_bytes(b"x" * 1_000_000)
    assert mailbox.fetch_artifact(artifact).read_bytes() == DATA


def test_a_file_that_rotted_in_the_cache_is_fetched_again(mailbox: SftpMailbox, gateway: SftpGateway) -> None:
    artifact = gateway.put_artifact(DATA)
    path = mailbox.fetch_artifact(artifact)
    path.write_bytes(DATA[:-1] + b"?")
    assert mailbox.fetch_artifact(artifact).read_bytes() == DATA


def test_an_artefact_with_another_content_is_an_error_and_leaves_nothing(
    mailbox: SftpMailbox, gateway: SftpGateway, enrolled: Home
) -> None:
    artifact = gateway.put_artifact(DATA)
    (gateway.root / "pi" / "artifacts" / artifact.sha256).write_bytes(DATA[::-1])
    with pytest.raises(ArtifactError, match="came twice with another content; the gateway's copy is damaged"):
        mailbox.fetch_artifact(artifact)
    assert not list(enrolled.cache_path.iterdir())


def test_a_truncated_artefact_is_an_error(mailbox: SftpMailbox, gateway: SftpGateway) -> None:
    artifact = gateway.put_artifact(DATA)
    (gateway.root / "pi" / "artifacts" / artifact.sha256).write_bytes(DATA[:-7])
    with pytest.raises(ArtifactError, match="has 2999993 bytes on the gateway but 3000000 were announced"):
        mailbox.fetch_artifact(artifact)


def test_an_absent_artefact_is_an_error(mailbox: SftpMailbox) -> None:
    with pytest.raises(ArtifactError, match="is not on the gateway"):
        mailbox.fetch_artifact(Artifact(sha256="0" * 64, size_bytes=1))


def test_a_full_disk_is_no_broken_link(
    mailbox: SftpMailbox, gateway: SftpGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    artifact = gateway.put_artifact(DATA)
    monkeypatch.setattr("edge_agent.mailbox.os.fsync", full)
    with pytest.raises(ArtifactError, match="cannot store the artefact: No space left on device; free space"):
        mailbox.fetch_artifact(artifact)


def test_leases_settings_and_acknowledgements_are_read_as_records(mailbox: SftpMailbox, gateway: SftpGateway) -> None:
    lease = gateway.put_lease(gateway.put_artifact(b"x"), lease_id="l7")
    word = Acknowledgement(result_id="r-1", stored=False, reason="late")
    (gateway.root / "pi" / "inbox" / "ack-r-1.json").write_text(word.to_json())
    inbox = mailbox.list_inbox()
    assert (inbox.lease_ids, inbox.acknowledged) == (("l7",), ("r-1",))
    assert mailbox.read_lease("l7") == lease
    assert mailbox.read_acknowledgement("r-1") == word
    assert mailbox.read_settings().board == "pi"
    assert mailbox.read_lease("gone") is None


def test_a_lease_under_another_name_is_refused(mailbox: SftpMailbox, gateway: SftpGateway) -> None:
    lease = gateway.put_lease(gateway.put_artifact(b"x"), lease_id="l7")
    (gateway.root / "pi" / "inbox" / "lease-l8.json").write_text(lease.to_json())
    with pytest.raises(RecordError, match="lease 'l8' holds lease_id 'l7'; both must be the same"):
        mailbox.read_lease("l8")


def test_an_oversized_record_is_refused(mailbox: SftpMailbox, gateway: SftpGateway) -> None:
    (gateway.root / "pi" / "agent.json").write_bytes(b" " * (2 << 20))
    with pytest.raises(RecordError, match=r"/agent\.json has more than 1048576 bytes"):
        mailbox.read_settings()


@pytest.mark.parametrize(
    "name",
    [
        "lease-../../etc.json",
        "lease-.json",
        "lease-A.json",
        "lease-a",
        "ack-/x.json",
        "other.json",
        "lease-a.json.part",
    ],
)
def test_names_that_are_no_ids_are_ignored(name: str) -> None:
    inbox = parse_inbox([name, "lease-good.json"])
    assert (inbox.lease_ids, inbox.acknowledged) == (("good",), ())


def test_another_host_key_is_refused_before_anything_is_said(enrolled: Home, gateway: SftpGateway) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    enrolled.host_key_path.write_bytes(other.export_public_key())
    with pytest.raises(HostKeyError) as caught:
        open_mailbox(enrolled, enrolled.config())
    assert gateway.key.get_fingerprint() in str(caught.value)
    assert other.get_fingerprint() in str(caught.value)
    assert gateway.logins == 0


def test_a_host_key_of_another_type_is_refused(enrolled: Home) -> None:
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    enrolled.host_key_path.write_bytes(other.export_public_key())
    with pytest.raises((HostKeyError, LinkError)):
        open_mailbox(enrolled, enrolled.config())


def test_a_revoked_board_is_told_to_enrol_again(enrolled: Home, gateway: SftpGateway) -> None:
    gateway.boards.clear()
    with pytest.raises(
        RefusedError,
        match=r"does not accept this board's key: the board was removed.*get a new code with `nas board add`",
    ):
        open_mailbox(enrolled, enrolled.config())


def test_a_gateway_that_is_down_is_a_broken_link(enrolled: Home, gateway: SftpGateway) -> None:
    gateway.stop()
    with pytest.raises(LinkError, match=f"127.0.0.1:{gateway.port}: Connection refused; is the gateway up"):
        open_mailbox(enrolled, enrolled.config())
    gateway.start()


def test_a_cut_connection_is_a_broken_link(mailbox: SftpMailbox, gateway: SftpGateway) -> None:
    gateway.stop()
    with pytest.raises(LinkError):
        mailbox.list_inbox()
    gateway.start()


def test_the_cache_drops_the_least_recently_used(tmp_path: Path) -> None:
    cache, kept = ArtifactCache(tmp_path, max_bytes=2500), []
    for index in range(3):
        data = bytes([index]) * 1000
        artifact = described(data)
        cache.part_path(artifact).write_bytes(data)
        assert cache.adopt_part(artifact)
        kept.append(artifact)
        cache.get(kept[0])
    assert [cache.get(artifact) is not None for artifact in kept] == [True, False, True]


def described(data: bytes) -> Artifact:
    return Artifact(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def test_waiting_doubles_up_to_a_minute_with_full_jitter() -> None:
    backoff = Backoff(rng=random.Random(0))
    bounds = [1, 2, 4, 8, 16, 32, 60, 60]
    waits = [[wait_after(n, seed) for seed in range(200)] for n in range(len(bounds))]
    for bound, values in zip(bounds, waits, strict=True):
        assert max(values) <= bound
        assert max(values) > 0.9 * bound
        assert min(values) < 0.1 * bound
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 1


def wait_after(failures: int, seed: int) -> float:
    backoff = Backoff(rng=random.Random(seed))
    backoff.failures = failures
    return backoff.next_s()


@pytest.mark.parametrize(("since_work_s", "pause_s"), [(0, 0.2), (4.9, 0.2), (5, 1.0), (59, 1.0), (61, 2.0)])
def test_polling_is_quick_after_work_and_slow_when_idle(since_work_s: float, pause_s: float) -> None:
    assert poll_pause_s(poll_s=1.0, since_work_s=since_work_s) == pause_s


def test_the_private_key_is_for_its_owner_only_and_made_once(home: Home) -> None:
    first = ensure_key(home, comment="pi")
    assert first.startswith("ssh-ed25519 ")
    assert home.key_path.stat().st_mode & 0o777 == 0o600
    assert ensure_key(home, comment="pi") == first


class FullDisk(paramiko.SFTPFile):
    """A file on a server that says yes to every write and stores half of it."""

    def write(self, data: bytes) -> None:
        super().write(data[: len(data) // 2])


def test_a_result_that_the_server_did_not_store_whole_is_not_handed_in(
    mailbox: SftpMailbox, gateway: SftpGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paramiko.sftp_client.SFTPFile", FullDisk)
    with pytest.raises(LinkError, match="the gateway kept 5 of 10 bytes; its disk may be full"):
        write_remote(mailbox._sftp, "/outbox/r1.json", "0123456789")
    monkeypatch.undo()
    assert "r1.json" not in mailbox._sftp.listdir("/outbox")
    write_remote(mailbox._sftp, "/outbox/r1.json", "0123456789")
    assert "r1.json" in mailbox._sftp.listdir("/outbox")
