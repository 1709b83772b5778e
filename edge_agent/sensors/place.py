"""Where sensors are looked for: the root of /sys, /proc and /dev, the firmware's command, and the owner's options."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.sensors.options import EnergyOptions, read_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One board as its sensors see it; goes through JSON to the sampling process.

    Attributes:
        root: Above sys/, proc/ and dev/; another folder than / holds a generated or recorded board.
        vcgencmd: The command that asks a Raspberry Pi's firmware where the mailbox device cannot.
        options: What the owner said in energy.json.
    """

    root: Path = Path("/")
    vcgencmd: tuple[str, ...] = ("vcgencmd",)
    options: EnergyOptions = field(default_factory=EnergyOptions)

    @classmethod
    def of_home(cls, home: Path) -> Place:
        """Return this machine with the options in `home`; raise BadUsageError if they cannot be used."""
        return cls(options=read_options(home))

    def to_json(self) -> str:
        """Return the place as one line."""
        place = {"root": str(self.root), "vcgencmd": list(self.vcgencmd), "options": self.options.to_dict()}
        return json.dumps(place)

    @classmethod
    def from_json(cls, text: str) -> Place:
        """Return the place that `to_json` wrote."""
        data = json.loads(text)
        options = EnergyOptions.from_dict(data["options"])
        return cls(root=Path(data["root"]), vcgencmd=tuple(data["vcgencmd"]), options=options)
