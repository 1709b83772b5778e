"""Enrolment: a board with a one-time code becomes known to a gateway, and learns who it is."""

from __future__ import annotations

import dataclasses
import platform
import re
import time
from typing import Any

from edge_agent import __version__
from edge_agent.errors import BadUsageError, EdgeError, LinkError, RefusedError
from edge_agent.files import write_whole
from edge_agent.home import BoardConfig, Home
from edge_agent.identity import ensure_key
from edge_agent.link import Link, Server, link_errors, open_link
from edge_agent.mailbox import open_mailbox, write_remote
from edge_agent.records import EnrolmentAnswer, EnrolmentCode, EnrolmentRequest, RecordError

USER = "enroll"
DEFAULT_PORT = 8022
ANSWER_TIMEOUT_S = 20.0
_POLL_S = 0.2
_MAX_ANSWER_BYTES = 64 << 10


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST[:PORT]`; an IPv6 host stands in brackets.

    Raises:
        BadUsageError: If there is no host, or the port is none.
    """
    match = re.fullmatch(r"(?:\[(?P<ipv6>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d{1,5}))?", text)
    port = int((match and match["port"]) or DEFAULT_PORT)
    if not match or not 0 < port < 65536:
        raise BadUsageError(f"gateway address is {text!r} but must be HOST or HOST:PORT, PORT 1 to 65535")
    return match["ipv6"] or match["host"], port


def enroll(home: Home, *, address: str, code: str, fingerprint: dict[str, Any]) -> BoardConfig:
    """Make this home a board of the gateway at `address`.

    The server's host key is checked against the code before the code is sent to it. Key, pinned host key and
    configuration are stored; a home that was enrolled before keeps its key and changes its gateway only on success.

    Raises:
        BadUsageError: If address or code are malformed.
        HostKeyError: If the server is not the one that the code is for.
        RefusedError: If the code is none or spent, or the gateway does not want this board.
        LinkError: If the gateway cannot be reached or does not answer.
    """
    host, port = parse_address(address)
    try:
        parsed = EnrolmentCode.parse(code)
    except RecordError as error:
        raise BadUsageError(str(error)) from None
    home.create()
    public_key = ensure_key(home, comment=platform.node() or "board")
    request = EnrolmentRequest(public_key=public_key, agent_version=__version__, fingerprint=fingerprint)
    server = Server(host=host, port=port, host_key_sha256=parsed.host_key_sha256)
    link = open_link(server, user=USER, password=parsed.format())
    try:
        write_remote(link.sftp, "/request.json", request.to_json())
        answer = _await_answer(link)
    finally:
        link.close()
    if not answer.accepted or answer.board is None or answer.board_class is None:
        raise RefusedError(f"the gateway refused this board: {answer.reason or 'it gave no reason'}")
    write_whole(home.host_key_path, (link.host_key_line + "\n").encode())
    config = BoardConfig(host=host, port=port, board=answer.board, board_class=answer.board_class)
    home.save_config(config)
    return config


def move(home: Home, *, address: str) -> BoardConfig:
    """Let an enrolled home reach its gateway at another address; it must accept this board and show the pinned key.

    Raises:
        BadUsageError: If the address is malformed.
        NotEnrolledError: If this home belongs to no gateway.
        EdgeError: As `open_mailbox`; nothing is changed then.
    """
    host, port = parse_address(address)
    config = dataclasses.replace(home.config(), host=host, port=port)
    open_mailbox(home, config).close()
    home.save_config(config)
    return config


def _await_answer(link: Link) -> EnrolmentAnswer:
    end = time.monotonic() + ANSWER_TIMEOUT_S
    while time.monotonic() < end:
        try:
            with link_errors("/answer.json"), link.sftp.open("/answer.json", "rb") as file:
                return EnrolmentAnswer.from_json(file.read(_MAX_ANSWER_BYTES))
        except FileNotFoundError:
            time.sleep(_POLL_S)
        except RecordError as error:
            raise EdgeError(f"the gateway's answer makes no sense: {error}") from None
    raise LinkError(f"the gateway gave no answer in {ANSWER_TIMEOUT_S:.0f} s; look at its log, and try the code again")
