"""Texts and how alike they are: read, turned into tokens, and what a model's embeddings make of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from projects import Project
from test_sources import sha256 as digest
from test_sources import wheel

from builder.data.dataset import expected_count, samples
from builder.data.readers import reader_of
from builder.errors import DataError
from builder.locking.inputs import inputs_of
from builder.plan.facts import Facts
from builder.plan.graph import graph
from builder.recipe.compose import compose
from builder.specs import Data, Reader, Split
from builder.store.statcache import StatCache

TEXTS = ["a cat sat", "a dog sat", "the price of £ rose", "shares rose"]
SCORES = [[1.0, 0.9, 0.1, 0.2], [0.0, 1.0, 0.1, 0.1], [0.0, 0.0, 1.0, 0.8], [0.0, 0.0, 0.0, 1.0]]
PAIRS = np.array([(i, j, SCORES[i][j]) for i in range(4) for j in range(i + 1, 4)])


def dataset(root: Path, path: str, labels: str = "", **more: Any) -> Data:
    return Data("texts", Reader.TEXT_PAIRS, root=str(root), splits={"test": Split(path, labels)}, **more)


def read(data: Data) -> list[tuple[str, list[tuple[int, float]]]]:
    """Return each text and, by number, those that it is compared with."""
    return [
        (bytes(sample.value).decode(), [(int(name.rpartition("#")[2]), score) for name, score in sample.scores])  # type: ignore[arg-type]
        for sample in reader_of(data).samples(data, data.splits["test"])
    ]


def write_lines(folder: Path, encoding: str = "utf-8") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.txt").write_bytes("\n".join(TEXTS).encode(encoding))
    (folder / "scores.txt").write_text("\n".join("\t".join(map(str, row)) for row in SCORES))


# reading


def test_lines_and_a_matrix_give_each_text_once_and_each_pair_once(tmp_path: Path) -> None:
    write_lines(tmp_path, "latin-1")
    data = dataset(tmp_path, "texts.txt", "scores.txt", encoding="latin-1")

    assert read(data) == [
        (TEXTS[0], [(1, 0.9), (2, 0.1), (3, 0.2)]),
        (TEXTS[1], [(2, 0.1), (3, 0.1)]),
        (TEXTS[2], [(3, 0.8)]),
        (TEXTS[3], []),
    ]
    assert expected_count(data, "test") == 4


def test_a_pair_that_nobody_scored_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one\r\ntwo\r\n\r\n")
    (tmp_path / "scores.txt").write_text("1, nan, 3\n0, 1, nan\n0, 0, 1\n")

    assert read(dataset(tmp_path, "texts.txt", "scores.txt")) == [("one", [(2, 3.0)]), ("two", []), ("", [])]


@pytest.mark.parametrize(("name", "between"), [("pairs.csv", ","), ("pairs.tsv", "\t")])
def test_equal_texts_of_a_table_are_one(tmp_path: Path, name: str, between: str) -> None:
    rows = [("score", "first", "second"), ("7.5", "tiger", "cat"), ("10", "tiger", "tiger"), ("2", "bird", "cat")]
    (tmp_path / name).write_text("\N{ZERO WIDTH NO-BREAK SPACE}" + "".join(between.join(row) + "\n" for row in rows))

    assert read(dataset(tmp_path, name)) == [("tiger", [(1, 7.5), (0, 10.0)]), ("cat", []), ("bird", [(1, 2.0)])]


def test_texts_without_scores_are_read_too(tmp_path: Path) -> None:
    write_lines(tmp_path)

    assert read(dataset(tmp_path, "texts.txt")) == [(text, []) for text in TEXTS]


@pytest.mark.parametrize(
    ("files", "labels", "words"),
    [
        ({"t.txt": b"caf\xe9"}, "", "cannot be read as utf-8.*latin-1"),
        ({"t.txt": b"a\nb", "s": b"1 2\n3"}, "s", r"no matrix of 2 x 2 .*it has 2 rows of 1 to 2"),
        ({"t.txt": b"a\nb", "s": b"1 x\n0 1"}, "s", "the score 'x' in line 1 of .*s is no number"),
        ({"t.txt": b"a\nb"}, "s", "there is no file of labels 's'|there is no file of scores 's'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, files: dict[str, bytes], labels: str, words: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError) as caught:
        read(dataset(tmp_path, "t.txt", labels))
    assert re.search(words, f"{caught.value.message} {caught.value.hint}")


def test_a_table_without_its_columns_and_an_unknown_encoding_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("text,other,score\na,b,1\n")

    with pytest.raises(DataError, match="has no columns first, second, score"):
        read(dataset(tmp_path, "pairs.csv"))
    with pytest.raises(DataError, match="there is no encoding 'utf-9'"):
        read(dataset(tmp_path, "pairs.csv", encoding="utf-9"))


# arrays with pairs


def test_rows_of_different_lengths_and_their_pairs_come_from_an_npz(tmp_path: Path) -> None:
    ids = np.arange(6)
    np.savez(tmp_path / "t.npz", input_ids=ids, attention_mask=ids * 0 + 1,
             __lengths__=[3, 1, 2], __pairs__=[[0, 2, 0.5]])  # fmt: skip
    data = Data("tokens", Reader.NPZ, root=str(tmp_path), splits={"test": Split("t.npz")})

    found = list(samples(data, "test"))

    assert [sample.value["input_ids"].tolist() for sample in found] == [[0, 1, 2], [3], [4, 5]]
    assert [sample.scores for sample in found] == [(("t.npz#2", 0.5),), (), ()]
    assert expected_count(data, "test") == 3


def test_inputs_of_a_model_may_be_called_lengths_and_pairs(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", tokens=np.arange(6).reshape(2, 3), lengths=[3, 2], pairs=[7, 8])

    found = list(samples(Data("tokens", Reader.NPZ, root=str(tmp_path), splits={"test": Split("t.npz")}), "test"))

    assert [(set(sample.value), sample.scores) for sample in found] == [({"tokens", "lengths", "pairs"}, ())] * 2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"__lengths__": [3, 1]}, "the lengths in .* do not add up to 6"),
        ({"__lengths__": [3, 3], "labels": [1, 2, 3]}, "of different lengths: samples .*2.*, labels .*3"),
        ({"__pairs__": [[0, 6, 0.5]]}, "each is the numbers of two samples, from 0 to 5, and a score"),
        ({"__pairs__": [[0, 1]]}, r"are of shape \[1, 2\]"),
    ],
)
def test_lengths_and_pairs_that_do_not_fit_the_arrays_are_refused(
    tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    np.savez(tmp_path / "t.npz", samples=np.arange(6), **more)

    with pytest.raises(DataError) as caught:
        list(samples(Data("tokens", Reader.NPZ, root=str(tmp_path), splits={"test": Split("t.npz")}), "test"))
    assert re.search(words, f"{caught.value.message} {caught.value.hint}")


# a model of texts


WORDS = ["[UNK]", "a", "cat", "dog", "sat", "the", "price", "of", "rose", "shares"]
RECIPE = """\
# @package _global_
defaults:
  - override /model: words
  - override /data: texts
  - override /steps: [quantize, evaluate]
  - _self_
name: words
steps: {quantize: {mode: dynamic}}
gates: {max_accuracy_drop: 0.5}
"""


def words_model(path: Path, vectors: NDArray[np.float32]) -> None:
    """Write a model that takes words by number and gives the mean of their vectors, made longer by a matrix."""
    matrix = np.eye(vectors.shape[1], dtype=np.float32) * 3
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["looked_up"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["looked_up", "weights"], ["weighted"]),
        helper.make_node("ReduceMean", ["weighted"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "matrix"], ["embedding"], "longer"),
    ]
    parts = {"words": vectors, "matrix": matrix, "last": np.array([2])}
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", vectors.shape[1]])]
    tensors = [numpy_helper.from_array(array, name) for name, array in parts.items()]
    graph = helper.make_graph(nodes, "words", inputs, outputs, tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_project(project: Project, data: str) -> Project:
    random = np.random.default_rng(0)
    words_model(project.folder / "words.onnx", random.standard_normal((len(WORDS), 8)).astype(np.float32))
    project.write("conf/model/words.yaml", "name: words\npath: words.onnx\ntask: similarity\n")
    project.write("conf/data/texts.yaml", f"name: texts\nroot: samples\n{data}")
    project.write("recipes/words.yaml", RECIPE)
    write_lines(project.folder / "samples")
    return project


def evaluation(project: Project) -> dict[str, Any]:
    report = json.loads((project.folder / "outputs/words/latest/report.json").read_text())
    return {**report["evaluations"]["evaluate"], "finding": report["findings"]["evaluate"]}


def test_pairs_of_samples_are_judged_by_the_rank_correlation_of_their_cosines(project: Project) -> None:
    write_project(project, "reader: npz\nsplits: {test: {path: t.npz}}\n")
    ids = [np.array([WORDS.index(word) if word in WORDS else 0 for word in text.split()]) for text in TEXTS]
    flat = np.concatenate(ids)
    lengths = [len(each) for each in ids]
    np.savez(
        project.folder / "samples/t.npz",
        input_ids=flat,
        attention_mask=flat * 0 + 1,
        __lengths__=lengths,
        __pairs__=PAIRS,
    )

    done = project.run("recipe=words")
    found = evaluation(project)

    assert done.returncode == 0, done.stderr
    vectors = np.random.default_rng(0).standard_normal((len(WORDS), 8)).astype(np.float32)
    means = np.stack([vectors[each].mean(axis=0) for each in ids])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    cosines = [means[int(i)] @ means[int(j)] for i, j, _ in PAIRS]
    ranks = [{0.9: 6, 0.8: 5, 0.2: 4, 0.1: 2}[score] for score in PAIRS[:, 2]]  # three share 1, 2 and 3
    expected = np.corrcoef(ranks, np.argsort(np.argsort(cosines)))[0, 1]
    assert found["primary"] == "spearman"
    assert found["metrics"]["spearman"]["reference"] == pytest.approx(expected)
    assert (found["task"], found["samples"], found["pairs"], found["labelled"]) == ("similarity", 4, 6, True)
    assert "in Spearman correlation" in found["finding"]
    assert "points" not in found["finding"]
    page = (project.folder / "outputs/words/latest/report.html").read_text()
    assert "Accuracy, Spearman correlation" in page
    assert "4 samples of test in 6 scored pairs" in page


def test_only_pairs_of_samples_that_were_run_count(project: Project) -> None:
    write_project(project, "reader: npz\nsplits: {test: {path: t.npz}}\n")
    np.savez(project.folder / "samples/t.npz", input_ids=np.arange(8).reshape(4, 2),
             attention_mask=np.ones((4, 2), int), __pairs__=PAIRS)  # fmt: skip

    done = project.run("recipe=words", "steps.evaluate.samples=3")

    assert done.returncode == 0, done.stderr
    assert (evaluation(project)["samples"], evaluation(project)["pairs"]) == (3, 3)


def test_a_similarity_without_scored_pairs_is_fidelity_alone(project: Project) -> None:
    write_project(project, "reader: npz\nsplits: {test: {path: t.npz}}\n")
    np.savez(
        project.folder / "samples/t.npz", input_ids=np.arange(8).reshape(4, 2), attention_mask=np.ones((4, 2), int)
    )

    done = project.run("recipe=words", "gates.max_accuracy_drop=null")
    asked = project.run("recipe=words", "steps.evaluate.metrics=[spearman]")

    assert done.returncode == 0, done.stderr
    assert evaluation(project)["primary"] is None
    assert "spearman cannot be measured: the data has no scored pairs" in asked.stdout + asked.stderr


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("reader: text_pairs\n", "data 'texts' holds texts, and nothing makes numbers of them"),
        ("reader: npz\ntokenizer: {path: t.json}\n", "what the reader npz reads are no texts"),
        ("reader: text_pairs\ntokenizer: {max_length: 3}\n", "data.tokenizer: expected exactly one of path and wheel"),
        ("reader: text_pairs\ntokenizer: {path: t.json, max_length: 0}\n", "max_length is at least 1, got 0"),
        ("reader: text_pairs\ntokenizer: {path: t.json, inputs: [ids]}\n", "inputs are some of input_ids"),
        (
            "reader: text_pairs\ntokenizer: {wheel: {name: a, version: '1', member: t.json}}\n",
            "data.tokenizer: sha256 is missing",
        ),
        ("reader: text_pairs\ntokenizer: {path: t.json, toolchain: txt}\n", "there is no toolchain 'txt'.*text"),
    ],
)
def test_texts_that_nothing_can_make_numbers_of_are_a_mistake_in_the_recipe(
    project: Project, data: str, words: str
) -> None:
    write_project(project, f"{data}splits: {{test: {{path: texts.txt, labels: scores.txt}}}}\n")

    done = project.run("plan", "recipe=words")

    assert done.returncode == 2, done.stdout
    assert re.search(words, " ".join(done.stderr.split()))


def test_a_tokenizer_that_is_not_there_is_named(project: Project) -> None:
    write_project(project, TOKENIZED)

    assert "data.tokenizer.path: cannot read tokenizer.json" in project.run("plan", "recipe=words").stdout


def test_verify_takes_a_fetched_tokenizer_for_what_its_sha256_says(project: Project) -> None:
    file = project.write("tokenizer.json", tokenizer(WORDS))
    archive = wheel(project.folder / "wheels", file)
    project.environment.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(archive.parent))
    place = "wheel: {name: tiny-model, version: '1.0', member: tiny_model/data/model.onnx}"
    write_project(
        project, TOKENIZED.replace("path: tokenizer.json", f"{place}, toolchain: host, sha256: {digest(file)}")
    )

    done = project.run("verify", "recipe=words", "output=json")

    verdicts = {action["name"]: action for action in json.loads(done.stdout)["actions"]}
    assert verdicts["tokenizer"]["verdict"] == "equal", verdicts["tokenizer"]
    assert "declared" in verdicts["tokenizer"]["reason"]


def test_a_lock_knows_a_tokenizer_by_its_bytes_and_not_by_its_place(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(project, TOKENIZED.replace("path: tokenizer.json", f"path: {project.folder}/tokenizer.json"))
    file = project.write("tokenizer.json", tokenizer(WORDS))
    monkeypatch.chdir(project.folder)
    recipe = compose(["recipe=words"])
    with closing(StatCache(Path(os.devnull))) as stats:
        found = inputs_of(recipe, graph(recipe), Facts(stats), ())

    assert found["inputs"]["tokenizer"] == {"sha256": digest(file)}
    assert found["settings"]["data"]["tokenizer"] == {"max_length": 3}
    assert set(found["inputs"]["data"]["test"]) == {"texts.txt", "scores.txt"}
    assert str(project.folder) not in json.dumps(found)


# with the library


TOKENIZED = """\
reader: text_pairs
splits: {test: {path: texts.txt, labels: scores.txt}}
tokenizer: {path: tokenizer.json, max_length: 3}
"""


def tokenizer(words: list[str]) -> str:
    """Return a tokenizer.json of words between spaces, with a padding that is not to be used."""
    return json.dumps({
        "version": "1.0",
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]"},
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": {word: at for at, word in enumerate(words)}, "unk_token": "[UNK]"},
    })  # fmt: skip


_USERS = ("HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@pytest.fixture
def online(project: Project) -> Project:
    """A project that reaches the package index as the user does."""
    for name, value in os.environ.items():
        if name in _USERS or name.startswith(("PIP_", "UV_")):
            project.environment[name] = value
    return project


def build(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    done = project.run(*words)
    for reason in ("cannot fetch", "the package index", "there is no Python"):
        if done.returncode and reason in done.stdout:
            pytest.skip(f"what is needed cannot be had here: {reason}")
    return done


@pytest.mark.formats
def test_texts_become_tokens_in_a_toolchain_and_anew_only_when_the_tokenizer_or_a_text_changes(
    online: Project,
) -> None:
    project = write_project(online, TOKENIZED)
    project.write("tokenizer.json", tokenizer(WORDS))

    def built() -> dict[str, str]:
        done = build(project, "recipe=words", "output=json")
        assert done.returncode == 0, done.stderr
        actions = json.loads(done.stdout)["actions"]
        assert next(each for each in actions if each["name"] == "tokens")["facts"] == {
            "test": "4 texts of up to 3 tokens, 1 of them cut"
        }
        return {each["name"]: each["status"] for each in actions}

    assert built()["tokens"] == "built"
    assert evaluation(project)["pairs"] == 6
    project.write("samples/README.md", "texts")
    assert set(built().values()) == {"cached"}
    project.write("tokenizer.json", tokenizer(WORDS[::-1]))
    assert built()["evaluate"] == "built"
    project.write("tokenizer.json", "{}")
    assert "cannot read the tokenizer" in build(project, "recipe=words").stdout


@pytest.mark.formats
def test_minilm_ranks_the_pairs_of_lee_as_well_in_int8(online: Project) -> None:
    done = build(online, "recipe=minilm_int8", "~steps.benchmark", "output=json")

    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    report = json.loads((online.folder / "outputs/minilm_int8/latest/report.json").read_text())
    found = report["evaluations"]["evaluate"]
    assert (found["samples"], found["pairs"]) == (50, 1225)
    assert found["metrics"]["spearman"]["reference"] == pytest.approx(0.508, abs=0.001)
    assert found["metrics"]["spearman"]["candidate"] > 0.48
    assert {gate["status"] for gate in manifest["gates"]} == {"passed"}
    assert report["conversion"]["difference"] < 1e-4
