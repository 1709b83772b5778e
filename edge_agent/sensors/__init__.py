"""Energy sensors: one small file each, found by what the board has. No sensor means no energy, never a constant."""

from __future__ import annotations

from edge_agent.sensors.discovery import find_sensor, survey
from edge_agent.sensors.place import Place
from edge_agent.sensors.sampler import Sampler
from edge_agent.sensors.sensor import EnergySensor

__all__ = ["EnergySensor", "Place", "Sampler", "find_sensor", "survey"]
