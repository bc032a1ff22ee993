"""The door of memory: long work holds no more memory, open files and threads at its end than at its beginning."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torture.verdict import Figure, Verdict, at_most, equal
from torture.watch import child, resident_mb

SUMMARY = "thousands of predictions, an hour of live sound, a long file: no more memory, files or threads at the end"

DRIFT = 0.05
PREDICTIONS = (200, 10_000)  # short and long form
LIVE_S = (90, 3600)
FILE_S = (600, 24 * 3600)
WARM = 0.3  # of the work, after which memory must not grow
LIMIT_S = 3600.0


def run(*, long: bool, seed: int) -> Verdict:
    """Do each kind of work in a process of its own, and look at its memory at 30 % and at the end of it."""
    figures: list[Figure] = []
    counts: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        for kind, sizes in {"predictions": PREDICTIONS, "seconds live": LIVE_S, "seconds of a file": FILE_S}.items():
            with child("torture.memory:worker", folder=name, seed=seed) as one:
                seen = one.ask([kind, sizes[long]], limit_s=LIMIT_S)
            if seen.end is not None:
                figures.append(Figure(f"{sizes[long]} {kind}", "done", seen.end, False))
                continue
            (mb, files, threads), (mb_after, files_after, threads_after) = seen.value
            title = f"{sizes[long]} {kind}"
            drift = round(100 * (mb_after / mb - 1), 2)
            more = [max(0, files_after - files), max(0, threads_after - threads)]
            figures += [
                at_most(f"{title}: drift of resident memory", drift, 100 * DRIFT, unit=" %"),
                equal(f"{title}: more open files and threads", more, [0, 0]),
            ]
            counts[f"MB after {title}"] = round(mb_after, 1)
    return Verdict(figures, counts)


def worker(*, folder: str, seed: int) -> Callable[[list[Any]], list[list[float]]]:
    """In the child: return the function that does one kind of work, and tells what it held at 30 % and at the end."""
    import numpy as np
    import soundfile

    from emogram import timeline, voices
    from emogram.classifier import Classifier
    from emogram.live import Engine

    classifier = Classifier.load()
    voice = voices.voices(1, seed=seed)[0]
    clips = []
    for number, label in enumerate(("angry", "sad", "happy", "neutral")):
        clips.append(Path(folder) / f"{label}.wav")
        soundfile.write(clips[-1], voices.speak(label, speaker=voice, seed=number), 16000)
    talk = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in clips])
    held: list[list[float]] = []

    def hold() -> None:
        held.append([resident_mb(), len(list(Path("/proc/self/fd").iterdir())), threading.active_count()])

    def predict(n: int) -> None:
        for number in range(n):
            if number == int(n * WARM):
                hold()
            classifier.predict(clips[number % len(clips)], check=True)

    def live(n_seconds: int) -> None:
        engine = Engine(classifier, sample_rate=16000)
        for second in range(n_seconds):
            if second == int(n_seconds * WARM):
                hold()
            samples = np.roll(talk, -16000 * second)[:16000]
            engine.feed(samples)
        engine.finish()

    def whole_file(n_seconds: int) -> None:
        path = Path(folder) / "long.flac"
        with soundfile.SoundFile(path, "w", 16000, 1, format="FLAC") as file:
            for _ in range(-(-n_seconds * 16000 // len(talk))):
                file.write(talk)
        n_asked = 0

        def look() -> bool:
            nonlocal n_asked
            n_asked += 1
            if n_asked == max(2, int(WARM * n_seconds * 16000 / 2**18)):
                hold()
            return False

        timeline.analyze(path, model=classifier, should_stop=look)

    def work(question: list[Any]) -> list[list[float]]:
        kind, size = question
        {"predictions": predict, "seconds live": live, "seconds of a file": whole_file}[kind](int(size))
        hold()
        return held

    return work
