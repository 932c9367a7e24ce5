"""uv reaches the package index as pip does on this machine, and nobody learns with what password."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme
from projects import Project
from toolchains import add_toolchain, add_user, kept_folders
from wheels import Index, make_wheel, serve

from builder.errors import ToolchainError
from builder.toolchains.index import index_access
from builder.toolchains.pip import is_true, pip_settings

USER, PASSWORD = "some@one", "s3cret/pa:ss%"
ALONE = {"PIP_CONFIG_FILE": os.devnull}  # whatever this machine's own configuration says

# What pip itself makes of its configuration: its own parser of `pip install`.
ASK_PIP = """
import json
from pip._internal.commands import create_command
found, _ = create_command("install").parse_args(["nothing"])
names = ("index_url", "extra_index_urls", "find_links", "no_index", "cert", "client_cert", "proxy", "trusted_hosts",
         "timeout", "retries", "keyring_provider")
print(json.dumps({name: getattr(found, name, None) for name in names}))
"""


def asked_pip(environment: Mapping[str, str], folder: Path) -> dict[str, Any]:
    asked = subprocess.run(
        [sys.executable, "-c", ASK_PIP], env=dict(environment), cwd=folder, capture_output=True, text=True, check=False
    )
    if "No module named 'pip" in asked.stderr:
        pytest.skip("pip is not installed in this environment, and it is the one to compare with")
    assert asked.returncode == 0, asked.stderr
    found: dict[str, Any] = json.loads(asked.stdout)
    return found


def as_pip_says(settings: Mapping[str, str], like: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in the form of pip's own options, with pip's defaults where nothing was said."""
    words: dict[str, Callable[[str], Any]] = {"timeout": float, "retries": int}
    lists = {"extra_index_urls": "extra-index-url", "find_links": "find-links", "trusted_hosts": "trusted-host"}
    found: dict[str, Any] = {option: settings.get(name, "").split() for option, name in lists.items()}
    for option in set(like) - set(lists) - {"no_index"}:
        name = option.replace("_", "-")
        found[option] = words.get(option, str)(settings[name]) if name in settings else like[option]
    return {**found, "no_index": is_true(settings, "no-index")}


CONFIGURATIONS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "the user's file wins over the machine's": (
        {"etc/pip/pip.conf": "[global]\nindex-url = https://machine/simple\ntimeout = 7\n",
         "home/.config/pip/pip.conf": "[global]\nindex-url = https://user/simple\n"}, {},
    ),
    "the new place wins over the old one": (
        {"home/.pip/pip.conf": "[global]\nindex-url = https://old/simple\nproxy = http://old:1\n",
         "home/.config/pip/pip.conf": "[global]\nindex-url = https://new/simple\n"}, {},
    ),
    "of the machine's files the last one wins": (
        {"etc/pip/pip.conf": "[global]\nindex-url = https://first/simple\n",
         "etc2/pip/pip.conf": "[global]\nindex-url = https://second/simple\n"}, {},
    ),
    "install wins over global, whichever file it stands in": (
        {"etc/pip/pip.conf": "[install]\nindex-url = https://install/simple\n[download]\nindex-url = https://no/\n",
         "home/.config/pip/pip.conf": "[global]\nindex-url = https://global/simple\n"}, {},
    ),
    "a named file takes the place of the user's": (
        {"home/.config/pip/pip.conf": "[global]\nindex-url = https://user/simple\ntimeout = 7\n",
         "work/my.conf": "[global]\nindex-url = https://named/simple\n"}, {"PIP_CONFIG_FILE": "my.conf"},
    ),
    "a named file that is not there": (
        {"home/.config/pip/pip.conf": "[global]\nindex-url = https://user/simple\n"}, {"PIP_CONFIG_FILE": "no.conf"},
    ),
    "no file at all": (
        {"home/.config/pip/pip.conf": "[global]\nindex-url = https://user/simple\n"},
        {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "a b"},
    ),
    "variables win over files": (
        {"home/.config/pip/pip.conf": "[install]\nindex-url = https://file/simple\ntimeout = 7\n"},
        {"PIP_INDEX_URL": "https://variable/simple", "PIP_DEFAULT_TIMEOUT": "9"},
    ),
    "an empty variable counts as none": (
        {"home/.config/pip/pip.conf": "[global]\nindex-url = https://file/simple\n"}, {"PIP_INDEX_URL": ""},
    ),
    "an empty value hides that of a weaker file": (
        {"etc/pip/pip.conf": "[global]\nindex-url = https://machine/simple\nextra-index-url = https://more/\n",
         "home/.config/pip/pip.conf": "[global]\nindex-url =\n"}, {},
    ),
    "several lines in one value": (
        {"home/.config/pip/pip.conf":
            "[global]\nfind-links =\n    /a\n    https://b/c\nextra-index-url =\n  https://x/\n  https://y/\n"
            "trusted-host = one two:8080\n"}, {},
    ),
    "every spelling of a name": (
        {"home/.config/pip/pip.conf": "[global]\nIndex_URL = https://spelled/simple\nno_index = TRUE\n--retries = 2\n"},
        {"PIP_EXTRA_INDEX_URL": "https://x/ https://y/"},
    ),
    "certificates, proxy and keyring": (
        {"home/.config/pip/pip.conf":
            "[global]\ncert = /c.pem\nclient-cert = /k.pem\nproxy = http://u:p@h:1\nkeyring-provider = subprocess\n"},
        {},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def defaults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What pip goes by where nobody says anything."""
    return asked_pip({**ALONE, "PATH": os.environ["PATH"]}, tmp_path_factory.mktemp("pip"))


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_the_configuration_is_read_as_pip_reads_it(case: str, tmp_path: Path, defaults: dict[str, Any]) -> None:
    files, variables = CONFIGURATIONS[case]
    for path, text in {**files, "work/here": ""}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    environment = {
        "HOME": str(tmp_path / "home"),
        "XDG_CONFIG_DIRS": f"{tmp_path}/etc:{tmp_path}/etc2",
        "PATH": os.environ["PATH"],
        **variables,
    }

    says = asked_pip(environment, tmp_path / "work")

    assert as_pip_says(pip_settings(environment, tmp_path / "work"), defaults) == says


def access(folder: Path, **variables: str) -> dict[str, str]:
    user = {"HOME": str(folder), **({} if "PIP_CONFIG_FILE" in variables else ALONE), **variables}
    found = index_access(user, folder)
    return {name: value for name, value in found.environment.items() if name != "HOME"}


def test_uv_is_told_each_setting_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "simple").mkdir()
    found = access(
        tmp_path,
        PIP_INDEX_URL="https://one/simple",
        PIP_EXTRA_INDEX_URL="https://two/simple ./simple",
        PIP_FIND_LINKS="wheels https://three/links gone",
        PIP_CERT="~/ca.pem",
        PIP_CLIENT_CERT="mine.pem",
        PIP_PROXY="http://proxy:3128",
        PIP_TRUSTED_HOST="one two:8080",
        PIP_TIMEOUT="2.6",
        PIP_RETRIES="4",
    )

    assert found == {
        "UV_DEFAULT_INDEX": "https://one/simple",
        "UV_INDEX": f"https://two/simple file://{tmp_path}/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": f"{tmp_path}/wheels,https://three/links",
        "SSL_CERT_FILE": f"{tmp_path}/ca.pem",
        "SSL_CLIENT_CERT": f"{tmp_path}/mine.pem",
        "HTTP_PROXY": "http://proxy:3128",
        "HTTPS_PROXY": "http://proxy:3128",
        "UV_INSECURE_HOST": "one two:8080",
        "UV_HTTP_TIMEOUT": "3",
        "UV_HTTP_RETRIES": "4",
        "UV_SYSTEM_CERTS": "1",
    }


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_what_uv_itself_is_told_wins_by_its_old_names_too(name: str, tmp_path: Path) -> None:
    found = access(tmp_path, PIP_INDEX_URL="https://pip/simple", **{name: "https://uv/simple"})

    assert {key: value for key, value in found.items() if "INDEX" in key} == {name: "https://uv/simple"}


def test_of_uvs_variables_only_those_about_the_index_are_heard(tmp_path: Path) -> None:
    found = access(
        tmp_path,
        UV_NO_VERIFY_HASHES="1", UV_TARGET="/elsewhere", UV_PYTHON="3.9", UV_NO_CACHE="1", UV_WORKING_DIR="/",
        UV_INDEX_MINE_PASSWORD="secret", UV_FIND_LINKS="links,/other", UV_HTTP_TIMEOUT="5", UV_EMPTY="",
    )  # fmt: skip

    assert {name: value for name, value in found.items() if name.startswith("UV_")} == {
        "UV_SYSTEM_CERTS": "1",
        "UV_INDEX_MINE_PASSWORD": "secret",
        "UV_FIND_LINKS": f"{tmp_path}/links,/other",
        "UV_HTTP_TIMEOUT": "5",
    }


def test_proxies_and_certificates_of_the_environment_are_kept(tmp_path: Path) -> None:
    (tmp_path / "certificates").mkdir()
    plain = access(tmp_path, https_proxy="http://p:1", NO_PROXY="here", SSL_CERT_FILE="own.pem")
    asked = access(tmp_path, REQUESTS_CA_BUNDLE="certificates", SSL_CERT_FILE="/own.pem", ALL_PROXY="http://all:1")
    chosen = access(tmp_path, PIP_PROXY="http://chosen:1", https_proxy="http://p:1", no_proxy="here")

    assert (plain["https_proxy"], plain["NO_PROXY"]) == ("http://p:1", "here")
    assert plain["SSL_CERT_FILE"] == f"{tmp_path}/own.pem"
    assert (asked["SSL_CERT_DIR"], asked["ALL_PROXY"]) == (f"{tmp_path}/certificates", "http://all:1")
    assert {name: chosen[name] for name in chosen if "proxy" in name.lower()} == {
        "HTTP_PROXY": "http://chosen:1", "HTTPS_PROXY": "http://chosen:1", "no_proxy": "here",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [("PIP_TIMEOUT", "soon", "timeout is 'soon'"), ("PIP_RETRIES", "-1", "retries is '-1'"),
     ("PIP_NO_INDEX", "perhaps", "no-index is 'perhaps'")],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_is_named(variable: str, value: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=words):
        access(tmp_path, **{variable: value})


def test_a_file_that_is_no_configuration_is_named_and_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("index-url = https://me:secret@index/simple\n")

    with pytest.raises(ToolchainError) as caught:
        access(tmp_path, PIP_CONFIG_FILE=str(file))
    assert str(file) in caught.value.message
    assert "secret" not in caught.value.message + caught.value.hint


def test_nothing_of_an_address_is_passed_on_however_it_is_spelled(tmp_path: Path) -> None:
    user = {**ALONE, "PIP_INDEX_URL": f"https://{quote(USER)}:{quote(PASSWORD, safe='')}@the.index:81/simple"}
    found = index_access(user, tmp_path)
    told = f"GET {user['PIP_INDEX_URL']}/x of {USER}, {PASSWORD} and {quote(PASSWORD, safe='')} at the.index: numpy==2"

    assert found.hide(told) == "GET https://***/x of ***, *** and *** at ***: numpy==2"


@pytest.mark.parametrize(
    ("address", "told", "hidden"),
    [
        ("https://h.x/t%2Fk-7/simple/", "`https://h.x/t%2Fk-7/simple/tiny/`", "`https://***/tiny/`"),
        ("https://h.x/t/simple", "(https://files.h.x/t/pool/tiny-1.whl#sha256=ab)", "(https://***/pool/tiny-1.whl"),
        ("https://h.x/simple?key=k7", "get https://h.x/simple?key=k7 with key=k7", "get https://*** with ***"),
        ("https://h.x/simple", "a simple index: https://else.x/a?sign=1", "a simple index: https://***/a"),
    ],
)
def test_the_path_and_query_of_an_index_are_passed_on_to_nobody(
    tmp_path: Path, address: str, told: str, hidden: str
) -> None:
    assert index_access({**ALONE, "PIP_INDEX_URL": address}, tmp_path).hide(told) == hidden


@pytest.fixture
def wheels(project: Project) -> Path:
    folder = add_toolchain(project)
    make_wheel(folder, "tiny")
    (project.folder / ".config/pip/pip.conf").unlink()
    return folder


def revealing(project: Project, index: Index, *texts: str) -> list[str]:
    """Return where something of the index's address or credentials can be read."""
    secrets = [USER, PASSWORD, quote(USER, safe=""), quote(PASSWORD, safe=""), f"localhost:{index.port}", "s3cret"]
    places = {f"text {number}": text.encode() for number, text in enumerate(texts)}
    places |= {str(path): path.read_bytes() for path in project.folder.rglob("*") if path.is_file()}
    return [name for name, content in places.items() if any(secret.encode() in content for secret in secrets)]


def test_an_index_behind_a_password_serves_a_build_that_never_tells_it(project: Project, wheels: Path) -> None:
    add_user(project)
    with serve(wheels, (USER, PASSWORD)) as index:
        environment = {**ALONE, "PIP_INDEX_URL": index.url(f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}")}
        locked = project.run("toolchain", "lock", "tiny", **environment)
        built = project.run("recipe=small", "verbosity=verbose", **environment)

    assert (locked.returncode, built.returncode) == (0, 0), locked.stderr + built.stderr
    assert any(path.endswith(".whl") for path in index.asked)
    assert "built     toolchain.tiny" in built.stdout
    assert revealing(project, index, locked.stdout, locked.stderr, built.stdout, built.stderr) == []


def test_an_index_that_refuses_is_told_without_what_it_was_given(project: Project, wheels: Path) -> None:
    add_user(project)
    with serve(wheels) as index:
        environment = {**ALONE, "PIP_INDEX_URL": index.url(f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}")}
        assert project.run("toolchain", "lock", "tiny", **environment).returncode == 0
        index.credentials = ("somebody", "else")
        locked = project.run("toolchain", "lock", "tiny", **environment)
        built = project.run("recipe=small", **environment)

    assert (locked.returncode, built.returncode) == (1, 1)
    assert index.refused
    for told in (locked.stderr, built.stdout):
        assert "toolchain tiny: " in told
        assert "401 Unauthorized" in told
        assert "the index wants other credentials" in told
    assert "Traceback" not in locked.stderr + built.stderr + built.stdout
    assert revealing(project, index, locked.stdout, locked.stderr, built.stdout, built.stderr) == []


def test_credentials_of_netrc_and_of_a_keyring_are_used(project: Project, wheels: Path) -> None:
    project.write(".netrc", f"machine localhost login {USER} password {PASSWORD}\n").chmod(0o600)
    keyring = project.write("bin/keyring", f"#!/bin/sh\necho '{PASSWORD}'\n")
    keyring.chmod(0o755)
    with serve(wheels, (USER, PASSWORD)) as index:
        netrc = project.run("toolchain", "lock", "tiny", **ALONE, PIP_INDEX_URL=index.url())
        (project.folder / ".netrc").unlink()
        asked = {
            "PIP_INDEX_URL": index.url(quote(USER, safe="")),
            "PIP_KEYRING_PROVIDER": "subprocess",
            "PATH": f"{keyring.parent}:{project.environment['PATH']}",
        }
        ring = project.run("toolchain", "lock", "tiny", **ALONE, **asked)

    assert (netrc.returncode, ring.returncode) == (0, 0), netrc.stderr + ring.stderr


def test_a_test_authority_is_trusted_where_pips_cert_names_it(project: Project, wheels: Path) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(str(project.folder / "authority.pem"))
    with serve(wheels, tls=tls) as index:
        environment = {**ALONE, "PIP_INDEX_URL": index.url(), "PIP_RETRIES": "0"}
        strange = project.run("toolchain", "lock", "tiny", **environment)
        known = project.run("toolchain", "lock", "tiny", **environment, PIP_CERT="authority.pem")
        insecure = project.run("toolchain", "lock", "tiny", **environment, PIP_TRUSTED_HOST="localhost")

    assert strange.returncode == 1
    assert "certificate" in strange.stderr
    assert "check the network and pip's configuration" in strange.stderr
    assert (known.returncode, insecure.returncode) == (0, 0), known.stderr + insecure.stderr


def test_an_index_that_asks_for_a_clients_certificate_gets_pips(project: Project, wheels: Path) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(str(project.folder / "authority.pem"))
    mine = authority.issue_cert("me@here.example").private_key_and_cert_chain_pem
    mine.write_to_path(str(project.folder / "mine.pem"))
    with serve(wheels, tls=tls) as index:
        environment = {**ALONE, "PIP_INDEX_URL": index.url(), "PIP_CERT": "authority.pem", "PIP_RETRIES": "0"}
        without = project.run("toolchain", "lock", "tiny", **environment)
        known = project.run("toolchain", "lock", "tiny", **environment, PIP_CLIENT_CERT="mine.pem")

    assert (without.returncode, known.returncode) == (1, 0), known.stderr


def test_a_project_file_of_uv_has_no_say(project: Project, wheels: Path) -> None:
    project.write("pyproject.toml", '[tool.uv]\nno-index = true\n[tool.uv.pip]\ntarget = "elsewhere"\n')
    with serve(wheels) as index:
        environment = {**ALONE, "PIP_INDEX_URL": index.url()}
        locked = project.run("toolchain", "lock", "tiny", **environment)
        built = project.run("toolchain", "build", "tiny", **environment)

    assert (locked.returncode, built.returncode) == (0, 0), locked.stderr + built.stdout
    assert len(kept_folders(project)) == 1
