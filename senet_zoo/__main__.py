"""``python -m senet_zoo``: the command line without an installed script."""

import sys

from senet_zoo.cli import main

sys.exit(main())
