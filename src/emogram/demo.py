"""The whole road on synthetic voices, in a few minutes and with nothing at hand.

Voices -> spectrogram pictures -> training -> judging on voices that were never heard -> plots -> one prediction. It
proves that the machinery works on a machine, and says nothing of accuracy on human speech.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emogram import voices
from emogram.classifier import Classifier
from emogram.config import RunConfig, run_config
from emogram.corpora import find_corpus
from emogram.errors import SettingsError
from emogram.pictures import write_pictures
from emogram.progress import SILENT, Progress
from emogram.records import Clip, Prediction, Report

CAVEAT = (
    "these voices are synthetic: the figures prove that the machinery works and say nothing about accuracy on human "
    "speech"
)
MIN_SPEAKERS = 3

VOICES_FOLDER, PICTURES_FOLDER, RUN_FOLDER = "voices", "spectrograms", "run"

# Found by trying, for one minute of training on two cores: a narrow network, small steps and mild augmentation. Many
# voices that say little teach it more than few that say much (UAR 0.67 with 20 x 3 clips, 0.46 with 12 x 5).
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "augment": {
        "time_masks": 1,
        "frequency_masks": 1,
        "frequency_mask_width": 4,
        "time_stretch": 0.05,
        "frequency_shift": 0.0,
        "band_gain": 0.0,
    },
    "network": {"width": 0.5, "dropout": 0.3, "block_dropout": 0.0},
    "train": {
        "batch_size": 8,
        "train_frames": 0,
        "learning_rate": 2e-3,
        "label_smoothing": 0.05,
        "warmup_epochs": 1.0,
    },
}


@dataclass(frozen=True)
class DemoResult:
    """What the demo made, and where it lies.

    Attributes:
        out: The folder of all below.
        voices: Synthetic clips, one folder for each emotion, with a manifest.
        pictures: Their spectrograms, likewise.
        run: The run folder of the training, which holds the model.
        report: What the model is worth on voices that it never heard.
        plots: Files drawn.
        clip: A clip of such a voice; its label is the truth.
        prediction: What the model said of it.
        n_clips: How many clips were made.
        failed: Clips that could not be used, and why.
        warnings: What the reader should know.
        interrupted: True where Ctrl-C ended the training early.
        seconds: How long all of it took.
    """

    out: Path
    voices: Path
    pictures: Path
    run: Path
    report: Report
    plots: tuple[Path, ...]
    clip: Clip
    prediction: Prediction
    n_clips: int
    failed: tuple[tuple[Clip, str], ...]
    warnings: tuple[str, ...]
    interrupted: bool
    seconds: float


def run_demo(
    out: Path,
    *,
    n_speakers: int = 20,
    n_utterances: int = 3,
    epochs: int = 24,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> DemoResult:
    """Go the whole road in one folder. What an earlier demo left there is replaced.

    Args:
        out: The folder; made if missing.
        n_speakers: Voices, at least `MIN_SPEAKERS`: a third of them judges, a sixth chooses the epoch, the rest trains.
        n_utterances: Clips of each voice and emotion.
        epochs: Times that the training clips are seen.
        seed: Of the voices and of the training.
        workers: Number of processes that make and read clips.
        progress: Is told how far it is.

    Raises:
        SettingsError: Too few voices, or `out` holds something else.
        MissingExtraError: The extra for training is not installed.
        OutputError: Something could not be written.
    """
    from emogram.train import train

    started = time.monotonic()
    if n_speakers < MIN_SPEAKERS:
        raise SettingsError(
            f"{n_speakers} voices; at least {MIN_SPEAKERS} are needed: to train on, to choose the epoch by, to judge by"
        )
    _refuse_foreign(out)
    manifest = voices.make_corpus(
        out / VOICES_FOLDER,
        n_speakers=n_speakers,
        n_utterances=n_utterances,
        seed=seed,
        workers=workers,
        progress=progress,
    )
    corpus = find_corpus(manifest)
    drawn = write_pictures(
        corpus, out / PICTURES_FOLDER, _picture_settings().spectrogram, workers=workers, progress=progress
    )
    config = demo_settings(n_speakers=n_speakers, epochs=epochs, seed=seed)
    result = train(corpus, config, out / RUN_FOLDER, workers=workers, progress=progress)
    unseen = set(config.split.test_speakers)
    clip = next(clip for clip in corpus.clips if clip.speaker in unseen)
    return DemoResult(
        out=out,
        voices=out / VOICES_FOLDER,
        pictures=out / PICTURES_FOLDER,
        run=result.run,
        report=result.report,
        plots=result.plots,
        clip=clip,
        prediction=Classifier.load(result.run).predict_clip(clip),
        n_clips=len(corpus.clips),
        failed=(*drawn.failed, *result.failed),
        warnings=(*result.warnings, CAVEAT),
        interrupted=result.interrupted,
        seconds=time.monotonic() - started,
    )


def demo_settings(*, n_speakers: int, epochs: int, seed: int) -> RunConfig:
    """Return the settings of the demo's training: the default network, made small, and voices that it never hears."""
    names = [voice.name for voice in voices.voices(n_speakers, seed)]
    n_test, n_validation = max(1, n_speakers // 3), max(1, n_speakers // 6)
    split = {
        "validation_speakers": names[-n_test - n_validation : -n_test],
        "test_speakers": names[-n_test:],
    }
    training = {**_SETTINGS["train"], "epochs": epochs, "seed": seed}
    return run_config({**_SETTINGS, "train": training, "split": split})


def _picture_settings() -> RunConfig:
    return run_config({"network": {"network": "baseline"}})


def _refuse_foreign(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / VOICES_FOLDER).is_dir():
        raise SettingsError(f"{out}: holds something else than an earlier demo; name a new folder")
