"""Reports: what a job found, as self-contained HTML and as Markdown with PNG plots, from the API's data alone."""

from nas_service.report.collect import collect
from nas_service.report.data import ReportData
from nas_service.report.write import write_report

__all__ = ["ReportData", "collect", "write_report"]
