"""The program that a kit brings along: our package `device` in one archive that Python runs; always the same bytes."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import builder.device
from builder import __version__

__all__ = ["SCRIPT", "write_program"]

SCRIPT = """\
#!/bin/sh
# Finishes this build on the device that it is for; `sh resume.sh --help` says more.
python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' || {
  echo "error: this needs python3, 3.8 or later: $(python3 --version 2>&1)" >&2
  exit 1
}
exec python3 "$(dirname "$0")/resume.pyz" "$@"
"""
_PACKAGE = f'"""What a kit needs of builder."""\n\n__version__ = "{__version__}"\n'
_START = "import sys\n\nfrom builder.device.resume import main\n\nsys.exit(main(sys.argv[1:]))\n"


def write_program(file: Path) -> None:
    """Write an archive that `python3 FILE` runs, from Python 3.8 on."""
    modules = sorted(Path(builder.device.__file__).parent.glob("*.py"))
    members = {
        "__main__.py": _START.encode(),
        "builder/__init__.py": _PACKAGE.encode(),
        **{f"builder/device/{module.name}": module.read_bytes() for module in modules},
    }
    with file.open("wb") as out:
        out.write(b"#!/usr/bin/env python3\n")
        with ZipFile(out, "w", ZIP_STORED) as archive:  # what is compressed depends on zlib's version
            for name, content in members.items():
                archive.writestr(ZipInfo(name), content)  # of 1980: no time gets in
    file.chmod(0o755)
