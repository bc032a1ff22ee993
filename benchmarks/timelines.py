"""How well `emogram analyze` finds where which emotion is, in recordings joined from clips of voices never heard."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from benchmarks.corpus import sound
from benchmarks.tables import Table, percent, within
from emogram.bundle import SHIPPED, ModelInfo
from emogram.classifier import Classifier
from emogram.config import TimelineConfig
from emogram.corpora import Corpus, find_corpus
from emogram.errors import CorpusError, EmogramError, SettingsError
from emogram.joined import MARGIN_S, JoinConfig, Joined, join
from emogram.metrics import TimelineScores, pooled, score_speakers, timeline_interval
from emogram.records import Clip, Span
from emogram.robustness import find_models
from emogram.timeline import analyze

SUMMARY = "Segment error, boundary error and event F1 on recordings of known truth, with smoothing and without."

CONDITIONS: dict[str, dict[str, Any]] = {
    "clean": {},
    "levels": {"level_db": 10.0},
    **{f"{noise}-{snr_db}": {"noise": noise, "snr_db": snr_db} for noise in ("white", "babble") for snr_db in (20, 10)},
    "call": {"channels": 2},
}

BY_HAND = "each clip cut by hand"
METHODS: dict[str, tuple[bool, bool]] = {  # smoothed, turns given
    "`--raw`": (False, False),
    "smoothed": (True, False),
    "`--raw --turns`": (False, True),
    "smoothed, `--turns`": (True, True),
}

HEADER = (
    "Sound", "Answers", "Segment error % (95 %)", "Wrong when sure %", "Unsure %", "Missed %", "UAR over time %",
    "Changes found", "Off by ms, median (mean)", "False changes a min.", "Event F1, onset 0.5 s (95 %)",
    "Event F1, overlap 0.5",
)  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """A joined recording and the model that never heard its speakers."""

    joined: Joined
    classifier: Classifier


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument(
        "--model", type=Path, nargs="+", default=[Path(SHIPPED)], help="Models, runs, or folders of a cross-validation."
    )
    parser.add_argument("--part", choices=("test", "validation"), default="test", help="Whose clips to join.")
    parser.add_argument("--speakers", metavar="NAME,...", help="Join the clips of these instead.")
    parser.add_argument("--minutes", type=float, default=10.0, help="Length of the recording of each model.")
    parser.add_argument("--babble", type=Path, metavar="CORPUS", help="Whose voices make babble.")
    parser.add_argument("--sound", default="clean", metavar="NAME,...", help=f"Some of {', '.join(CONDITIONS)}.")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> Table:
    """Make the recordings, analyse each in every way, and pool what was found."""
    names = arguments.sound.split(",")
    unknown = [name for name in names if name not in CONDITIONS]
    if unknown:
        raise SettingsError(f"unknown sound {', '.join(unknown)}; expected some of {', '.join(CONDITIONS)}")
    if arguments.tiny:
        arguments.minutes = 0.3
    babblers = find_corpus(arguments.babble).clips if arguments.babble else ()
    paths = [path for given in arguments.model for _, path in find_models(given).values()]
    wanted = arguments.speakers.split(",") if arguments.speakers else None
    rows = []
    speakers: set[str] = set()
    with sound(arguments.corpus, tiny=arguments.tiny) as (corpus, scratch):
        for name in names:
            found: dict[str, dict[str, list[TimelineScores]]] = {}
            recordings = recordings_of(
                corpus,
                [Classifier.load(path) for path in paths],
                scratch,
                config=JoinConfig(minutes=arguments.minutes, seed=arguments.seed, **CONDITIONS[name]),
                part=arguments.part,
                speakers=wanted,
                babblers=babblers,
            )
            minutes = 0.0
            for recording in recordings:
                print(f"{name}: {recording.joined.path.name}", file=sys.stderr)
                minutes += recording.joined.duration_s / 60.0
                for method, answer in answers_of(recording).items():
                    for speaker, scores in score(recording, answer).items():
                        found.setdefault(method, {}).setdefault(speaker, []).append(scores)
                        speakers.add(speaker)
                for suffix in (".flac", ".jsonl", ".rttm"):
                    recording.joined.path.with_suffix(suffix).unlink()
            rows += [row(name, method, scores, minutes) for method, scores in found.items()]
    n = len(paths)
    return Table(
        f"timelines {corpus.name}",
        HEADER,
        tuple(rows),
        (
            f"{n} recording{'s' if n > 1 else ''} of {arguments.minutes:g} minutes for each sound, "
            f"{len(speakers)} speakers that the model{'s' if n > 1 else ''} never heard; intervals resample speakers.",
        ),
    )


def recordings_of(
    corpus: Corpus,
    classifiers: Sequence[Classifier],
    folder: Path,
    *,
    config: JoinConfig,
    part: str = "test",
    speakers: Sequence[str] | None = None,
    babblers: Sequence[Clip] = (),
) -> Iterator[Recording]:
    """Yield a recording for each model, of the clips of speakers that it never heard.

    Raises:
        CorpusError: The corpus has no such clips.
    """
    for number, classifier in enumerate(classifiers):
        clips = unheard(corpus.clips, classifier.info, part) if speakers is None else of_speakers(corpus, speakers)
        if not clips:
            raise CorpusError(
                f"{corpus.root}: no clips of speakers that the model never heard; name some by --speakers"
            )
        yield Recording(join(clips, folder / f"{corpus.name}-{number}.flac", config, babblers=babblers), classifier)


def unheard(clips: Sequence[Clip], info: ModelInfo, part: str) -> list[Clip]:
    """Return the clips of a corpus that did not train, else those of the speakers set aside for a part."""
    if not {clip.corpus for clip in clips} & {corpus.corpus for corpus in info.trained_on}:
        return list(clips)
    aside = set(info.split.get(f"{part}_speakers", ())) - set(info.split.get("train_speakers", ()))
    several = len(info.split.get("corpora", ())) > 1
    return [clip for clip in clips if (f"{clip.corpus}/{clip.speaker}" if several else clip.speaker) in aside]


def of_speakers(corpus: Corpus, names: Sequence[str]) -> list[Clip]:
    """Return the clips of some speakers."""
    return [clip for clip in corpus.clips if clip.speaker in names]


def answers_of(
    recording: Recording, *, config: TimelineConfig | None = None, methods: Mapping[str, tuple[bool, bool]] = METHODS
) -> dict[str, list[Span]]:
    """Return what is said of a recording in each way."""
    answers = {BY_HAND: by_hand(recording)}
    for method, (smoothed, turns) in methods.items():
        answers[method] = analysed(recording, smoothed=smoothed, turns=turns, config=config)
    return answers


def analysed(recording: Recording, *, smoothed: bool, turns: bool, config: TimelineConfig | None = None) -> list[Span]:
    """Return what `emogram analyze` says."""
    joined = recording.joined
    timeline = analyze(
        joined.path,
        model=recording.classifier,
        channels="split" if joined.channels > 1 else "mix",
        turns=joined.path.with_suffix(".rttm") if turns else None,
        raw=not smoothed,
        config=config,
    )
    return [
        Span(
            segment.start_s,
            segment.end_s,
            segment.prediction.label,
            segment.speaker,
            segment.channel,
            segment.prediction.abstained,
        )
        for segment in timeline.segments
    ]


def by_hand(recording: Recording) -> list[Span]:
    """Return what the model says of each clip, cut from the recording where the truth says it is.

    No way to find the clips can do better than this on average, unless it hears several of one emotion together.
    """
    answers = []
    with soundfile.SoundFile(recording.joined.path) as file:
        rate = file.samplerate
        for span in recording.joined.truth:
            file.seek(round((span.start_s - MARGIN_S) * rate))
            sound = file.read(round((span.end_s - span.start_s + 2 * MARGIN_S) * rate), dtype="float32", always_2d=True)
            try:
                said = recording.classifier.predict(sound[:, span.channel or 0], sample_rate=rate)
            except EmogramError:  # too short to be judged
                continue
            answers.append(Span(span.start_s, span.end_s, said.label, None, span.channel, said.abstained))
    return answers


def score(recording: Recording, answer: Sequence[Span]) -> dict[str, TimelineScores]:
    """Return the scores of each speaker, over the channels."""
    truth = recording.joined.truth
    labels = list(dict.fromkeys([*recording.classifier.labels, *(span.label for span in truth)]))
    found: dict[str, TimelineScores] = {}
    for channel in sorted({span.channel or 0 for span in truth}):
        true = [span for span in truth if (span.channel or 0) == channel]
        said = [span for span in answer if (span.channel or 0) == channel]
        found |= score_speakers(true, said, labels)  # a speaker stays on his channel
    return found


def row(
    condition: str, method: str, by_speaker: Mapping[str, Sequence[TimelineScores]], minutes: float
) -> tuple[str, ...]:
    """Return the cells of one line."""
    apart = [pooled(scores) for scores in by_speaker.values()]
    whole = pooled(apart)
    error = within(whole.segment_error, timeline_interval(apart, lambda scores: scores.segment_error))
    onset = within(whole.onset_f1, timeline_interval(apart, lambda scores: scores.onset_f1))
    cells = (condition, method, error, percent(whole.answered_error), percent(whole.unsure_share))
    if method == BY_HAND:  # its boundaries are the true ones
        return (*cells, percent(whole.missed_share), percent(whole.uar), "", "", "", "", "")
    return (
        *cells,
        percent(whole.missed_share),
        percent(whole.uar),
        f"{whole.boundaries_found} of {whole.n_true}",
        f"{whole.boundary_median_ms:.0f} ({whole.boundary_mean_ms:.0f})",
        f"{whole.boundaries_false / minutes:.1f}",
        onset,
        percent(whole.overlap_f1),
    )
