"""Commands to copy that let the agent's user read a sensor, without root."""

from __future__ import annotations

from pathlib import Path

RULES = Path(__file__).resolve().parent.parent / "service" / "99-nas-edge.rules"

CHARGER_FIX = "unplug the charger, then: nas-edge doctor   # while it charges, results carry no energy"
GROUP_FIX = (
    f"sudo groupadd -f nas-power && sudo usermod -aG nas-power $USER && sudo cp {RULES} /etc/udev/rules.d/ && "
    "sudo udevadm control --reload && sudo udevadm trigger --action=add   # then log in again"
)
VIDEO_FIX = (
    f"sudo usermod -aG video $USER && sudo cp {RULES} /etc/udev/rules.d/ && "
    "sudo udevadm control --reload && sudo udevadm trigger --action=add   # then log in again"
)
