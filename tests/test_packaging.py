"""What goes out: types that others see, the version in each place, a release that is made whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import emogram

ROOT = Path(__file__).parents[1]
WHO = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org"}
WHO |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_CONFIG_GLOBAL": os.devnull}


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


# ---------------------------------------------------------------- types

CONSUMER = """
import emogram

model = emogram.load()
reveal_type(model.predict("clip.wav").label)
reveal_type(emogram.analyze("call.wav").segments)
emogram.load(3)
model.predikt("clip.wav")
"""


@pytest.mark.slow
def test_strict_mypy_of_a_program_that_uses_the_package_sees_its_types(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    shutil.copytree(Path(emogram.__file__).parent, site / "emogram", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "consumer.py").write_text(CONSUMER)

    def complaints() -> list[str]:
        command = [sys.executable, "-m", "mypy", "--strict", f"--python-executable={python}", "--config-file="]
        done = subprocess.run(
            [*command, f"--cache-dir={tmp_path / 'cache'}", "consumer.py"],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")},
            capture_output=True,
            text=True,
            check=False,
        )
        return [line.partition(" ")[2] for line in done.stdout.splitlines() if line.startswith("consumer.py")]

    assert complaints() == [
        'note: Revealed type is "str"',
        'note: Revealed type is "tuple[emogram.records.Segment, ...]"',
        'error: Argument 1 to "load" has incompatible type "int"; expected "str | Path"  [arg-type]',
        'error: "Classifier" has no attribute "predikt"; maybe "predict" or "_predict"?  [attr-defined]',
    ]
    (site / "emogram" / "py.typed").unlink()
    assert "missing library stubs or py.typed marker" in "".join(complaints())


# ---------------------------------------------------------------- one version
