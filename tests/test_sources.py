"""Models from files, packages and addresses; external data comes along; what is wrong is said once."""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Project, small_model
from servers import serving

from builder.errors import SourceError
from builder.sources.model import bring_model
from builder.sources.naming import weights_suffix
from builder.sources.wheel import fetch_wheel
from builder.specs import Model, Wheel
from builder.step import Job


def wheel(folder: Path, model: Path) -> Path:
    """Write a wheel `tiny-model` 1.0 that holds a model."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(model, "tiny_model/data/model.onnx")
        archive.writestr("tiny_model-1.0.dist-info/METADATA", metadata)
        archive.writestr(
            "tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def packaged(small: Project) -> Project:
    """A project whose model is a member of a wheel in a folder that pip is configured to look in."""
    file = small.folder / "models/small.onnx"
    wheel(small.folder / "wheels", file)
    small.environment.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(small.folder / "wheels"))
    small.write(
        "conf/model/small.yaml",
        f"wheel: {{name: tiny-model, version: '1.0', member: tiny_model/data/model.onnx}}\nsha256: {sha256(file)}\n"
        "task: classification\n",
    )
    return small


# urllib3's words (2.x, MaxRetryError), as pip passes them on.
_BROKEN = "HTTPSConnectionPool(host=the.index, port=443): Max retries exceeded with url: /tok-k7/simple/tiny/"
SIMPLIFY = ("recipe=small", "steps=[simplify]")


def test_a_member_of_a_wheel_is_fetched_with_pips_configuration(packaged: Project) -> None:
    done = packaged.run(*SIMPLIFY)

    assert done.returncode == 0, done.stdout + done.stderr


def test_what_was_fetched_once_needs_no_network_again(packaged: Project) -> None:
    packaged.run(*SIMPLIFY)
    (packaged.folder / "wheels/tiny_model-1.0-py3-none-any.whl").unlink()
    again = packaged.run(*SIMPLIFY, "steps.simplify.checks=1", "offline=true")

    assert again.returncode == 0, again.stdout + again.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model.wheel.version='9.9'"], "cannot fetch tiny-model==9.9"),
        (["model.wheel.member=tiny_model/data/modle.onnx"], "did you mean 'tiny_model/data/model.onnx'?"),
        ([f"model.sha256={'0' * 64}"], "is not the file that was declared: expected sha256 0000"),
        (["offline=true"], "offline=true forbids fetching"),
    ],
)
def test_a_wheel_that_is_not_as_declared_is_one_clear_error(packaged: Project, words: list[str], says: str) -> None:
    done = packaged.run(*SIMPLIFY, *words)

    assert done.returncode == 1
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (packaged.folder / "outputs/small/latest").exists()


def test_what_an_address_of_the_index_tells_is_in_no_error_and_no_log(packaged: Project) -> None:
    page = packaged.write("served/tok-k7/simple/tiny-model/index.html", "")
    page.write_text('<a href="../../files/tiny_model-1.0-py3-none-any.whl">tiny_model-1.0-py3-none-any.whl</a>')
    del packaged.environment["PIP_NO_INDEX"], packaged.environment["PIP_FIND_LINKS"]
    with serving(packaged.folder / "served") as port:
        index = f"http://bob:secret@localhost:{port}/tok-k7/simple"
        done = packaged.run(*SIMPLIFY, PIP_INDEX_URL=index, PIP_RETRIES="0", PIP_CONFIG_FILE=os.devnull)
    kept = [path.read_bytes() for path in (packaged.folder / "outputs").rglob("*") if path.is_file()]

    assert done.returncode == 1
    told = " ".join(done.stdout.split())
    assert (
        "HTTP error 404 Client Error: File not found for url: http://***/files/tiny_model-1.0-py3-none-any.whl" in told
    )
    for word in ("tok-k7", "bob", "secret"):
        assert word not in done.stdout + done.stderr
        assert not any(word.encode() in content for content in kept)


def test_a_path_that_pip_shows_without_its_host_is_hidden_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a connection breaks: pip names the host, and after it the path alone."""
    pip = tmp_path / "python"
    pip.write_text(f"#!/bin/sh\necho 'ERROR: {_BROKEN}' >&2\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    access = {"environment": {"UV_DEFAULT_INDEX": "https://the.index/tok-k7/simple"}, "options": []}
    with pytest.raises(SourceError) as caught:
        fetch_wheel(Wheel("tiny", "1.0", "x"), tmp_path, {"offline": False, "environment": {}, "access": access})

    assert "Max retries exceeded with url: https://***/tiny/" in str(caught.value)
    assert "tok-k7" not in str(caught.value)
    assert "the.index" not in str(caught.value)


def test_a_new_version_of_a_tool_fetches_nothing_again(packaged: Project) -> None:
    before = packaged.run(*SIMPLIFY, "output=json")
    packaged.write("site/onnxruntime-99.dist-info/METADATA", "Metadata-Version: 2.1\nName: onnxruntime\nVersion: 99\n")
    packaged.environment["PYTHONPATH"] = f"{packaged.folder / 'site'}:{packaged.environment['PYTHONPATH']}"
    after = json.loads(packaged.run(*SIMPLIFY, "output=json", "offline=true").stdout)

    assert before.returncode == 0, before.stderr
    assert after["actions"][0]["status"] == "cached"
    assert re.search(r"onnxruntime \S+ -> 99", after["actions"][1]["reason"])


def test_external_data_is_followed_copied_and_checked(small: Project) -> None:
    small_model(small.folder / "models/small.onnx", external="weights.bin")
    done = small.run(*SIMPLIFY, "output=json")
    first = json.loads(done.stdout)
    weights = small.folder / "models/weights.bin"
    weights.write_bytes(bytes(8) + weights.read_bytes()[8:])
    second = json.loads(small.run(*SIMPLIFY, "output=json").stdout)

    assert done.returncode == 0, done.stderr
    assert [action["status"] for action in second["actions"]] == ["built", "built"]
    assert first["artifacts"][0]["sha256"] != second["artifacts"][0]["sha256"]


def test_external_data_that_was_there_before_is_a_hit_again(small: Project) -> None:
    small_model(small.folder / "models/small.onnx", external="weights.bin")
    small.run(*SIMPLIFY)
    weights = small.folder / "models/weights.bin"
    good = weights.read_bytes()
    weights.write_bytes(bytes(8) + good[8:])
    small.run(*SIMPLIFY)
    weights.write_bytes(good)

    assert "  built " not in small.run(*SIMPLIFY).stdout


def test_missing_external_data_is_named(small: Project) -> None:
    small_model(small.folder / "models/small.onnx", external="weights.bin")
    (small.folder / "models/weights.bin").unlink()
    done = small.run(*SIMPLIFY)

    assert done.returncode == 1
    assert "keeps tensors in 'weights.bin': No such file or directory" in done.stdout + done.stderr


def test_external_data_outside_the_models_folder_is_refused(tmp_path: Path) -> None:
    import onnx

    small_model(tmp_path / "m/small.onnx", external="weights.bin")
    model = onnx.load(str(tmp_path / "m/small.onnx"), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../../secret" if entry.key == "location" else entry.value
    onnx.save(model, str(tmp_path / "m/small.onnx"))
    job = Job({}, tmp_path / "out", Model("x", path="x"), local={"path": str(tmp_path / "m/small.onnx"), "shown": "x"})
    with pytest.raises(Exception, match="outside its folder"):
        bring_model(job)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda good: good[: len(good) // 2], "is no ONNX model, or only a part of one"),
        (lambda good: b"hello", "is no ONNX model, or only a part of one"),
        (lambda good: b"", "holds no graph"),
        (lambda good: good.replace(b"Relu", b"Rule"), "rejects the model"),
    ],
    ids=["truncated", "text", "empty", "unknown operator"],
)
def test_a_file_that_is_no_model_is_one_clear_error(small: Project, content: object, says: str) -> None:
    file = small.folder / "models/small.onnx"
    file.write_bytes(content(file.read_bytes()))  # type: ignore[operator]
    done = small.run("recipe=small")
    text = done.stdout + done.stderr

    assert done.returncode == 1
    assert says in text
    assert "Traceback" not in text


def test_a_file_with_another_sha256_is_refused(small: Project) -> None:
    done = small.run("recipe=small", f"model.sha256={'0' * 64}")

    assert done.returncode == 1
    assert "models/small.onnx is not the file that was declared" in done.stdout + done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server with TLS on this machine, and the folder that it serves."""
    trustme = pytest.importorskip("trustme", reason="makes the certificate of the test's own web server")
    folder = tmp_path / "served"
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with serving(folder, context) as port:
        yield f"https://localhost:{port}", folder


def test_an_https_address_is_fetched_and_checked(small: Project, server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    file = small_model(folder / "m.onnx")
    small.write("conf/model/web.yaml", f"url: {address}/m.onnx\nsha256: {sha256(file)}\n")
    words = ("model=web", "steps=[simplify]")
    good = small.run(*words, SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    gone = small.run(
        *words,
        "model.url=" + address + "/gone.onnx",
        f"model.sha256={'f' * 64}",
        SSL_CERT_FILE=str(tmp_path / "ca.pem"),
    )

    assert good.returncode == 0, good.stdout + good.stderr
    assert gone.returncode == 1
    assert "HTTP Error 404" in gone.stdout + gone.stderr


def test_a_query_is_no_part_of_the_name_of_a_file() -> None:
    assert weights_suffix(Model("x", url="https://localhost/a.b/m.safetensors?download=true#v1.0")) == ".safetensors"


def test_no_network_is_one_clear_error(tmp_path: Path) -> None:
    model = Model("x", url="https://localhost:1/m.onnx", sha256="0" * 64)
    job = Job({}, tmp_path / "out", model, local={"offline": False, "environment": {}})
    with pytest.raises(SourceError, match="cannot fetch https://localhost:1/m.onnx: .*refused"):
        bring_model(job)


def test_an_address_without_a_sha256_is_a_recipe_error(small: Project) -> None:
    small.write("conf/model/web.yaml", "url: https://localhost:1/m.onnx\n")
    done = small.run("model=web", "steps=[simplify]")

    assert done.returncode == 2
    assert "model.sha256 is missing" in done.stderr


def test_a_wheel_is_never_installed(packaged: Project) -> None:
    packaged.run(*SIMPLIFY)
    from importlib.metadata import distributions

    assert "tiny-model" not in {d.metadata["Name"] for d in distributions()}


def test_an_address_with_a_password_is_refused_and_not_repeated(small: Project) -> None:
    small.write("conf/model/web.yaml", f"url: https://bob:secret@localhost:1/m.onnx\nsha256: '{'0' * 64}'\n")
    refused = small.run("recipe=small", "model=web")

    assert refused.returncode == 2
    assert "would be kept in every report" in refused.stderr
    assert "secret" not in refused.stdout + refused.stderr
