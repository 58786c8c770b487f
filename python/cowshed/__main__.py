"""`python -m cowshed`: the command line."""

import sys

from cowshed.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
