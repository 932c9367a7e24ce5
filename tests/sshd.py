"""A real sshd on loopback, to which another user can log in: a device as `target.host` sees it. Needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from kits import standin
from projects import Project
from users import GROUP, open_folder, opened

__all__ = ["HOST", "Server", "ssh_server"]

HOST = "device@jetson"
SSHD = "/usr/sbin/sshd"
CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
AllowUsers device
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PrintMotd no
PidFile none
Subsystem sftp internal-sftp
SetEnv PYTHONDONTWRITEBYTECODE=1 {settings}
"""
CLIENT = """\
Host jetson
  HostName 127.0.0.1
  Port {port}
  IdentityFile {folder}/client_key
  IdentitiesOnly yes
  UserKnownHostsFile {known}
  GlobalKnownHostsFile /dev/null
"""


@dataclass
class Server:
    """A running sshd, the home of its only user, and what a project needs to reach it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def number(self) -> int:
        """Its user's number."""
        return _number(self.port)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def work(self) -> list[Path]:
        """Where kits were sent to."""
        return sorted((self.home / "builder-kits").glob("*"))

    def admit(self, project: Project, *, known: bool = True, key: bool = True) -> None:
        """Let a project's `ssh` reach the server by a configuration of its own, as a user's ~/.ssh/config would."""
        place = project.folder / "ssh"
        place.mkdir(exist_ok=True)
        public = (self.folder / "host_key.pub").read_text().split()
        (place / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n" if known else "")
        (place / "config").write_text(CLIENT.format(port=self.port, folder=self.folder, known=place / "known_hosts"))
        (self.folder / "authorized_keys").write_text((self.folder / "client_key.pub").read_text() if key else "")
        for name in ("ssh", "scp"):
            program = place / name
            program.write_text(f'#!/bin/sh\nexec {shutil.which(name)} -F {place}/config "$@"\n')
            program.chmod(0o755)
        project.environment["PATH"] = os.pathsep.join([str(place), os.environ["PATH"]])

    def cut(self) -> None:
        """End every session, as a network that goes away would."""
        for child in _children(self.process.pid):
            for session in (*_children(child), child):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(session, 9)


@contextlib.contextmanager
def ssh_server(python: str = "", reach: Sequence[Path] = (), **settings: str) -> Iterator[Server]:
    """Yield a server whose device has trtexec's stand-in; skip where there is no sshd, or no other user can log in.

    `python` is the device's python3, `reach` what its programs read elsewhere, and `settings` their environment.
    """
    missing = [name for name in (SSHD, "ssh", "scp", "ssh-keygen", "unshare") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"a login as another user takes root and OpenSSH's server; missing: {', '.join(missing) or 'root'}")
    with open_folder() as folder:
        port = _prepare(folder, python, settings)
        reach = [*reach, *([Path(python).resolve().parents[1]] if python else [])]
        script = ["set -e", *opened(*reach), f"mount --bind {folder}/passwd /etc/passwd"]
        script += ["mount -t tmpfs none /run", "mkdir -m 755 /run/sshd", f"exec {SSHD} -D -e -f {folder}/config"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(["unshare", "--mount", "sh", "-c", "\n".join(script)], stdout=log, stderr=log)
        try:
            _wait(port, process, folder / "log")
            yield Server(folder, port, process)
        finally:
            process.terminate()
            process.wait()
            _end_all(_number(port))


def _number(port: int) -> int:
    """Return a user's number for a server, so that what it ends is no other's that runs at the same time."""
    return GROUP + 100 + port % 4000


def _end_all(number: int) -> None:
    """End what the server's user has left running: it goes on for a while where a connection is cut."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == number:
                os.kill(int(process.name), 9)


def _prepare(folder: Path, python: str, settings: Mapping[str, str]) -> int:
    """Write keys, users and configuration; return the port."""
    for name in ("host_key", "client_key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    home = folder / "home"
    home.mkdir(mode=0o700)
    users = Path("/etc/passwd").read_text()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    os.chown(home, _number(port), GROUP)
    (folder / "passwd").write_text(f"{users}device:*:{_number(port)}:{GROUP}::{home}:/bin/sh\n")
    programs = standin(folder / "bin")
    if python:
        (programs / "python3").symlink_to(python)
    given = {"PATH": os.pathsep.join([str(programs), "/usr/bin", "/bin"]), **settings}
    text = " ".join(f"{name}={value}" for name, value in given.items())
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder, settings=text))
    return port


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(100):
        if process.poll() is not None:
            pytest.skip(f"sshd does not run here: {log.read_text().strip()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    pytest.fail(f"sshd answers nobody: {log.read_text()}")


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in listed.read_text().split()] if listed.exists() else []
