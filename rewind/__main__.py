"""``python -m rewind`` is the command ``rewind``."""

import sys

from .cli import main

sys.exit(main())
