"""The diagnosis of a run from its folder: its detectors see its readings once more, and a page shows why."""

from adversaria.reporting.doctor.history import History, Segment, read_history
from adversaria.reporting.doctor.page import write_page

__all__ = ["History", "Segment", "read_history", "write_page"]
