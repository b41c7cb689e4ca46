"""`python -m parity`: the same command line as `parity`."""

import sys

from parity.cli import main

if __name__ == "__main__":
    sys.exit(main())
