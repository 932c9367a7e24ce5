"""summary.md: what a CI job shows of a build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from projects import Project, write_small

from builder.report.summary import code, summary, text

HOSTILE = "<script>x</script> | [a](http://b.c) ![i](j) @me `x` **b** _c_ ~~d~~ www.evil.com #1 &lt; $e$"


def parse(markdown: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)


def inline(markdown: str) -> list[Token]:
    return [child for token in parse(markdown) for child in token.children or []]


def shown(markdown: str) -> str:
    return "".join(token.content for token in inline(markdown) if token.type in ("text", "text_special", "code_inline"))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with a gate that passed and one that failed, and a hostile recipe: to be read only."""
    project = write_small(Project(tmp_path_factory.mktemp("judged") / "project"))
    recipe = project.folder / "recipes/small.yaml"
    words = recipe.read_text().replace("summary: a small network", f"summary: '{HOSTILE}'")
    recipe.write_text(words.replace("max_size_mib: 1", "max_size_mib: 1, min_snr_db: 500"))
    assert project.run("recipe=small", "+steps.evaluate.samples=40").returncode == 1
    return next((project.folder / "outputs/small").iterdir())


def test_it_says_the_verdict_the_four_numbers_every_gate_and_the_command(judged: Path) -> None:
    markdown = (judged / "summary.md").read_text()
    report = json.loads((judged / "report.json").read_text())
    cells = [token.content for token in parse(markdown) if token.type == "inline"]
    fences = [token.content for token in parse(markdown) if token.type == "fence"]

    assert f"{report['verdict']}." in shown(markdown)
    assert {"Size", "Accuracy, top1", "Latency, median", "Memory, peak"} <= set(cells)
    assert {"`max_size_mib`", "`min_snr_db`", "**failed**", "passed"} <= set(cells)
    assert fences == [f"{report['manifest']['command']}\n"]


def test_every_row_of_a_table_has_as_many_cells_as_its_head(judged: Path) -> None:
    tokens = [token.type for token in parse((judged / "summary.md").read_text())]

    assert tokens.count("table_open") == 2
    assert tokens.count("td_open") == 4 * 6 + 2 * 6


def test_what_a_recipe_says_is_shown_as_it_is_written(judged: Path) -> None:
    markdown = (judged / "summary.md").read_text()
    kinds = {token.type for token in [*parse(markdown), *inline(markdown)]}

    assert HOSTILE in shown(markdown)
    assert not kinds & {"link_open", "image", "em_open", "s_open", "html_block"}
    assert {token.content for token in inline(markdown) if token.type == "html_inline"} == {"<!-- -->"}
    assert "@me" not in markdown
    assert "www.evil" not in markdown
    assert "http://b" not in markdown


@pytest.mark.parametrize(
    "words", ["- a", "1. a", "+ b", "# c", "> d", "=== e", "```", "| x |", "~~~", "\x1b[31m red", "a\n# b"]
)
def test_no_text_begins_a_list_a_heading_a_quotation_or_a_block(words: str) -> None:
    assert [token.type for token in parse(text(words))] == ["paragraph_open", "inline", "paragraph_close"]
    assert "\x1b" not in text(words)


@pytest.mark.parametrize("words", ["a", "`", "a``b", "``", "a|b", " "])
def test_code_ends_where_its_text_does(words: str) -> None:
    (span,) = inline(code(words))

    assert (span.type, span.content.strip()) == ("code_inline", words.strip())


def test_one_report_gives_the_bytes_that_were_delivered(judged: Path) -> None:
    assert summary(json.loads((judged / "report.json").read_text())) == (judged / "summary.md").read_text()
