"""`python cache.py`: see adversaria.cli.cache."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from adversaria.cli.cache import main

if __name__ == "__main__":
    sys.exit(main())
