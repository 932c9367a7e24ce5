"""The table of models in the README: each recipe from an empty store, and once more.

    .venv/bin/python tests/benchmarks/models.py RECIPE...

builds the recipes in a temporary folder, keeps each one's row in models.json beside this file, and writes the table of
all rows into the README. Without a recipe, only the table is written. A toolchain is fetched and put together anew for
each; how long that took is told apart, since a store does it once.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROWS = Path(__file__).with_name("models.json")
README = ROOT / "README.md"
TIMES = "\N{MULTIPLICATION SIGN}"
MARKS = ("<!-- table: models -->\n", "<!-- end of table -->\n")
HEAD = "| recipe | from | size | metric | latency p50 | export to source | actions | cold, of it toolchains | cached |"


def main(names: list[str]) -> None:
    rows: dict[str, dict[str, Any]] = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    for name in names:
        rows[name] = measured(name)
        print(line(name, rows[name]), flush=True)
        ROWS.write_text(json.dumps(dict(sorted(rows.items())), indent=2, ensure_ascii=False) + "\n")
    before, _, rest = README.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    README.write_text(f"{before}{MARKS[0]}{table(rows)}{MARKS[1]}{after}")


def measured(name: str) -> dict[str, Any]:
    """Build a recipe twice and return what its report says. Raises CalledProcessError where a build fails."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "builder", f"recipe={name}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": f"{folder}/cache"}
        environment.pop("BUILDER_STORE", None)
        cold_s = _seconds(command, folder, environment)
        report = json.loads(Path(folder, "outputs", name, "latest", "report.json").read_text())
        time.sleep(2.1)  # files younger than 2 s are hashed, not remembered
        _seconds(command, folder, environment)
        cached_s = _seconds(command, folder, environment)
    manifest, host = report["manifest"], report["manifest"]["host"]
    tools = [action for action in manifest["actions"] if action["step"] == "toolchain"]
    return {
        "format": manifest["recipe"]["model"]["format"],
        "headline": report["headline"],
        "conversion": report["conversion"],
        "status": manifest["status"],
        "actions": len(manifest["actions"]),
        "cold_s": round(cold_s, 1),
        "toolchain_s": round(sum(action["seconds"] for action in tools), 1),
        "cached_s": round(cached_s, 2),
        "host": f"{host['processor']}, {host['cores']} cores, Python {platform.python_version()}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "load": round(os.getloadavg()[1], 1),
    }


def _seconds(command: list[str], folder: str, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


def table(rows: dict[str, dict[str, Any]]) -> str:
    rule = "|" + "---|" * (HEAD.count("|") - 1)
    hosts = sorted({f"{row['host']}, {row['date']}" for row in rows.values()})
    loads = [row["load"] for row in rows.values()]
    where = f"On {'; '.join(hosts)}, load average {min(loads):g} to {max(loads):g} over five minutes."
    lines = [HEAD, rule, *(line(name, rows[name]) for name in sorted(rows)), "", where]
    return "\n".join(lines) + "\n"


def line(name: str, row: dict[str, Any]) -> str:
    cells = [
        f"`{name}`",
        row["format"],
        _pair(row["headline"]["size"], "{:.3g}", "MiB"),
        _metric(row["headline"]["accuracy"]),
        _latency(row["headline"]["latency"]),
        f"{row['conversion']['difference']:.1g} of the largest output" if row["conversion"] else "",
        str(row["actions"]),
        f"{row['cold_s']:.0f} s" + (f", {row['toolchain_s']:.0f} s" if row["toolchain_s"] else ""),
        f"{row['cached_s']:.1f} s",
    ]
    return f"| {' | '.join(cells)} |"


def _metric(figure: dict[str, Any]) -> str:
    if figure.get("candidate") is None:
        return "no labels"
    form = "{:.2%}" if figure["unit"] in ("top1", "top5", "accuracy", "f1", "auc") else "{:.4f}"
    return f"{figure['unit']} {_pair(figure, form, '')}"


def _latency(figure: dict[str, Any]) -> str:
    if figure.get("candidate") is None:
        return "not measured"
    ratio, interval = figure["change"], figure["interval"]
    return f"{_pair(figure, '{:.3g}', 'ms')}, {ratio:.2f} {TIMES} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _pair(figure: dict[str, Any], form: str, unit: str) -> str:
    values = [form.format(figure[side]) for side in ("reference", "candidate") if figure.get(side) is not None]
    return f"{' → '.join(values)} {unit}".rstrip()


if __name__ == "__main__":
    main(sys.argv[1:])
