"""report.json and report.html: three builds as they happen, and what their page must say."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import re
import subprocess
import sys
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from builder.report import charts, findings, graph, schema
from builder.report import format as words
from builder.report.document import report_document
from builder.report.page import render
from builder.report.sections import size
from builder.report.summary import summary

Report = dict[str, Any]

HOST = {
    "arch": "x86_64",
    "processor": "Intel Xeon 6975P-C",
    "cores": 2,
    "instruction_set": "avx512_vnni",
    "memory_gib": 8,
    "python": "3.11.2",
}
SOURCE_BYTES = 561_408
INT8_BYTES = 171_844
XEON = "Intel Xeon 6975P-C, 2 cores"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def action(name: str, status: str = "built", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "step": name.partition("@")[0],
        "status": status,
        "reason": "first build" if status == "built" else "",
        "key": digest(f"key {name}"),
        "inputs": {},
        "outputs": {},
        "reproducible": "bitwise",
        "toolchain": {"numpy": "2.3.4", "onnx": "1.20.0"},
        "seconds": 1.234,
        "facts": {},
        **more,
    }


def output(name: str, size: int, file: str = "model") -> dict[str, Any]:
    return {"path": f"artifacts/{name}", "sha256": digest(f"{name} {file}"), "bytes": size}


def fed(**sources: str) -> dict[str, Any]:
    """The inputs of an action, by port, from the actions that made them."""
    return {"inputs": {port: digest(f"{name} model") for port, name in sources.items()}, "sources": sources}


def chain() -> list[dict[str, Any]]:
    source = output("model", SOURCE_BYTES) | {"path": None}
    return [
        action("model", "cached", step="source", outputs={"model": source}, seconds=None),
        action(
            "simplify",
            "cached",
            **fed(model="model"),
            outputs={"model": output("simplify", 548_211)},
            facts={"nodes": "164 -> 101"},
            seconds=None,
        ),
        action(
            "quantize",
            **fed(model="simplify"),
            outputs={"model": output("quantize", INT8_BYTES)},
            facts={"quantized": "52 of 53 layers", "calibration": {"method": "entropy", "samples": 256}},
            reproducible="per_cpu",
            reason="calibration.samples 128 -> 256",
            seconds=14.2,
        ),
        action(
            "evaluate",
            **fed(model="quantize", reference="model"),
            outputs={"evaluation": output("evaluate", 1422, "evaluation")},
            reproducible="per_cpu",
            reason="input changed: quantize",
            facts={"top1": "0.9312 -> 0.9303 (-0.09 points)", "samples": "10,000"},
            seconds=6.81,
        ),
    ]


def manifest(name: str, target: dict[str, Any], actions: list[dict[str, Any]], **more: Any) -> Report:
    artifact = {
        "path": "artifacts/quantize/model.onnx",
        "sha256": digest("model.onnx"),
        "bytes": INT8_BYTES,
        "kind": "onnx",
        "action": "quantize",
    }
    return {
        "schema": 1,
        "name": name,
        "summary": "MobileNet in INT8",
        "status": "built",
        "recipe": {"name": name, "model": {"name": "fashion_mobilenet"}, "data": {"name": "fashion_mnist"}},
        "sha256": digest(name),
        "builder": "0.1.0",
        "command": f"python -m builder recipe={name}",
        "created": "2026-11-21T09:14:59+00:00",
        "host": HOST,
        "target": target,
        "actions": actions,
        "artifacts": [artifact],
        "gates": [],
        **more,
    }


def gate(name: str, limit: float, value: float | None, status: str = "passed", **more: Any) -> dict[str, Any]:
    where = None if value is None else XEON if name.startswith(("max_latency", "max_memory")) else "host"
    message = f"{name}: the limit is {limit:g}"
    told = {"interval": None, "status": status, "measured_on": where, "message": message}
    return {"name": name, "limit": limit, "value": value, **told, **more}


def evaluation(drop: float = 0.0009, interval: tuple[float, float] = (-0.0005, 0.0023)) -> dict[str, Any]:
    paired = {"confidence": 0.95, "method": "Newcombe 1998, method 10"}
    top1 = {"reference": 0.9312, "candidate": 0.9312 - drop, "drop": drop, "interval": list(interval), **paired}
    top5 = {"reference": 0.9987, "candidate": 0.9985, "drop": 0.0002, "interval": [-0.0001, 0.0005], **paired}
    return {
        "schema": 1,
        "task": "classification",
        "split": "test",
        "samples": 10_000,
        "labelled": True,
        "primary": "top1",
        "metrics": {"top1": top1, "top5": top5},
        "fidelity": {
            "snr_db": 27.31,
            "cosine": 0.99912,
            "agreement": 0.9873,
            "max_abs_difference": 2.113,
            "identical": False,
        },
        "overlap": {"checked": [1024, 10_000], "shared": 0},
    }


def subject(name: str, median_ms: float, runs: int = 1200, slowing: float = 0.0) -> dict[str, Any]:
    dice = random.Random(name)
    samples = [median_ms * dice.lognormvariate(0, 0.03) * (1 + slowing * run / runs) for run in range(runs)]
    samples[runs // 3] = 6 * median_ms
    ordered = sorted(samples)
    percentiles = {f"p{p}": charts.quantile(ordered, p / 100) for p in (50, 90, 99)}
    spread = {"mean": sum(samples) / runs, "min": ordered[0], "max": ordered[-1], "std": 0.04 * median_ms}
    return {
        "name": name,
        "runtime": "onnxruntime",
        "runtime_version": "1.31.1",
        "threads": 1,
        "batch": 1,
        "latency_ms": {**percentiles, **spread},
        "p99_valid": runs >= 1000,
        "spread": {"name": "iqr_over_median", "value": 0.041},
        "runs": runs,
        "warmup_runs": 50,
        "load_ms": 12.4,
        "memory_mib": 11.2 if name == "baseline" else 8.4,
        "bytes": SOURCE_BYTES if name == "baseline" else INT8_BYTES,
        "blocks_ms": [],
        "samples_ms": samples,
        "samples_every": 1,
    }


def measurement(ratio: float = 0.53, interval: tuple[float, float] = (0.52, 0.54), **more: Any) -> dict[str, Any]:
    compared = {
        "of": "candidate",
        "to": "baseline",
        "value": ratio,
        "interval": list(interval),
        "confidence": 0.95,
        "ranked": not interval[0] <= 1 <= interval[1],
        "words": "",
    }
    return {
        "schema": 1,
        "subjects": [subject("baseline", 0.778), subject("candidate", 0.412, **more)],
        "ratios": [compared],
        "noisy": False,
        "host": {**HOST, "os": "Debian GNU/Linux 12", "versions": {"onnxruntime": "1.31.1"}},
        "load_average": {"before": [0.12, 0.2, 0.1], "after": [0.98, 0.4, 0.2]},
        "taken_at": "2026-11-21T09:14:41+00:00",
        "seconds": 11.2,
    }


def jetson_int8() -> Report:
    jetson = {"name": "jetson_orin", "arch": "aarch64", "accelerator": "cuda", "runtime": "tensorrt"}
    waits = "TensorRT is not installed and no NVIDIA GPU is visible"
    timed = {"measurement": output("benchmark@host", 61_204, "measurement")}
    actions = [
        *chain(),
        action("compile", "deferred", **fed(model="quantize"), reason=waits, reproducible="replayable", seconds=0.4),
        action("benchmark", "deferred", key=None, sources={"model": "compile"}, reason="needs compile", seconds=None),
        action(
            "benchmark@host",
            **fed(model="quantize", baseline="model"),
            outputs=timed,
            reproducible="measured",
            seconds=11.2,
            measured="2026-11-21T09:14:41+00:00",
        ),
    ]
    gates = [
        gate("max_accuracy_drop", 0.01, 0.0009, interval=[-0.0005, 0.0023]),
        gate("max_size_mib", 2, 0.1639),
        gate("max_latency_ms.p50", 2.5, None, "deferred", message="waits for the target"),
    ]
    document = manifest(
        "jetson_int8",
        jetson,
        actions,
        status="deferred",
        gates=gates,
        kit={"path": "kit.tar", "sha256": "0" * 64, "bytes": 1_000_000},
    )
    return report_document(
        document,
        {"evaluate": evaluation()},
        {"benchmark@host": measurement()},
        baseline_bytes=SOURCE_BYTES,
        candidate_bytes=INT8_BYTES,
    )


def cpu_int8(
    *, tested: dict[str, Any] | None = None, timed: dict[str, Any] | None = None, broken: str = "", **more: Any
) -> Report:
    actions = [*chain(), action("benchmark", **fed(model="quantize", baseline="model"), reproducible="measured")]
    gates = [
        gate("max_accuracy_drop", 0.01, 0.0009, interval=[-0.0005, 0.0023]),
        gate("max_size_mib", 0.2, 0.1639),
        gate("max_latency_ms.p99", 1, 0.447),
        gate("max_memory_mib", 16, 8.4),
        gate("min_agreement", 0.98, 0.9873),
        gate("min_snr_db", 20, 27.31),
    ]
    gates = [each | {"status": "failed"} if each["name"] == broken else each for each in gates]
    document = manifest("cpu_int8", {"name": "host", "runtime": "onnxruntime"}, actions, gates=gates) | more
    return report_document(
        document,
        {"evaluate": tested or evaluation()},
        {"benchmark": timed or measurement()},
        baseline_bytes=SOURCE_BYTES,
        candidate_bytes=INT8_BYTES,
    )


def with_section(report: Report, name: str, document: dict[str, Any]) -> Report:
    """Return the report with one action more, and what that one wrote for its section of the page."""
    manifest = {**report["manifest"], "actions": [*report["manifest"]["actions"], action(name)]}
    return report_document(
        manifest,
        report["evaluations"],
        report["measurements"],
        sections={name: document},
        baseline_bytes=SOURCE_BYTES,
        candidate_bytes=INT8_BYTES,
    )


def failed_build() -> Report:
    source, simplify, quantize, evaluate = chain()
    quantize |= {
        "status": "failed",
        "outputs": {},
        "facts": {},
        "error": "exclude pattern 'heads/*' matches no node of the model",
        "hint": "did you mean 'head/*'?",
        "seconds": 0.2,
    }
    skipped: dict[str, Any] = {
        "status": "skipped",
        "inputs": {},
        "outputs": {},
        "facts": {},
        "key": None,
        "reason": "needs quantize",
    }
    evaluate |= {**skipped, "seconds": None}
    benchmark = action("benchmark", sources={"model": "quantize", "baseline": "model"}) | {**skipped, "seconds": None}
    document = manifest(
        "cpu_int8",
        {"name": "host", "runtime": "onnxruntime"},
        [source, simplify, quantize, evaluate, benchmark],
        status="failed",
        artifacts=[],
        gates=[gate("max_accuracy_drop", 0.01, None, "unmeasured")],
    )
    return report_document(document, {}, {}, baseline_bytes=SOURCE_BYTES, candidate_bytes=None)


def cpu_openvino() -> Report:
    ran = {"device": "Intel Xeon 6975P-C", "precision": "int8, fp32", "accelerated": None}
    timed = measurement()
    ran |= {"runtime": "openvino", "runtime_version": "2026.4.1"}
    timed["subjects"].append({**subject("openvino", 0.311), **ran})
    for other, value in (("baseline", 0.4), ("candidate", 0.755)):
        about = {"of": "openvino", "to": other, "value": value, "interval": [value - 0.01, value + 0.01]}
        timed["ratios"].append({**timed["ratios"][0], **about})
    compiled = {**evaluation(0.0011), "executions": {"reference": {"runtime": "onnxruntime"}, "candidate": ran}}
    actions = [
        *chain(),
        action("compile", **fed(model="quantize"), outputs={"ir": output("compile", 301_000)}),
        action("benchmark", **fed(model="quantize", baseline="model", compiled="compile"), reproducible="measured"),
        action("evaluate@openvino", **fed(model="compile", reference="model"), step="evaluate"),
    ]
    return report_document(
        manifest("cpu_openvino", {"name": "host", "runtime": "onnxruntime"}, actions),
        {"evaluate": evaluation(), "evaluate@openvino": compiled},
        {"benchmark": {**timed, "ships": "openvino"}},
        baseline_bytes=SOURCE_BYTES,
        candidate_bytes=301_000,
    )


BUILDS = {"deferred": jetson_int8, "built": cpu_int8, "compiled": cpu_openvino, "failed": failed_build}


@pytest.fixture(params=BUILDS)
def report(request: pytest.FixtureRequest) -> Report:
    return BUILDS[request.param]()


def plain(text: str) -> str:
    """Text as a keyboard writes it."""
    signs = {"MINUS SIGN": "-", "MULTIPLICATION SIGN": "x", "EN DASH": "-", "NO-BREAK SPACE": " "}
    return text.translate({ord(unicodedata.lookup(name)): sign for name, sign in signs.items()})


class Page(HTMLParser):
    """What a page is made of: its tags are balanced, and this is its text, its links and its ids."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.pieces: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return plain(" ".join(" ".join(self.pieces).split()))

    def values(self, name: str) -> list[str]:
        return [value for _, known, value in self.attributes if known == name]


def test_the_documents_follow_their_schemas(report: Report) -> None:
    schemas = {name: schema.load(name) for name in ("manifest", "report")}
    registry: Registry[Any] = Registry().with_resources(
        (each["$id"], Resource.from_contents(each)) for each in schemas.values()
    )
    for each in schemas.values():
        Draft202012Validator.check_schema(each)

    Draft202012Validator(schemas["manifest"]).validate(report["manifest"])
    Draft202012Validator(schemas["report"], registry=registry).validate(json.loads(json.dumps(report)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "ok"},
        {"sha256": "abc"},
        {"name": "../up"},
        {"gates": [gate("max_size_mib", 2, 1, "kept")]},
        {"actions": [action("simplify", "ran")]},
        {"artifacts": [{"path": "/etc/x", "sha256": digest("x"), "bytes": 1, "kind": "onnx", "action": "q"}]},
        {"surprise": 1},
    ],
)
def test_the_manifest_schema_refuses_what_is_wrong(wrong: dict[str, Any]) -> None:
    document = cpu_int8()["manifest"]

    assert Draft202012Validator(schema.load("manifest")).is_valid(document)
    assert not Draft202012Validator(schema.load("manifest")).is_valid(document | wrong)


def test_every_part_of_the_page_is_there_whatever_was_measured(report: Report) -> None:
    page = Page(render(report))

    ids = [name for name in page.values("id") if not name.startswith(("i-", "action-"))]
    compared = ["before-after"] if report["measurements"] else []
    parts = ["gates", *compared, "steps", "latency", "size", "accuracy", "actions", "reproduce"]
    assert parts == [name.removesuffix("-1") for name in ids if not name.endswith("-2")]
    assert page.text.count("None") == 0
    assert "nan" not in page.text


def test_the_page_asks_nothing_of_any_network(report: Report) -> None:
    html = render(report)
    page = Page(html)

    links = page.values("href") + page.values("src")
    assert all(link.startswith(("#", "./", "data:,")) or link in ("report.json", "manifest.json") for link in links)
    assert not re.search(r"https?://|url\(|@import", html)
    assert {link for link in links if link.startswith("#")} <= {f"#{name}" for name in page.values("id")}
    policy = next(value for value in page.values("content") if value.startswith("default-src"))
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    assert script is not None
    assert "default-src 'none'" in policy
    assert policy_hash(script[1]) in policy


def policy_hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def test_words_from_outside_never_become_markup() -> None:
    evil = "</title><script>alert(1)</script><img src=http://x onerror=alert(2)>\" onload='x'"
    report = cpu_int8(summary=evil, command=evil, host=HOST | {"processor": evil})
    benign = render(cpu_int8())
    for each in report["manifest"]["actions"]:
        each |= {"reason": evil, "facts": {evil: evil}, "error": evil, "toolchain": {evil: evil}}
    report["manifest"]["artifacts"][0]["path"] = 'javascript:alert(1)//" onclick="x'
    for each in report["manifest"]["gates"]:
        each |= {"message": evil, "measured_on": evil}
    report["measurements"]["benchmark"]["host"]["processor"] = evil
    report["evaluations"]["evaluate"]["split"] = evil

    html = render(report)

    assert html.count("<script") == benign.count("<script") == 1
    assert "<img" not in html
    page = Page(html)
    assert not {name for _, name, _ in page.attributes if name.startswith("on")}
    assert not [link for link in page.values("href") if link.startswith(("javascript:", "http"))]
    assert evil in "".join(page.pieces)


def test_the_same_report_is_the_same_bytes_in_another_process(report: Report, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(report))
    program = "import json, sys; from builder.report.page import render; print(render(json.load(open(sys.argv[1]))))"

    html = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "report.json")],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path), "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    ]

    assert html[0] == html[1] == render(report) + "\n"


def test_what_waits_for_the_target_is_said_and_not_replaced() -> None:
    report = jetson_int8()
    page = Page(render(report))

    assert report["verdict"] == "Built as far as this host can; compile and benchmark wait for jetson_orin"
    assert report["headline"]["latency"]["on_target"] is False
    assert report["headline"]["latency"]["gate"] == "deferred"
    assert report["headline"]["latency"]["measured_on"] == XEON
    finding = plain(report["findings"]["benchmark@host"])
    assert "1.89 x as fast as fashion_mobilenet [1.85, 1.92] on this host, not on jetson_orin" in finding
    assert finding in page.text
    assert "The engine that compile makes is not counted: it waits for jetson_orin." in page.text
    assert "Take kit.tar to jetson_orin" in page.text


def test_a_measurement_on_the_target_comes_before_one_on_the_host() -> None:
    report = jetson_int8()
    orin = measurement(0.25, (0.24, 0.26))
    orin["host"] = {"processor": "Cortex-A78AE", "cores": 6}

    both = report_document(
        report["manifest"],
        report["evaluations"],
        {"benchmark": orin, **report["measurements"]},
        baseline_bytes=SOURCE_BYTES,
        candidate_bytes=INT8_BYTES,
    )

    assert both["headline"]["latency"]["measured_on"] == "Cortex-A78AE, 6 cores"
    assert both["headline"]["latency"]["on_target"] is True
    assert both["findings"]["benchmark"].endswith("on jetson_orin")
    assert "latency-2" in Page(render(both)).values("id")


def test_an_onnxruntime_target_of_this_architecture_is_this_machine() -> None:
    def here(target: dict[str, Any]) -> bool:
        return findings.Names(manifest("x", target, [])).target_is_here

    assert here({"name": "host", "runtime": "onnxruntime"})
    assert here({"name": "desktop", "runtime": "onnxruntime", "arch": "x86_64"})
    assert not here({"name": "raspberry", "runtime": "onnxruntime", "arch": "aarch64"})
    assert not here({"name": "jetson_orin", "runtime": "tensorrt", "arch": "aarch64"})


def test_a_finished_build_leads_with_its_four_numbers() -> None:
    report = cpu_int8()
    text = Page(render(report)).text

    assert "Built for this host; all 6 gates passed." in text
    assert "3.3 x smaller" in text
    assert "0.09 points" in text
    assert "1.9 x faster" in text
    assert "1.3 x less" in text
    kept = "cpu_int8 cannot be told from fashion_mobilenet in top1: -0.09 points [-0.23, 0.05] on this host"
    assert f"{kept}; the limit is a loss of 1 point" in text
    assert "Intel Xeon 6975P-C, 2 cores" in text
    assert digest("model.onnx") in text


def test_a_failed_build_says_what_failed_and_what_is_therefore_missing() -> None:
    text = Page(render(failed_build())).text

    assert "Not built for this host: quantize failed; 2 actions were skipped because of it." in text
    assert "quantize : exclude pattern 'heads/*' matches no node of the model" in text
    assert "did you mean 'head/*'?" in text
    assert "Accuracy was not measured: evaluate was skipped: needs quantize." in text
    assert "Latency was not measured: benchmark was skipped: needs quantize." in text
    assert "No file was delivered." in text


def test_a_broken_gate_is_named_in_the_verdict() -> None:
    report = cpu_int8(broken="max_size_mib", status="failed")

    assert report["verdict"] == "Built for this host, but not good enough: max_size_mib is broken"
    assert report["headline"]["size"]["gate"] == "failed"
    assert "5 of 6 gates passed; 1 is broken" in Page(render(report)).text


def test_a_recipe_without_steps_to_measure_is_told_how_to_add_them() -> None:
    document = manifest("bare", {"name": "host"}, chain()[:3])
    report = report_document(document, {}, {}, baseline_bytes=SOURCE_BYTES, candidate_bytes=INT8_BYTES)
    text = Page(render(report)).text

    assert "Accuracy was not measured: the recipe has no step evaluate. Add it with +steps=evaluate." in text
    assert "the recipe has no step benchmark" in text
    assert "The recipe sets no limits" in text


def test_a_build_of_nothing_has_a_page() -> None:
    document = manifest("empty", {"name": "host"}, [], artifacts=[], recipe={})
    report = report_document(document, {}, {}, baseline_bytes=None, candidate_bytes=None)

    assert "Nothing ran" in Page(render(report)).text


def test_speeds_that_cannot_be_told_apart_are_not_ranked() -> None:
    report = cpu_int8(timed=measurement(0.99, (0.96, 1.02)))
    text = Page(render(report)).text

    assert "cannot be ranked on this host: the interval of their ratio, [0.960, 1.02], contains 1" in text
    assert "no clear difference" in text
    assert "faster" not in text


def test_what_was_compiled_leads_and_stands_beside_what_it_was_compiled_from() -> None:
    built = cpu_openvino()
    page = Page(render(built))

    assert plain(built["findings"]["benchmark"]) == (
        "cpu_openvino in OpenVINO is 2.50 x as fast as fashion_mobilenet [2.44, 2.56] on this host; "
        "it is 1.32 x as fast as cpu_openvino in ONNX Runtime [1.31, 1.34]"
    )
    assert built["headline"]["latency"]["candidate"] == pytest.approx(0.311, rel=0.01)
    assert built["headline"]["latency"]["change"] == 0.4
    lost = "cpu_openvino in OpenVINO cannot be told from fashion_mobilenet in top1: -0.11 points"
    assert plain(built["findings"]["evaluate@openvino"]).startswith(lost)
    assert "OpenVINO 2026.4.1: int8, fp32" in page.text
    subjects = [page.text.index(f"cpu_openvino in {runtime}") for runtime in ("OpenVINO", "ONNX Runtime")]
    assert subjects == sorted(subjects)


def test_a_slower_candidate_is_called_slower() -> None:
    report = cpu_int8(timed=measurement(1.5, (1.4, 1.6)))

    assert "1.50 x as slow as fashion_mobilenet [1.40, 1.60]" in plain(report["findings"]["benchmark"])
    assert "1.5 x slower" in Page(render(report)).text


def test_throttling_is_seen() -> None:
    text = Page(render(cpu_int8(timed=measurement(slowing=0.3)))).text

    assert re.search(r"cpu_int8 slowed by 1\d % from the first third of the runs to the last", text)
    assert "No drift" in Page(render(cpu_int8())).text


def test_too_few_runs_have_no_99th_percentile() -> None:
    assert "too few runs" in Page(render(cpu_int8(timed=measurement(runs=200)))).text
    assert "too few runs" not in Page(render(cpu_int8())).text


def test_a_measurement_without_samples_or_comparison_is_still_shown() -> None:
    alone = measurement()
    alone["subjects"] = [{"name": "candidate", "latency_ms": {"p50": 0.4}}]
    alone["ratios"] = []
    report = cpu_int8(timed=alone)

    assert plain(report["findings"]["benchmark"]) == "cpu_int8 takes 0.400 ms at the median on this host"
    assert "Runs in the order they were taken" in Page(render(report)).text


def test_a_gain_reads_as_a_gain() -> None:
    report = cpu_int8(tested=evaluation(-0.0012, (-0.003, -0.0006)))

    assert "cpu_int8 gains 0.12 points of top1 [0.06, 0.30]" in plain(report["findings"]["evaluate"])
    assert report["headline"]["accuracy"]["change"] == 0.0012
    assert report["headline"]["accuracy"]["interval"] == [0.0006, 0.003]


@pytest.mark.parametrize(
    ("drop", "bounds", "shown"),
    [
        (-0.0012, (-0.003, 0.0006), "+0.12 points [-0.06, 0.30]"),
        (0.0, (-0.0006, 0.0006), "0.00 points [-0.06, 0.06]"),
    ],
)
def test_a_gain_that_the_interval_does_not_show_is_none(drop: float, bounds: tuple[float, float], shown: str) -> None:
    report = cpu_int8(tested=evaluation(drop, bounds))

    said = f"cpu_int8 cannot be told from fashion_mobilenet in top1: {shown}"
    assert said in plain(report["findings"]["evaluate"])


def test_without_labels_the_fidelity_is_the_finding() -> None:
    near = {"snr_db": 31.26, "cosine": 0.9999, "agreement": None, "max_abs_difference": 0.01, "identical": False}
    blind = evaluation() | {"task": "none", "labelled": False, "primary": None, "metrics": {}, "fidelity": near}
    report = cpu_int8(tested=blind)
    text = Page(render(report)).text

    assert plain(report["findings"]["evaluate"]).startswith(
        "Without labels only fidelity is known: signal to noise is 31.3 dB"
    )
    assert "the data has no labels that the task none could use" in text
    assert "Signal to noise 31.26 dB 20 dB" in text


def test_identical_outputs_are_called_identical() -> None:
    near = {"snr_db": None, "cosine": 1.0, "agreement": 1.0, "max_abs_difference": 0.0, "identical": True}

    assert "the outputs are identical" in Page(render(cpu_int8(tested=evaluation() | {"fidelity": near}))).text


def test_a_gate_of_one_action_says_nothing_about_another() -> None:
    report = cpu_int8()
    report["manifest"]["gates"] = [gate("other.max_accuracy_drop", 0.5, 0.1, "failed")]

    again = report_document(
        report["manifest"], report["evaluations"], {}, baseline_bytes=SOURCE_BYTES, candidate_bytes=INT8_BYTES
    )

    assert again["headline"]["accuracy"]["gate"] is None
    assert "limit" not in again["findings"]["evaluate"]


def test_the_graph_joins_actions_by_name_and_else_by_content(report: Report) -> None:
    document = report["manifest"]
    named = graph.draw(document, "m", "d")
    nameless = [{key: value for key, value in each.items() if key != "sources"} for each in document["actions"]]
    by_content = graph.draw(document | {"actions": nameless}, "m", "d")

    joined = {(wire.start, wire.end, wire.port) for wire in named.wires}
    assert ("model", "simplify", "model") in joined
    assert ("quantize", "evaluate", "model") in joined
    assert {(wire.start, wire.end, wire.port) for wire in by_content.wires} <= joined


def test_boxes_stand_left_to_right_and_never_on_each_other(report: Report) -> None:
    drawing = graph.draw(report["manifest"], "m", "d")
    at = {box.name: box for box in drawing.boxes}

    assert all(at[wire.start].x + graph.WIDTH < at[wire.end].x for wire in drawing.wires)
    for one, other in itertools.combinations(drawing.boxes, 2):
        assert abs(one.x - other.x) >= graph.WIDTH or abs(one.y - other.y) >= graph.HEIGHT
    assert all(0 <= box.x <= drawing.width - graph.WIDTH for box in drawing.boxes)
    assert all(0 <= box.y <= drawing.height - graph.HEIGHT for box in drawing.boxes)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 0.9, ["0.0", "0.2", "0.4", "0.6", "0.8"]),
        (0, 1.1, ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        (0, 1000, ["0", "200", "400", "600", "800", "1000"]),
        (3, 3, ["3", "4", "5", "6"]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[str]) -> None:
    scale = charts.axis(low, high)

    assert [scale.label(tick) for tick in scale.ticks] == ticks


def test_nothing_falls_off_an_axis() -> None:
    scale = charts.axis(0, 10)

    assert [scale.percent(value) for value in (-5, 5, 99)] == [0, 50, 100]


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (words.number(1234.5), "1,234"),
        (words.number(-0.0123), "-0.0123"),
        (words.number(None), "-"),
        (words.number(float("inf")), "∞"),
        (words.size(2 * 1024 * 1024), "2.00 MiB"),
        (words.size(2048), "2.00 KiB"),
        (words.duration(0.31), "0.31 s"),
        (words.duration(184.4), "3 min 4 s"),
        (words.gate_quantity("max_accuracy_drop", 0.01, exact=True), "1 point"),
        (words.gate_quantity("max_accuracy_drop", 0.001), "0.10 points"),
        (words.gate_quantity("max_latency_ms.p50", 2.5), "2.5 ms"),
        (words.gate_quantity("max_accuracy_drop", 0.00005, exact=True), "0.005 points"),
        (words.gate_quantity("max_accuracy_drop", 0.003132), "0.31 points"),
        (words.points("top1", -0.0000001), "0.00"),
        (
            str(list(words.flatten({"a": {"b": 1, "c": ["x", "y"]}, "d": None, "e": True}))),
            "[('a.b', '1'), ('a.c', 'x, y'), ('e', 'yes')]",
        ),
        (words.when("2026-11-21T10:14:59+01:00"), "2026-11-21 09:14 UTC"),
        (findings.compared(0.25, "smaller", "larger"), "4.0 x smaller"),
        (findings.compared(1.03, "smaller", "larger"), "3.0 % larger"),
    ],
)
def test_numbers_are_written_for_people(shown: str, said: str) -> None:
    assert plain(shown) == said


def test_each_precision_has_a_colour_of_its_own() -> None:
    report = cpu_int8()
    weights = {"baseline": {"fp32": 1000}, "candidate": {"int32": 100, "int8": 500}}
    for one in report["measurements"]["benchmark"]["subjects"]:
        which = "reference" if one["name"] == "baseline" else "candidate"
        one["bytes"] = report["headline"]["size"][which] * 2**20
        one["compute"] = {"of": one["name"], "weights_by_precision": weights[one["name"]]}
    parts = [part for row in size.context(report)["sizes"]["rows"] for part in row["parts"]]

    assert {part["name"]: part["role"] for part in parts} == {
        "fp32": "baseline", "graph and scales": "rest", "int8": "candidate", "int32": "other",
    }  # fmt: skip


def test_what_something_was_built_with_ends_without_a_comma_and_names_its_toolchains() -> None:
    report = jetson_int8()
    report["manifest"]["target"] |= {"device": "", "precisions": ["fp32", "int8"], "zz": ""}
    rtx = {"step": "toolchain", "toolchain": {"lock": "0" * 64, "machine": "x86_64", "onnx": "1"}}
    locked = action("toolchain.rtx") | rtx
    report["manifest"]["actions"].append(locked)
    page = render(report)
    text = Page(page).text
    reproduce = text[text.rindex("Reproduce") :]

    assert ", </dd>" not in page
    assert f"Toolchains rtx, its lock {'0' * 64}" in reproduce
    assert "machine x86_64" not in reproduce[reproduce.index("Versions") : reproduce.index("Toolchains")]


def test_an_error_names_its_action_once() -> None:
    report = failed_build()
    failed = next(each for each in report["manifest"]["actions"] if each["status"] == "failed")
    failed["error"] = f"{failed['name']}: there is no processor 99"
    said = f"{failed['name']}: there is no processor 99"

    assert said in Page(render(report)).text
    assert f"{failed['name']}: {said}" not in Page(render(report)).text
    assert f"**{failed['name']} failed**: there is no processor 99" in summary(report)
