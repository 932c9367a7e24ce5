"""`plan --graph`: the plan as a tree, for Mermaid and for Graphviz; an action that many builds share is drawn once."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest
from projects import Project

from builder.errors import SourceError
from builder.outcomes import Status
from builder.plan.decide import Decision
from builder.plan.graph import graph
from builder.plan.report import WORDS, Planned
from builder.recipe.compose import compose
from builder.report.plan_graph import dot, mermaid, text

HOSTILE = 'cannot read "a]b".onnx; 100 % #1 `x` <b>\\ \x1b[2J\n"] --> n0 [('


def draw(project: Project, *words: str) -> str:
    done = project.run("plan", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def planned(small: Project, monkeypatch: pytest.MonkeyPatch) -> list[Planned]:
    """A plan with an action of every status; what cannot be read says so with characters that mean something."""
    monkeypatch.chdir(small.folder)
    statuses = (Status.CACHED, Status.FAILED, Status.DEFERRED, Status.BUILT)
    actions = graph(compose(["recipe=small"]))
    error = SourceError(HOSTILE)
    return [
        Planned(Decision(action, status, deferred=HOSTILE), error if status is Status.FAILED else None)
        for action, status in zip(actions, statuses, strict=True)
    ]


def test_the_tree_names_every_action_once_with_its_inputs_and_reason(small: Project) -> None:
    small.run("recipe=small", "steps=[simplify]")

    assert draw(small, "recipe=small", "--graph").splitlines() == [
        "small  small -> host (onnxruntime)",
        "= model              cached",
        "`- = simplify        cached    model=model",
        "   `- + quantize     run       model=simplify  <- first build",
        "      `- + evaluate  run       model=quantize, reference=model  <- waits for: quantize",
    ]


def test_branches_stand_under_what_they_share(small: Project) -> None:
    words = ("recipe=small", "+steps@steps.second=quantize", "steps.evaluate.inputs.model=second", "--graph=text")
    branches = (
        "steps.second.calibration.samples=8",
        "+steps@steps.again=evaluate",
        "steps.again.inputs.model=quantize",
    )
    lines = draw(small, *words, *branches).splitlines()

    assert [line.partition("  run")[0].rstrip() for line in lines if "  run" in line] == [
        "+ model",
        "`- + simplify",
        "   |- + quantize",
        "   |  `- + again",
        "   `- + second",
        "      `- + evaluate",
    ]


def test_one_action_of_several_builds_is_drawn_once(small: Project) -> None:
    sweep = ("-m", "recipe=small", "steps.quantize.calibration.samples=8,16", "--graph")
    cold = draw(small, *sweep).splitlines()
    small.run("recipe=small", "steps=[simplify]")
    warm = draw(small, *sweep).splitlines()

    assert cold[0] == "[0] small  small -> host (onnxruntime)  steps.quantize.calibration.samples=8"
    for lines in (cold, warm):
        names = re.findall(r"^[ |`-]*[+=] (.*?)  ", "\n".join(lines), re.MULTILINE)
        assert names == ["model", "simplify", "quantize [0]", "evaluate [0]", "quantize [1]", "evaluate [1]"]
    assert any("model=quantize [1], reference=model" in line for line in warm)


def test_the_tree_fits_100_columns(small: Project) -> None:
    names = [f"{'long_name_' * 5}{number}" for number in range(10, 24)]
    chain = [f"+steps@steps.{name}=simplify" for name in names]
    inputs = [f"steps.{name}.inputs.model={before}" for before, name in zip(["model", *names], names, strict=False)]
    ends = (f"steps.simplify.inputs.model={names[-1]}", "steps.quantize.inputs.model=simplify")
    lines = draw(small, "recipe=small", *chain, *inputs, *ends, "--graph").splitlines()

    assert max(map(len, lines)) <= 100
    assert all(sum(f"+ {name}" in line for line in lines) == 1 for name in names)


def test_what_is_deferred_is_dashed_and_says_why(small: Project) -> None:
    words = ("recipe=small", "target=jetson_orin", "steps=[quantize,benchmark]", "steps.quantize.style=tensorrt")
    tree = draw(small, *words, "--graph")
    chart = draw(small, *words, "--graph=mermaid")
    digraph = draw(small, *words, "--graph=dot")
    number = re.search(r'(n\d+)\{\{"benchmark<br/>deferred', chart)

    assert re.search(r"~ benchmark +deferred +model=quantize, baseline=model, tensors=tensors +<- this machine", tree)
    assert number
    assert f'n0 -.->|"baseline"| {number[1]}' in chart
    assert f'n0 -> {number[1]} [label="baseline", style=dashed];' in digraph


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--graph=dots",), "did you mean 'dot'?"),
        (("--graph=png",), "there is: dot, mermaid, text"),
        (("--graph", "output=json"), "--graph draws and output=json lists"),
    ],
)
def test_a_drawing_that_cannot_be_is_a_usage_error(small: Project, words: tuple[str, ...], says: str) -> None:
    done = small.run("plan", "recipe=small", *words)

    assert done.returncode == 2
    assert says in done.stderr


def test_mermaid_has_a_shape_and_a_class_for_each_status(planned: list[Planned]) -> None:
    lines = mermaid([planned], ['a "title"']).splitlines()

    assert lines[:4] == ["---", r'title: "a \"title\""', "---", "flowchart LR"]
    assert [re.sub(r'".*"', "...", line) for line in lines if ":::" in line] == [
        "  n0([...]):::cached",
        "  n1[[...]]:::cannot",
        "  n2{{...}}:::deferred",
        "  n3[...]:::run",
    ]
    assert {line.split()[1] for line in lines if "classDef" in line} == {*WORDS.values()}


def test_what_is_left_out_has_a_shape_of_its_own(planned: list[Planned]) -> None:
    left_out = [*planned[:3], replace(planned[3], decision=replace(planned[3].decision, status=Status.SKIPPED))]

    assert any(re.fullmatch(r'  n3\[/".*"/\]:::skipped', line) for line in mermaid([left_out], []).splitlines())
    assert 'style="filled,dotted"' in dot([left_out], [])
    assert "- evaluate" in text([left_out], [])


def test_mermaid_labels_hold_nothing_that_ends_them(planned: list[Planned]) -> None:
    lines = mermaid([planned], []).splitlines()[4:]
    quoted = r'"(?:[\w .,:;+=@/()\[\]-]|#\d+;|<br/>)*"'
    node = rf"  n\d(\[|\(\[|\{{\{{|\[\[){quoted}(\]|\]\)|\}}\}}|\]\]):::\w+"
    edge = rf"  n\d (-->|-\.->)\|{quoted}\| n\d"

    assert [line for line in lines if not re.fullmatch(f"{node}|{edge}|  classDef .*", line)] == []
    assert "#34;a]b#34;" in "\n".join(lines)


def quoted_strings(line: str) -> str:
    """Return a line with every double-quoted string of the DOT language replaced by S."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', "S", line)


def test_dot_labels_hold_nothing_that_ends_them(planned: list[Planned]) -> None:
    lines = dot([planned], ['a "title"']).splitlines()[1:-1]

    assert {re.sub(r"n\d", "n", quoted_strings(line)).partition("[")[0] for line in lines} == {
        "  graph ", "  node ", "  edge ", "  n ", "  n -> n ",
    }  # fmt: skip
    assert all(quoted_strings(line).count("S") >= 1 and '"' not in quoted_strings(line) for line in lines)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_it(planned: list[Planned]) -> None:
    done = subprocess.run(["dot", "-Tplain"], input=dot([planned], ["t"]), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [sum(line.startswith(kind) for line in done.stdout.splitlines()) for kind in ("node", "edge")] == [4, 4]


@pytest.mark.parametrize("drawing", [text, mermaid, dot])
def test_no_drawing_sends_control_characters(
    planned: list[Planned], drawing: Callable[[list[list[Planned]], list[str]], str]
) -> None:
    drawn = drawing([planned], ["title \x1b[2J"])

    assert "\x1b" not in drawn
    assert "100" in drawn
