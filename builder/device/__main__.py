"""`python3 resume.pyz`, and `python -m builder.device`."""

from __future__ import annotations

import sys

from builder.device.resume import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
