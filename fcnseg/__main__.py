"""``python -m fcnseg`` is the ``fcnseg`` command."""

import sys

from fcnseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
