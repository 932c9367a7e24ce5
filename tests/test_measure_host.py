"""What is said of the machine."""

from __future__ import annotations

import getpass
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

from builder.measure.host import fingerprint, host, instruction_set, load_average

ROOT = Path(__file__).resolve().parents[1]


def words(document: object) -> set[str]:
    return set(re.findall(r"[\w.-]+", json.dumps(document)))


def test_the_fingerprint_is_the_same_in_another_process_and_folder(tmp_path: Path) -> None:
    code = f"import sys; sys.path.append({str(ROOT)!r}); from builder.measure.host import fingerprint; import json; "
    code += "print(json.dumps([fingerprint(), sorted({'numpy', 'onnxruntime'} & set(sys.modules))]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, check=True)
    assert json.loads(done.stdout) == [fingerprint(), []]


def test_the_fingerprint_says_which_instructions_there_are() -> None:
    assert fingerprint()["instruction_set"] == instruction_set()


def test_host_facts_say_what_was_measured_on_and_name_neither_machine_nor_user() -> None:
    facts = host()
    assert facts["processor"]
    assert facts["cores"] >= 1
    assert facts["memory_gib"] >= 1
    assert set(facts["versions"]) == {"python", "numpy", "onnxruntime", "builder"}
    assert not words(facts) & {socket.gethostname(), getpass.getuser()}


def test_the_load_is_three_averages() -> None:
    assert len(load_average()) == 3
    assert all(value >= 0 for value in load_average())
