"""Values of rows that are files or charts, by the names that programs written for W&B use: `Image`, `Table` and so on.

Each is a `rewind.tracker.media.Media`: any tracked run takes it, and what is kept goes with the row.
"""

from __future__ import annotations

from .charts import CustomChart, Plotly
from .files import Audio, Html, Molecule, Object3D, Video
from .histogram import Histogram
from .images import Classes, Image
from .tables import Table

__all__ = [
    "Audio", "Classes", "CustomChart", "Histogram", "Html", "Image", "Molecule", "Object3D", "Plotly", "Table", "Video",
]  # fmt: skip
