"""What can go wrong on a board, named for what to do next."""

from __future__ import annotations


class EdgeError(Exception):
    """Root of the agent's errors; its text is what the user reads."""


class BadUsageError(EdgeError):
    """The command or its arguments are wrong: correct them (exit status 2)."""


class WrongImageError(EdgeError, ValueError):
    """An image that this bundle's network cannot take: resize or convert it."""


class NotEnrolledError(EdgeError):
    """This home belongs to no gateway yet: run `nas-edge enroll`."""


class AlreadyRunningError(EdgeError):
    """Another agent holds this home: stop it, or use another home."""


class HostKeyError(EdgeError):
    """The server is not the one that this board was enrolled with: stop, and let a person look."""


class RefusedError(EdgeError):
    """The gateway says no, to a code or to the board's key: enrol with a new code."""


class LinkError(EdgeError):
    """The connection failed or broke: try again later."""


class ForbiddenError(LinkError):
    """The server is there and lets this file not be written: try again later, as after any broken link."""


class ArtifactError(EdgeError):
    """An artefact could not be had as announced, even on a second try: answer the lease as an infra fault."""


class SpoolError(EdgeError):
    """The board's own disk cannot be written: answer the lease as an infra fault, and begin none until it can."""


class ModelRefusedError(EdgeError):
    """An ONNX file that the agent will not load: answer the lease as a model fault."""


class BundleError(EdgeError):
    """A bundle that is damaged, unsafe or for another format: get it again."""


class StoppedError(EdgeError):
    """The agent was asked to stop while it worked: clean up and leave."""


class ChildFaultError(EdgeError):
    """A measuring child's known way to fail; `kind` is `model`, `oom`, `provider`, `parity` or `agent`."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
