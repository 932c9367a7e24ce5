"""`show --serve`: a recipe's builds for a browser on this machine, and for nobody and nothing else."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from projects import Project, write_small

from builder.outcomes import ExitCode


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two builds of one recipe, a sweep, and a file and a folder that nobody shall get."""
    project = write_small(Project(tmp_path_factory.mktemp("served") / "project"))
    assert project.run("recipe=small").returncode == 0
    assert project.run("recipe=small", "gates.max_size_mib=0.0001").returncode == 1
    assert project.run("-m", "recipe=small", "steps.quantize.calibration.samples=16,32").returncode == 0
    project.write("outputs/secret.txt", "secret")
    latest = project.folder / "outputs/small/latest"
    (latest / "out").symlink_to(project.folder / "recipes")
    (latest / "secret.json").symlink_to(project.folder / "outputs/secret.txt")
    (latest / "circle.json").symlink_to("circle.json")
    (latest / "inside.json").symlink_to("report.json")
    (latest / "evil.html").write_text("<script>alert(1)</script>")
    os.mkfifo(latest / "pipe.json")
    return project


@pytest.fixture(scope="module")
def served(built: Project) -> Iterator[int]:
    """The port of a server on the project's builds."""
    server = built.start("show", "--serve", "small", "--print")
    assert server.stdout is not None
    address = urlsplit(server.stdout.readline().strip())
    assert (address.hostname, address.scheme) == ("127.0.0.1", "http")
    yield address.port or 0
    server.send_signal(signal.SIGINT)
    assert server.communicate(timeout=20) == ("", "")
    assert server.returncode == ExitCode.INTERRUPTED


def ask(port: int, path: str, method: str = "GET", host: str = "") -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{port}")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def folders(project: Project) -> list[Path]:
    return sorted(each for each in (project.folder / "outputs/small").iterdir() if not each.is_symlink())


def test_the_index_lists_every_build_and_each_page_and_file_is_served_as_it_is(built: Project, served: int) -> None:
    status, headers, index = ask(served, "/")

    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for build in folders(built):
        assert f'href="./{build.name}/report.html"'.encode() in index
        for name in ("report.html", "report.json", "manifest.json", "summary.md", "artifacts/quantize/model.onnx"):
            status, _, content = ask(served, f"/{build.name}/{name}")
            assert (status, content) == (200, (build / name).read_bytes())


def test_only_our_own_page_is_html_to_a_browser(built: Project, served: int) -> None:
    kinds = {
        name: ask(served, f"/latest/{name}")[1]["Content-Type"]
        for name in ("report.html", "evil.html", "report.json", "junit.xml", "artifacts/quantize/model.onnx")
    }

    assert kinds == {
        "report.html": "text/html; charset=utf-8",
        "evil.html": "application/octet-stream",
        "report.json": "application/json",
        "junit.xml": "text/plain; charset=utf-8",
        "artifacts/quantize/model.onnx": "application/octet-stream",
    }
    assert ask(served, "/latest/evil.html")[1]["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/latest", "/latest/", "/nothing", "/latest/../../secret.txt", "/../secret.txt", "/%2e%2e/secret.txt",
        "/latest/%2e%2e/%2e%2e/secret.txt", "/latest/..%2f..%2fsecret.txt", "//etc/passwd", "/etc/passwd", "/%00",
        "/latest//report.json", "/latest/./report.json", "/latest/..%5c..%5csecret.txt", "/latest/secret.json",
        "/latest/out/small.yaml", "/latest/artifacts", "/latest/pipe.json", f"/latest/{'x' * 300}",
        "/.part/report.html", "/latest/circle.json", "http://[/",
    ],
)  # fmt: skip
def test_nothing_outside_a_build_is_served(served: int, path: str) -> None:
    status, _, content = ask(served, path)

    assert (status, content) == (404, b"Not Found\n")


def test_a_link_that_stays_inside_is_followed(built: Project, served: int) -> None:
    report = (built.folder / "outputs/small/latest/report.json").read_bytes()

    assert ask(served, "/latest/inside.json")[2] == report


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil:{port}"]
)
def test_a_page_that_leads_its_own_name_here_gets_nothing(served: int, host: str) -> None:
    assert ask(served, "/", host=host.format(port=served))[0] == 403
    assert ask(served, "/latest/report.json", host=host.format(port=served))[0] == 403


def test_localhost_is_a_name_of_ours(served: int) -> None:
    assert ask(served, "/?again", host=f"localhost:{served}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_it_can_only_be_read(built: Project, served: int, method: str) -> None:
    status, headers, _ = ask(served, "/latest/report.json", method)

    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_head_gives_the_length_alone(built: Project, served: int) -> None:
    status, headers, content = ask(served, "/latest/report.json", "HEAD")
    size = (built.folder / "outputs/small/latest/report.json").stat().st_size

    assert (status, int(headers["Content-Length"]), content) == (200, size, b"")


def test_it_listens_on_loopback_alone(served: int) -> None:
    local = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [place for place, _, state in local if place.endswith(f":{served:04X}") and state == "0A"]

    assert listening == [f"0100007F:{served:04X}"]


def run(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return project.run("show", *words)


def test_a_port_that_is_taken_is_said_to_be(built: Project, served: int) -> None:
    done = run(built, "--serve", "small", "--port", str(served))

    assert done.returncode == ExitCode.USAGE
    assert f"cannot listen at port {served}: Address already in use" in done.stderr


def test_a_chosen_port_is_taken(built: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = built.start("show", "--serve", "--port", str(port))
    assert server.stdout is not None
    said = server.stdout.readline()
    server.send_signal(signal.SIGINT)
    _, errors = server.communicate(timeout=20)

    assert said == f"serving outputs/small at http://127.0.0.1:{port}/  Ctrl-C ends it\n"
    assert (server.returncode, errors) == (ExitCode.INTERRUPTED, "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--serve", "smal"], "did you mean 'small'?"),
        (["--serve", "sweeps"], "'sweeps' is no recipe"),
        (["--serve", "small@latest"], "'small@latest' is no recipe"),
        (["--serve", "--port", "70000"], "expected a number from 1 to 65535, got '70000'"),
        (["small", "--port", "8000"], "only --serve has a port"),
    ],
)
def test_what_cannot_be_served_is_an_error_with_the_next_thing_to_do(
    built: Project, words: list[str], says: str
) -> None:
    done = run(built, *words)

    assert done.returncode == ExitCode.USAGE
    assert says in done.stderr


def test_a_report_that_was_edited_is_not_believed(built: Project, project: Project) -> None:
    from builder.show.serve import Server

    project.write("outputs/small/2026-01-01_00-00-00/manifest.json", json.dumps({"schema": 1}))
    project.write("outputs/small/2026-01-01_00-00-00/report.json", "{}")
    with Server(project.folder / "outputs/small", 0) as server:
        assert b"changed after it was written" in server.index()
