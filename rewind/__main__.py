"""``python -m rewind`` is the command ``rewind``."""

import sys

from .cli.main import main

sys.exit(main())
