"""An hour of speech analysed on one core, with and without looking for speech; what each stage takes; and peers."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.corpus import sound
from benchmarks.paired import alternate, figure, median, times_longer
from benchmarks.processes import command, emogram, on_cores
from benchmarks.tables import Table
from emogram.bundle import SHIPPED
from emogram.classifier import Classifier
from emogram.config import TimelineConfig
from emogram.errors import EmogramError
from emogram.joined import JoinConfig, join
from emogram.recordings import Recording
from emogram.speech import SoundListener, SpeechListener
from emogram.stream_frames import StreamFrames
from emogram.timeline import analyze

SUMMARY = "One hour of speech by `emogram analyze`, with and without looking for speech, and the share of each stage."
ROUNDS = 3
HEADER = ("What", "Seconds", "CPU seconds", "Times real time by CPU", "Peak memory MB", "To reach")
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": ""}

PEER_MINUTES = 5.0
PEER_PACKAGES = ("pyAudioAnalysis==0.3.14", "hmmlearn", "eyed3", "pydub", "matplotlib", "scikit-learn",
                 "imbalanced-learn", "plotly", "tqdm", "pandas")  # fmt: skip

# Whose method does the work of which stage.
STAGES: tuple[tuple[str, Any, str], ...] = (
    ("decode and resample", Recording, "blocks"),
    ("find speech", SpeechListener, "probabilities"),
    ("find speech", SoundListener, "probabilities"),
    ("spectrogram and melody of windows", StreamFrames, "model_inputs"),
    ("network", Classifier, "answers_to"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument("--minutes", type=float, default=60.0, help="Length of the recording; by default 60.")
    parser.add_argument("--model", default=SHIPPED)


def run(arguments: argparse.Namespace) -> Table:
    """Make the recording, analyse it by turns in both ways, and once more with a stopwatch on each stage."""
    minutes = 0.5 if arguments.tiny else arguments.minutes
    with sound(arguments.corpus, tiny=arguments.tiny) as (corpus, scratch), on_cores(1) as core:
        # Speech of one hour: pauses are as short as they can be.
        config = JoinConfig(minutes=minutes, pause_s=(0.2, 0.2), break_s=(0.2, 0.3))
        joined = join(corpus.clips, scratch / "hour.flac", config)
        words = emogram("analyze", joined.path, "--model", arguments.model, "--json")
        ways = {
            "`emogram analyze`": (words, 150),
            "`emogram analyze --no-find-speech`": ([*words, "--no-find-speech"], 300),
        }
        took = alternate(
            {name: command(line, environment=ENVIRONMENT) for name, (line, _) in ways.items()},
            rounds=arguments.rounds,
            warm_up=False,
        )
        rows = [
            (
                name,
                figure(median(took[name])),
                figure(median(took[name], "cpu_s")),
                f"{joined.duration_s / median(took[name], 'cpu_s'):.0f}",
                f"{median(took[name], 'peak_mb'):.0f}",
                str(reach),
            )
            for name, (_, reach) in ways.items()
        ]
        longer = times_longer(*took.values(), "cpu_s")
        notes = [
            f"A recording of {joined.duration_s / 60:g} minutes, {core}, from the start of the command to its end, "
            f"medians of {arguments.rounds} runs by turns. Looking for speech makes it {longer} times "
            "as long."
        ]
        for find in (True, False):
            notes.append(shares_line(joined.path, arguments.model, find))
        if arguments.peers and not arguments.tiny:
            row, note = peer(corpus.clips, scratch)
            rows += row
            notes.append(note)
    return Table("hour", HEADER, tuple(rows), tuple(notes))


def shares_line(path: Path, model: str, find_speech: bool) -> str:
    """Return what share of the processor's time each stage takes, once Python runs and the model is loaded."""
    classifier = Classifier.load(model)
    with stopwatches() as spent:
        began = time.process_time()
        analyze(path, model=classifier, config=TimelineConfig(find_speech=find_speech))
        whole = time.process_time() - began
    shares = {**spent, "all else": whole - sum(spent.values())}
    listed = ", ".join(f"{name} {100 * seconds / whole:.0f} %" for name, seconds in shares.items() if seconds)
    return f"Stages {'with' if find_speech else 'without'} looking for speech: {listed}."


@contextlib.contextmanager
def stopwatches() -> Iterator[dict[str, float]]:
    """Give the processor seconds that each stage takes while this is open."""
    spent = {name: 0.0 for name, _, _ in STAGES}
    kept = [(owner, method, getattr(owner, method)) for _, owner, method in STAGES]
    try:
        for name, owner, method in STAGES:
            watch = _watched_steps if method == "blocks" else _watched
            setattr(owner, method, watch(getattr(owner, method), spent, name))
        yield spent
    finally:
        for owner, method, original in kept:
            setattr(owner, method, original)


def _watched(function: Callable[..., Any], spent: dict[str, float], name: str) -> Callable[..., Any]:
    def watched(*arguments: Any, **named: Any) -> Any:
        began = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            spent[name] += time.process_time() - began

    return watched


def _watched_steps(function: Callable[..., Iterator[Any]], spent: dict[str, float], name: str) -> Callable[..., Any]:
    """The same for a generator, each of whose steps counts."""

    def watched(*arguments: Any, **named: Any) -> Iterator[Any]:
        steps = function(*arguments, **named)
        following = _watched(lambda: next(steps, None), spent, name)
        while (step := following()) is not None:
            yield step

    return watched


def peer(clips: Any, scratch: Path) -> tuple[list[tuple[str, ...]], str]:
    """Return the line of pyAudioAnalysis, or a note that it does not install."""
    what = "pyAudioAnalysis, features of the same windows (it brings no model for emotions)"
    try:
        python = peers.environment("pyaudioanalysis", PEER_PACKAGES)
        short = join(clips, scratch / "peer.wav", JoinConfig(minutes=PEER_MINUTES))
        answer = peers.ask(python, "pyaudioanalysis.py", {"path": str(short.path), "window_s": 2.048, "hop_s": 0.512})
    except EmogramError as error:
        return [], f"{what}: {error}"
    pace = f"{short.duration_s / answer['cpu_s']:.1f}"
    cells = (what, figure(answer["wall_s"]), figure(answer["cpu_s"]), pace, f"{answer['peak_mb']:.0f}", "")
    n_features, n_windows = answer["shape"]
    note = f"pyAudioAnalysis on {short.duration_s / 60:g} minutes: {n_windows} windows of {n_features} features."
    return [cells], note
