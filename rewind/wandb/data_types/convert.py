"""What `log` makes of figures of matplotlib and plotly, and of DataFrames of pandas, once `register` was called."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ...tracker.media import CONVERTERS, Media
from .charts import Plotly
from .images import Image
from .tables import Table


def register() -> None:
    """Let tracked runs take them from now on; a second call changes nothing."""
    if converted not in CONVERTERS:
        CONVERTERS.append(converted)


def converted(value: Any) -> Media | None:
    """Return an image, a plot or a table; None for anything else. Imports none of these."""
    library = type(value).__module__.partition(".")[0]
    if library == "matplotlib" or (isinstance(value, ModuleType) and value.__name__ == "matplotlib.pyplot"):
        return Image(value)
    if library == "plotly" and hasattr(value, "to_json"):
        return Plotly(value)
    if library == "pandas" and hasattr(value, "itertuples"):
        return Table(dataframe=value)
    return None
