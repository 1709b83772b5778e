"""The HTTP API and the dashboard."""

from nas_service.api.app import create_app
from nas_service.api.ports import Fleet, Launcher

__all__ = ["Fleet", "Launcher", "create_app"]
