"""Importers: files of ticks as people have them, taken exactly or refused with the row named.

Nothing here rounds, guesses a time zone or goes through a float.
"""

from parity.sources.importers.formats import FORMATS
from parity.sources.importers.imports import ImportReport, import_ticks

__all__ = ["FORMATS", "ImportReport", "import_ticks"]
