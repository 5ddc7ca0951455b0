"""``python -m iclglass``: the same as the command ``iclglass``."""

import sys

from iclglass.cli import main

if __name__ == "__main__":
    sys.exit(main())
