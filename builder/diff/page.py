"""The folder of a comparison: written once for the same builds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.diff.naming import Build
from builder.errors import StoreError, UsageError
from builder.outputs import OUTPUTS, new_folder
from builder.recipe.locations import shown
from builder.show.find import PAGE, builds_in

__all__ = ["write_page"]

_FOLDER = OUTPUTS / "comparisons"


def write_page(builds: Sequence[Build]) -> tuple[Path, dict[str, Any]]:
    """Write report.html, report.json and comparison.csv of builds; return the page's path and the document.

    Where a folder holds the very same already, it is that one. Raises UsageError for fewer than two builds, StoreError
    for one whose report is not as it was written.
    """
    from builder.report.comparison import comparison_document
    from builder.report.variants_page import pages

    distinct = list({build.folder.resolve(): build for build in builds}.values())
    if len(distinct) < 2:
        raise UsageError("all these words name one and the same build", "name another one; show opens its page")
    document = comparison_document([(build.label, _link(build.folder), _report(build)) for build in distinct])
    texts = pages(document)
    folder = next((each for each in reversed(builds_in(_FOLDER)) if _holds(each, texts)), None)
    if folder is None:
        with new_folder(_FOLDER) as (part, publish):
            for name, text in texts.items():
                (part / name).write_text(text, encoding="utf-8", newline="")
            folder = publish()
    return shown(folder.resolve()) / PAGE, document


def _report(build: Build) -> dict[str, Any]:
    if build.report is None:
        raise StoreError(
            f"{build.folder / 'report.json'} is not there or not as it was written: there is nothing to compare",
            "build it again, or name another build",
        )
    return build.report


def _link(folder: Path) -> str:
    """Return the path from a comparison's page to the folder of a build."""
    return Path(os.path.relpath(folder.resolve(), (_FOLDER / "time").resolve())).as_posix()


def _holds(folder: Path, texts: Mapping[str, str]) -> bool:
    with suppress(OSError, UnicodeDecodeError):
        return all((folder / name).read_bytes() == text.encode() for name, text in texts.items())
    return False
