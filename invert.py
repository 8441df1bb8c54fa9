"""`python invert.py`: see adversaria.cli.invert."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from adversaria.cli.invert import main

if __name__ == "__main__":
    sys.exit(main())
