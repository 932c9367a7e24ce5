from __future__ import annotations

from typing import Any

from benchmarks.side_by_side import ROWS, conditions, table


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what was measured, as the README shows it."""
    if ROWS:
        terminalreporter.section("side by side")
        terminalreporter.write_line(table())
        terminalreporter.write_line("")
        terminalreporter.write_line(f"On {conditions()}.")
