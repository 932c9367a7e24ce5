"""summary.md: the verdict of a build in GitHub-flavoured Markdown, for a CI job's summary or a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builder.outcomes import GateStatus, Status
from builder.report import findings, views
from builder.report import format as words
from builder.report.lines import harmless

__all__ = ["code", "summary", "table", "text"]

# What GFM 0.29 reads as markup in a line, HTML, a link or mathematics; then what does it at the beginning of one.
_MARKUP = re.compile(r"[\\`*_\[\]<>#|~&$!:]|(?<=[wW]{3})\.|^[-+=]|(?<=\d)[.)](?= |$)")


def summary(report: Mapping[str, Any]) -> str:
    """Return verdict, the four numbers, gates and the command of a report (see `report_document`) as Markdown.

    The same bytes for the same report; whatever a recipe, a model or a tool brought in is shown as it is written.
    """
    manifest = report["manifest"]
    names = findings.Names(manifest)
    parts = [
        [f"## {code(manifest['name'])} for {text(names.goal)}: {manifest['status']}"],
        [f"**{text(report['verdict'])}.**"],
        [text(manifest["summary"])] if manifest.get("summary") else [],
        [*_figures(report, names)],
        [*_failures(manifest)],
        [*_gates(report, names)],
        [*_reproduce(manifest)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def text(words_from_outside: str) -> str:
    """Return text that Markdown shows as it is: no markup, link, mention, HTML or new line comes of it."""
    plain = " ".join(harmless(words_from_outside).split())
    # A mention is found in the text that is left when the backslashes are gone; a comment divides it.
    return _MARKUP.sub(r"\\\g<0>", plain).replace("@", "@<!-- -->")


def code(words_from_outside: str, *, cell: bool = False) -> str:
    """Return text as a code span; in a `cell` of a table its bars are escaped."""
    plain = " ".join(harmless(words_from_outside).split()) or " "
    fence = _fence(plain, 1)
    room = " " if "`" in plain else ""
    return f"{fence}{room}{plain.replace('|', chr(92) + '|') if cell else plain}{room}{fence}"


def _fence(content: str, least: int) -> str:
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    return "`" * max(least, longest + 1)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('---:' if index in numbers else '---' for index in range(len(head)))}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _figures(report: Mapping[str, Any], names: findings.Names) -> Iterator[str]:
    head = ["", text(names.candidate), text(names.reference), "Change", "Gate", "Measured on"]
    rows = []
    for figure in views.figures(report):
        if figure["candidate"] is None:
            shown = ["not measured", words.NOTHING, text(figure["finding"])]
        else:
            shown = [text(figure["shown"]["value"]), text(figure["shown"]["reference"]), text(figure["change"])]
        where = _where(figure["measured_on"], None if figure["on_target"] is not False else names.target)
        rows.append([text(figure["label"]), *shown, figure["gate"] or "no gate", where])
    yield from table(head, rows, (1, 2))


def _where(system: str | None, missed: str | None) -> str:
    """Say what measured; `missed` is the target that it is not."""
    if not system:
        return words.NOTHING
    return f"{text(system)}, **not on {text(missed)}**" if missed else text(system)


def _failures(manifest: Mapping[str, Any]) -> Iterator[str]:
    for action in manifest["actions"]:
        if action["status"] == Status.FAILED.word:
            why = (action.get("error") or action["reason"]).removeprefix(f"{action['name']}: ")
            yield f"- **{text(action['name'])} failed**: {text(why)}"
            if action.get("hint"):
                yield f"  hint: {text(action['hint'])}"


def _gates(report: Mapping[str, Any], names: findings.Names) -> Iterator[str]:
    gates = report["manifest"]["gates"]
    if not gates:
        yield "The recipe sets no limits."
        return
    passed = sum(gate["status"] == GateStatus.PASSED.word for gate in gates)
    primary = report["headline"]["accuracy"]["unit"] or "top1"
    yield f"### {passed} of {len(gates)} {'gate' if len(gates) == 1 else 'gates'} passed"
    yield ""
    head = ["Gate", "State", "Limit", "Value", "Measured on", "Message"]
    yield from table(head, [_gate(gate, primary, names) for gate in gates], (2, 3))


def _gate(gate: Mapping[str, Any], primary: str, names: findings.Names) -> list[str]:
    name, where = gate["name"], gate["measured_on"]
    away = where and not names.was_there(where) and "size" not in name
    return [
        code(name, cell=True),
        gate["status"] if gate["status"] == GateStatus.PASSED.word else f"**{gate['status']}**",
        text(words.gate_quantity(name, gate["limit"], primary, exact=True)),
        text(words.gate_quantity(name, gate["value"], primary)),
        _where("this host" if where == "host" else where, names.target if away else None),
        text(gate["message"].removeprefix(f"{name}: ")),
    ]


def _reproduce(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the command, which must stay as it is to be pasted: in a block that nothing in it can end."""
    command = harmless(manifest["command"])
    fence = _fence(command, 3)
    yield from ("### Reproduce", "", f"{fence}sh", command, fence, "")
    yield f"Recipe {code(manifest['sha256'])}, builder {text(manifest['builder'])}."
