"""`overrides` of a toolchain: what is taken whatever a package itself asks for."""

from __future__ import annotations

from projects import Project
from toolchains import add_toolchain, kept_folders
from wheels import make_wheel


def test_an_override_wins_over_what_a_package_asks_for(project: Project) -> None:
    folder = add_toolchain(project, "tiny", "other==2.0")
    make_wheel(folder, "tiny", requires="other==1.0")
    make_wheel(folder, "other", "2.0")
    refused = project.run("toolchain", "lock", "tiny")
    described = project.folder / "conf/toolchain/tiny.yaml"
    described.write_text(f"{described.read_text()}overrides: [other==2.0]\n")

    locked = project.run("toolchain", "lock", "tiny")
    built = project.run("toolchain", "build", "tiny")

    assert refused.returncode == 1
    assert "other==1.0" in refused.stderr
    assert locked.returncode == 0, locked.stderr
    assert built.returncode == 0, built.stdout + built.stderr
    [tools] = kept_folders(project)
    assert (tools / "other-2.0.dist-info").is_dir()


def test_a_lock_is_out_of_date_where_the_overrides_are_others(project: Project) -> None:
    make_wheel(add_toolchain(project), "tiny")
    assert project.run("toolchain", "lock", "tiny").returncode == 0
    described = project.folder / "conf/toolchain/tiny.yaml"
    described.write_text(f"{described.read_text()}overrides: [tiny==1.0]\n")

    built = project.run("toolchain", "build", "tiny")

    assert built.returncode != 0
    assert "python -m builder toolchain lock tiny" in built.stderr
