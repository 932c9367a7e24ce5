"""What a person sees: the live table on a terminal, plain lines elsewhere, quiet and verbose, logs of failures."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from projects import Project, write_small

STEP = '''
"""A step for tests of what is shown."""
from __future__ import annotations

from dataclasses import dataclass

from builder.step import Job, Kind, Result, step


@dataclass
class Options:
    number: int = 0
    lines: int = 1
    wait: str = ""
    fail: bool = False
    forge: bool = False


@step(options=Options, rank=50, inputs={"model": Kind.ONNX}, outputs={"data": Kind.DATA})
def slow(options: Options, job: Job) -> Result:
    """Report progress, then wait until a file is there."""
    import os
    import time

    for line in range(options.lines):
        print(f"line {line} \\x1b]0;a title\\x07")
    print("  1 %\\r 99 %")
    job.progress(3, 40, "counting")
    while options.wait and not os.path.exists(options.wait):
        time.sleep(0.02)
    if options.fail:
        raise RuntimeError("no luck \\x1b[2J here")
    (job.folder("data") / "number").write_text(str(options.number))
    return Result(facts={"said": "\\x1b[2J\\n  built     forged"} if options.forge else {})
'''
RECIPE = """\
# @package _global_
defaults:
  - override /model: small
  - override /steps: [slow]
  - _self_
name: slow
summary: a step that waits
"""


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a step `slow` and its input in the store; each test runs a `number` of its own."""
    project = write_small(Project(tmp_path_factory.mktemp("slow")))
    project.add_steps(slow=STEP)
    project.write("recipes/slow.yaml", RECIPE)
    done = project.run("recipe=slow", "steps=[]", "name=idle")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


class Display:
    """What a terminal shows of what it was sent: text, colours, carriage return, going up, erasing what is below."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[list[str]] = [[]]
        self.row = self.column = 0

    def send(self, text: str) -> list[str]:
        for part in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|.|\n", text, re.DOTALL):
            self._take(part)
        return ["".join(row).rstrip() for row in self.rows]

    def _take(self, part: str) -> None:
        if part == "\r":
            self.column = 0
        elif part == "\n":
            self._down()
        elif part == "\x1b[J":
            self.rows[self.row :] = [self.rows[self.row][: self.column]]
        elif part.startswith("\x1b[") and part.endswith("A"):
            self.row -= int(part[2:-1])
        elif not part.endswith("m") or len(part) == 1:
            assert part.isprintable(), f"a terminal was sent {part!r}"
            if self.column == self.columns:
                self.column = 0
                self._down()
            row = self.rows[self.row]
            row += [" "] * (self.column + 1 - len(row))
            row[self.column] = part
            self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append([])


class Session:
    """A program on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self.sent = ""

    def until(self, seen: Callable[[str], object]) -> str:
        """Read until what was sent is as wanted."""
        limit = time.monotonic() + 60
        while not seen(self.sent):
            assert time.monotonic() < limit, self.sent[-2000:]
            assert self._read(), self.sent[-2000:]
        return self.sent

    def end(self) -> int:
        """Read to the end and return the exit code."""
        while self._read():
            pass
        return self.process.wait(100)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> bool:
        assert select.select([self._master], [], [], 60)[0], self.sent[-2000:]
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # EIO: nobody has the terminal any more
            return False
        self.sent += data.decode(errors="replace")
        return bool(data)


@contextmanager
def on_terminal(
    project: Project, *words: str, columns: int = 100, lines: int = 30, stdout: int | None = None, **environment: str
) -> Iterator[Session]:
    """Start `python -m builder` on a terminal of so many columns and lines."""
    master, slave = pty.openpty()
    command = words if words[0] == sys.executable else (sys.executable, "-m", "builder", *words)
    process = subprocess.Popen(
        command,
        cwd=project.folder,
        env={**project.environment, "TERM": "xterm-256color", **environment},
        stdin=slave,
        stdout=slave if stdout is None else stdout,
        stderr=slave,
    )
    session = Session(process, master)
    session.resize(columns, lines)
    os.close(slave)
    try:
        yield session
    finally:
        process.kill()
        process.wait()
        os.close(master)


def shown(session: Session, columns: int = 100) -> list[str]:
    return Display(columns).send(session.sent)


def waiting(project: Project, number: int) -> tuple[Path, tuple[str, ...]]:
    """Return the file that lets a build go on, and the build's words."""
    go = project.folder / f"go{number}"
    return go, ("recipe=slow", f"steps.slow.number={number}", f"steps.slow.wait={go}")


def test_a_table_shows_what_runs_and_is_gone_at_the_end(slow: Project) -> None:
    go, words = waiting(slow, 1)
    with on_terminal(slow, *words, columns=400) as session:
        session.until(lambda sent: "3/40 counting" in sent and "1/2 done, 1 running" in sent)
        during = shown(session, 400)
        go.touch()
        code = session.end()

    assert code == 0, session.sent
    assert re.fullmatch(r"  running  slow  .* 3/40 counting .* \d+ s( of ~\d+ s)?", during[-2])
    assert re.fullmatch(r"  1/2 done, 1 running(, about \d+ s left)?", during[-1])
    firsts = ["slow  small", "  cached    model", "  built     slow", "report  ", "built  slow:"]
    after = [line for line in shown(session, 400) if line]
    assert [line[: len(first)] for line, first in zip(after, firsts, strict=True)] == firsts
    assert not re.search(r"3/40| {20}\d+ s", "\n".join(after))


def test_the_table_tells_how_long_it_took_the_last_time(slow: Project) -> None:
    go, words = waiting(slow, 2)
    go.touch()
    slow.run(*words)
    go.unlink()
    with on_terminal(slow, *words, "fresh=[slow]") as session:
        session.until(lambda sent: re.search(r"\d s( of ~|, last time )\d+ s", sent))
        go.touch()

        assert session.end() == 0


def test_a_narrow_terminal_that_becomes_narrower_gets_rows_that_fit(slow: Project) -> None:
    go, words = waiting(slow, 3)
    with on_terminal(slow, *words, columns=60, lines=12) as session:
        session.until(lambda sent: "1/2 done, 1 running" in sent)
        session.resize(24, 12)
        before = len(session.sent)
        session.until(lambda sent: sent[before:].count("1/2 done") > 2)
        narrow = session.sent[before:].rpartition("\x1b[J")[2]
        go.touch()
        code = session.end()

    rows = [re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", row) for row in narrow.replace("\r", "").split("\n")]
    assert code == 0
    assert [len(row) <= 23 for row in rows] == [True, True], rows
    assert rows[0].startswith(" slow ")


def test_more_actions_than_fit_are_counted(slow: Project) -> None:
    go, words = waiting(slow, 4)
    with on_terminal(slow, "-m", *words, "steps.slow.lines=1,2,3,4,5", "jobs=5", lines=10) as session:
        session.until(lambda sent: "and 2 more" in sent)
        during = shown(session)
        go.touch()
        code = session.end()

    assert code == 0, session.sent
    assert sum(line.startswith("  running") for line in during) == 3
    assert not any("running" in line for line in shown(session))
    assert sum(line.startswith("  built") and "/slow " in line for line in shown(session)) == 5


def test_ctrl_c_leaves_neither_table_nor_a_hidden_cursor(slow: Project) -> None:
    _, words = waiting(slow, 5)
    with on_terminal(slow, *words) as session:
        session.until(lambda sent: "1/2 done, 1 running" in sent)
        session.process.send_signal(signal.SIGINT)
        code = session.end()

    assert code == 130
    assert "\x1b[?25l" not in session.sent
    assert [line.partition(":")[0] for line in shown(session) if line][2:] == ["error", "  hint"]


def test_no_color_leaves_the_table_without_colours(slow: Project) -> None:
    go, words = waiting(slow, 6)
    with on_terminal(slow, *words, NO_COLOR="1") as session:
        session.until(lambda sent: "1/2 done, 1 running" in sent)
        go.touch()

        assert session.end() == 0
    assert not re.search(r"\x1b\[[\d;]*m", session.sent)


def test_a_dumb_terminal_gets_lines_alone(slow: Project) -> None:
    with on_terminal(slow, "recipe=slow", "steps.slow.number=7", TERM="dumb") as session:
        assert session.end() == 0

    assert "  built     slow" in session.sent
    assert "\x1b" not in session.sent


def test_lines_go_to_a_pipe_while_the_table_is_on_the_terminal(slow: Project) -> None:
    go, words = waiting(slow, 8)
    read, write = os.pipe()
    with on_terminal(slow, *words, stdout=write) as session:
        os.close(write)
        session.until(lambda sent: "1/2 done, 1 running" in sent)
        go.touch()
        code = session.end()
    with os.fdopen(read, encoding="utf-8") as pipe:
        piped = pipe.read()

    assert code == 0
    assert "\x1b" not in piped
    assert [line.split()[:2] for line in piped.splitlines()[1:3]] == [["cached", "model"], ["built", "slow"]]
    assert not any(line.startswith("  built") for line in shown(session))


def test_a_build_with_nothing_to_do_imports_nothing_for_a_table(slow: Project) -> None:
    words = ["recipe=slow", "steps=[]", "name=idle"]
    script = f"import sys; from builder.__main__ import run; run({words}); print('rich' in sys.modules)"
    with on_terminal(slow, sys.executable, "-c", script) as session:
        session.end()

    assert "nothing to do" in session.sent
    assert session.sent.splitlines()[-1] == "False"


def test_quiet_tells_the_verdict_and_nothing_else(slow: Project) -> None:
    done = slow.run("-q", "recipe=small", "steps=[simplify]", "~steps.quantize")

    assert done.stdout == "built  small: 1 built, 1 cached\n"
    assert done.stderr == ""


def test_quiet_tells_what_failed_and_which_gates_are_not_kept(slow: Project) -> None:
    done = slow.run("-q", "recipe=slow", "steps.slow.number=10", "steps.slow.fail=true", "gates.max_size_mib=1")
    lines = [line for line in done.stdout.splitlines() if not line.startswith(" " * 12)]

    assert done.returncode == 1
    assert [line.split()[:2] for line in lines] == [["failed", "slow"], ["unmeasured", "gate"], ["failed", "slow:"]]


def test_verbose_shows_what_an_action_printed_its_log_and_its_key(slow: Project) -> None:
    done = slow.run("-v", "recipe=slow", "steps.slow.number=11", "steps.slow.lines=300")
    lines = done.stdout.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("  built     slow"))
    printed = [line.strip().removeprefix("| ") for line in lines if line.startswith("            | ")]
    log = next(line.split()[1] for line in lines[start:] if line.startswith("            log "))

    assert re.fullmatch(r" {12}key [0-9a-f]{64}", lines[start + 1])
    assert printed[0] == "..."
    assert printed[1:-1] == [rf"line {number} \x1b]0;a title\x07" for number in range(101, 300)]
    assert printed[-1] == " 99 %"
    assert Path(slow.folder, log).read_text().startswith("line 0 \x1b]0;a title\x07\nline 1")


def test_a_failed_action_shows_reason_hint_last_output_and_log(slow: Project) -> None:
    done = slow.run("recipe=slow", "steps.slow.number=12", "steps.slow.fail=true", "steps.slow.lines=30")
    lines = done.stdout.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("  failed    slow"))
    printed = [line for line in lines if line.startswith("            | ")]
    log = next(line.split()[1] for line in lines[start:] if line.startswith("            log "))

    assert r"RuntimeError: no luck \x1b[2J here" in lines[start]
    assert lines[start + 1].startswith("            hint: ")
    assert printed[0] == "            | ..."
    assert len(printed) == 11
    assert printed[-1] == "            |  99 %"  # the traceback is in the log, for the step's author
    assert "Traceback" in Path(slow.folder, log).read_text()


def test_facts_cannot_steer_the_terminal_or_pass_for_lines_of_ours(slow: Project) -> None:
    done = slow.run("recipe=slow", "steps.slow.number=13", "steps.slow.forge=true")
    lines = done.stdout.splitlines()

    assert done.stderr == ""
    assert [line.split()[:2] for line in lines[:3]] == [["slow", "small"], ["cached", "model"], ["built", "slow"]]
    assert lines[2].endswith(r"said \x1b[2J")
    assert lines[3].startswith("              built     forged")


def test_json_stays_alone_on_stdout_also_when_verbose(slow: Project) -> None:
    words = ("-v", "recipe=slow", "steps.slow.number=14")
    document = slow.run(*words, "output=json")
    lines = slow.run(*words, "output=jsonl", "fresh=[slow]").stdout.splitlines()

    assert json.loads(document.stdout)["status"] == "built"
    assert "            | line 0" in document.stderr
    assert [json.loads(line)["kind"] for line in lines][:2] == ["planned", "finished"]
    assert json.loads(lines[-1])["manifest"]["status"] == "built"


def test_the_columns_are_as_wide_as_the_longest_name(small: Project) -> None:
    words = ("model=small", "data=small", "target=jetson_orin", "steps=[evaluate,compile]", "offline=true")
    gate = "+gates.max_size_mib=9"
    planned, built = small.run("plan", *words), small.run(*words, gate)
    rows = {
        verb: [line for line in done.stdout.splitlines() if line.startswith("  ") and len(line.split()) > 1]
        for verb, done in (("plan", planned), ("build", built))
    }
    width = len("toolchain.tensorrt_rtx")

    assert built.returncode == planned.returncode == 0, built.stderr + planned.stderr
    for lines in rows.values():
        named = [line for line in lines if line[2:11].split()]
        assert {"evaluate@tensorrt", "model"} < {line[12 : 12 + width].strip() for line in named}
        assert {line[12 + width] for line in named} == {" "}
        keys = [line[13 + width : 21 + width].strip() for line in named if "gate" not in line]
        assert all(re.fullmatch(r"([0-9a-f]{8})?", key) for key in keys)
    [gates] = [line for line in rows["build"] if "gate" in line]
    assert gates[12 : 13 + width] == f"{'gate':{width}} "
    assert gates[13 + width] != " "
