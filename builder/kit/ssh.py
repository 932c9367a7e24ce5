"""A kit finished on another machine: sent, resumed and fetched by OpenSSH, as its user has set it up.

Host keys are checked and nobody is asked for a password (BatchMode). What the other machine's shell gets to read is
fixed but for digests and a checked file name. The work stays there, in ~/builder-kits/DIGEST: a second try goes on.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from builder.errors import RemoteError, UsageError
from builder.outcomes import ExitCode

__all__ = ["resume_there"]

_HOST = re.compile(
    r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.-]*"
)  # no word that ssh takes for an option
_DIGEST = re.compile(r"[0-9a-f]{64}")
_OPTIONS = (
    *("-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=20"),
    *("-o", "ServerAliveInterval=15"),  # a line that is cut is noticed within a minute
    *("-o", "ServerAliveCountMax=3"),
)
_LOST = 255  # what ssh ends with where the connection fails (ssh(1)); else it is the command's own code
_UNSTARTED = (1, 126, 127)  # what a shell or Python ends with where a program is absent or broken
_LAST = 20  # lines of what the other side said that are kept for an error
_LINE = 2000  # characters of one that are read

# `cd` says nothing where CDPATH is set; a kit counts as sent when its last byte is there.
_SEND = """\
umask 077 && mkdir -p builder-kits/{digest} && cd builder-kits/{digest} >/dev/null || exit 1
rm -f sent && rm -rf part && mkdir part && tar xf - -C part && rm -rf kit && mv part/kit kit && rmdir part && : > sent
"""
_ASK = "test -e builder-kits/{digest}/sent"
# While it runs we hold its input open: where that ends, so does the work, and a second try finds nobody at it.
_RUN = """\
cd builder-kits/{digest} >/dev/null || exit 1
exec 3<&0
sh kit/resume.sh kit --work . 3<&- </dev/null &
work=$!
(cat <&3 >/dev/null; kill $work) >/dev/null 2>&1 &
watch=$!
wait $work
code=$?
kill $watch 2>/dev/null
exit $code
"""
_FETCH = "cat builder-kits/{digest}/{file}"


def resume_there(host: str, kit: Path, name: str, digest: str, say: Callable[[str], None]) -> Path:
    """Send a `kit.tar` of this name and SHA-256 to `user@host`, finish it there, and return the result's file, which is
    put beside the kit.

    `say` gets each line of progress. Raises RemoteError: the host cannot be reached, is not the target, or did not
    finish.
    """
    if not _HOST.fullmatch(host) or not _DIGEST.fullmatch(digest):
        raise UsageError(f"target.host: expected a name as in 'ssh user@jetson', got '{host}'")
    if sent_before := _run(host, _ASK, digest).code == 0:
        say(f"{host} has the kit already; it goes on where it stopped")
    else:
        _send(host, kit, digest, say)
    done = _finish(host, digest, say)
    if sent_before and _is_damaged(done):
        say(f"the kit on {host} is not what was sent; it is sent again, and what is done there is kept")
        _send(host, kit, digest, say)
        done = _finish(host, digest, say)
    if done.code not in (ExitCode.OK, ExitCode.FAILED) or not done.output.strip():
        _check(host, done, "finish the kit")
        raise RemoteError(f"{host} finished the kit and named no result", "run the same command again")
    file = done.output.strip().rpartition("\n")[2].rpartition("/")[2]
    if not re.fullmatch(rf"{re.escape(name)}-[a-z0-9_-]+\.result\.tar", file):
        raise RemoteError(f"{host} named the result {file[:80]!a}, which is no name of one of ours")
    return _fetch(host, digest, file, kit.with_name(file))


def _send(host: str, kit: Path, digest: str, say: Callable[[str], None]) -> None:
    """Copy a kit there, in the place of one of the same digest, complete or not at all. Raises RemoteError."""
    say(f"sends the kit ({kit.stat().st_size / 2**20:.1f} MiB) to {host}")
    with kit.open("rb") as archive:
        _check(host, _run(host, _SEND, digest, source=archive), "take the kit")


def _finish(host: str, digest: str, say: Callable[[str], None]) -> _Done:
    return _run(host, _RUN, digest, source=subprocess.PIPE, say=lambda line: say(f"{host}: {line}"))


def _is_damaged(done: _Done) -> bool:
    """Say whether a kit is not what was sent: its program refused it, or did not even start."""
    spoke = bool(done.output.strip()) or any(line.startswith("error: ") for line in done.said)
    return done.code == ExitCode.USAGE or (not spoke and done.code in _UNSTARTED)


class _Done:
    """What became of a command: its code, what it wrote, and the last lines of what it said."""

    def __init__(self, code: int, output: str, said: list[str]) -> None:
        self.code = code
        self.output = output
        self.said = said


def _command(host: str, script: str, **words: str) -> list[str]:
    """Return ssh's command line; whatever the login shell is, a POSIX shell reads the script."""
    return ["ssh", *_OPTIONS, "-T", "--", host, f"exec sh -c {shlex.quote(script.format(**words))}"]


def _run(
    host: str,
    script: str,
    digest: str,
    *,
    source: IO[bytes] | int = subprocess.DEVNULL,
    say: Callable[[str], None] | None = None,
) -> _Done:
    """Run a script there to its end, passing on what it says meanwhile. Raises RemoteError where there is no ssh."""
    try:
        process = subprocess.Popen(
            _command(host, script, digest=digest),
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise RemoteError("target.host needs OpenSSH, and there is no ssh on PATH", "install openssh-client") from error
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        written = bytearray()
        reader = threading.Thread(target=_drain, args=(process.stdout, written))
        reader.start()
        said: list[str] = []
        try:
            while line := process.stderr.readline(_LINE):
                said = [*said, line.decode(errors="replace").rstrip()][-_LAST:]
                if say and said[-1]:
                    say(said[-1])
            reader.join()
        except BaseException:
            process.kill()
            raise
    return _Done(process.returncode, written.decode(errors="replace"), said)


def _drain(stream: IO[bytes], written: bytearray) -> None:
    """Read a stream to its end and keep the last part of it."""
    while chunk := stream.read(_LINE):
        written += chunk
        del written[:-_LINE]


def _check(host: str, done: _Done, what: str) -> None:
    """Raise RemoteError unless a command ended well."""
    if done.code == 0:
        return
    if done.code == _LOST:
        raise _lost(host, done.said)
    words = [line.strip() for line in done.said if line.strip()]
    errors = [index for index, line in enumerate(words) if line.startswith("error: ")]
    told = words[errors[-1] :] if errors else words[-1:]
    message = told[0].removeprefix("error: ") if told else f"exit code {done.code}"
    code = ExitCode.MISSING_TARGET if done.code == ExitCode.MISSING_TARGET else ExitCode.FAILED
    hint = told[1] if len(told) > 1 else "run the same command again: what is done there is kept"
    raise RemoteError(f"{host} could not {what}: {message}", hint, code)


def _lost(host: str, said: list[str]) -> RemoteError:
    """Say why there is no connection, in the words of what helps."""
    last = next((line for line in reversed(said) if line.strip()), "ssh said nothing")
    if any("Host key verification failed" in line for line in said):
        return RemoteError(
            f"{host} is not known to this machine, or its key is not the one that is known",
            f"compare its key and accept it once by hand: ssh {host}",
        )
    if any("Permission denied" in line for line in said):
        return RemoteError(
            f"{host} accepts no key of yours: {last}", f"give it one, and a passphrase to an agent: ssh-copy-id {host}"
        )
    return RemoteError(
        f"the connection to {host} failed: {last}", "run the same command again: what is done there is kept"
    )


def _fetch(host: str, digest: str, file: str, target: Path) -> Path:
    """Copy a result here, complete or not at all."""
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as out:
            done = subprocess.run(
                _command(host, _FETCH, digest=digest, file=file),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                check=False,
            )
        _check(
            host, _Done(done.returncode, "", done.stderr.decode(errors="replace").splitlines()), "hand out its result"
        )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target
