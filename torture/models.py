"""The door of models: folders that try to run code, to read other files, to fill the memory, by the real commands."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torture import hostile
from torture.verdict import Figure, Verdict, at_most, equal
from torture.watch import child

SUMMARY = "hostile model folders: refused with exit code 5, no code run, nothing written"

REFUSED = 5
TIME_S, MEMORY_MB = 1.0, 100.0
HANG_S = 20.0
WALL_MB = 4096


def run(*, long: bool, seed: int) -> Verdict:
    """Offer each folder to `predict`, and those with a Keras file to `explain` and to `train --init`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked = write_cases(folder)
        wrong, slow, large = [], 0.0, 0.0
        with child("torture.models:user", limit_mb=WALL_MB, folder=name) as one:
            for title, command, case in asked:
                seen = one.ask([command, str(case)], limit_s=HANG_S)
                told = f"{title}, {command}"
                if seen.end is not None or seen.value["code"] != REFUSED:
                    wrong.append(f"{told}: {seen.end or seen.value}")
                elif seen.value["written"]:
                    wrong.append(f"{told}: wrote {seen.value['written']}")
                if seen.seconds > TIME_S or seen.peak_mb > MEMORY_MB:
                    wrong.append(f"{told}: {seen.seconds:.2f} s, {seen.peak_mb:.0f} MB")
                slow, large = max(slow, seen.seconds), max(large, seen.peak_mb)
            # What is refused so must be refused for what it is: the model that all began from is taken.
            good = one.ask(["predict", str(folder / "good")], limit_s=HANG_S)
    return Verdict(
        [
            Figure("cases", "at least 40", str(len(asked)), len(asked) >= 40),
            equal("not refused with exit code 5, or that ran, wrote, took long or much", len(wrong), 0),
            equal("exit code for the model that they were made from", good.value and good.value["code"], 0),
            at_most("longest", slow, TIME_S, unit=" s"),
            at_most("most memory", large, MEMORY_MB, unit=" MB"),
        ],
        notes=wrong,
    )


def write_cases(folder: Path) -> list[tuple[str, str, Path]]:
    """Write all model folders; returns what each is, the command to try, and the folder."""
    asked = []
    canary = folder / hostile.CANARY
    hostile.base(folder / "good")
    for number, (title, content) in enumerate(hostile.keras_cases(canary).items()):
        case = folder / f"keras-{number}"
        hostile.write_keras_case(case, content)
        asked += [(title, command, case) for command in ("explain", "take-over")]
    for number, (title, write) in enumerate(hostile.folder_cases(canary).items()):
        case = folder / f"folder-{number}"
        write(case)
        asked.append((title, "predict", case))
    return asked


def user(*, folder: str) -> Callable[[list[str]], dict[str, Any]]:
    """In the child: return the function that gives a model to a command."""
    import numpy as np
    import soundfile

    from emogram.bundle import open_bundle
    from emogram.cli import run as command_line
    from emogram.errors import EmogramError
    from emogram.pretraining import take_over

    clip = Path(folder) / "clip.wav"
    soundfile.write(clip, np.random.default_rng(0).normal(0, 0.1, 16000), 16000)

    def command(name: str, model: Path) -> int:
        if name == "take-over":  # what `train --init` does with a model, without the minutes before
            try:
                take_over(open_bundle(model), None, ())
            except EmogramError as error:
                return error.exit_code
            return 0
        more = ["--method", "grad-cam", "--out", str(Path(folder) / "out.png")] if name == "explain" else []
        return command_line([name, str(clip), "--model", str(model), *more])

    def use(question: list[str]) -> dict[str, Any]:
        name, model = question[0], Path(question[1])
        before = _listing(Path(folder))
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            code = command(name, model)
        return {"code": code, "written": sorted(_listing(Path(folder)) - before), "told": told.getvalue()[-300:]}

    command("predict", Path(folder) / "good")
    from emogram.backend import keras  # noqa: F401  what it takes to load belongs to no case

    return use


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
