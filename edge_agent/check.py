"""One finding of `nas-edge doctor`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing examined: what was found, and a copyable fix if it is not all right."""

    name: str
    state: State
    found: str
    fix: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return asdict(self)

    def as_text(self) -> str:
        """Return one line, and a second with the fix."""
        line = f"{self.state:4}  {self.name}: {self.found}"
        return line if self.fix is None else f"{line}\n      fix: {self.fix}"
