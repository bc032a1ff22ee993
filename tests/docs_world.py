"""A folder in which the commands of the documentation find what they name: sound, corpora and models, all made up."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import soundfile
from docs_blocks import ROOT

from emogram import voices
from emogram.config import run_config
from emogram.corpora import find_corpus
from emogram.corpora.labels import EMOTIONS
from emogram.testing import tiny_bundle

RATE = 16000

# What the settings of a training are in this folder, unless a command says otherwise by a flag.
SMALL = {
    "EMOGRAM_EPOCHS": "1",
    "EMOGRAM_WIDTH": "0.25",
    "EMOGRAM_TRAIN_FRAMES": "32",
    "EMOGRAM_BATCH_SIZE": "32",
}


def make_world(folder: Path) -> Path:
    """Fill a folder with what the pages name."""
    _sounds(folder)
    for name, (labels, speakers, file) in _CORPORA.items():
        _noises(folder / name, labels, speakers, file)
    (folder / "meeting.rttm").write_text(
        "SPEAKER meeting 1 0.0 1.5 <NA> <NA> anna <NA> <NA>\nSPEAKER meeting 1 1.5 1.5 <NA> <NA> ben <NA> <NA>\n",
        encoding="utf-8",
    )
    (folder / "my.toml").write_text("[train]\nlearning_rate = 0.001\n", encoding="utf-8")
    for name in ("MODEL", "runs/mine"):
        tiny_bundle(folder / name / "model")
    _trained(folder)
    for name in ("recipes", "results", "examples", "requirements", "benchmarks", "tests"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def _sounds(folder: Path) -> None:
    """Write the clips and recordings: synthetic voices that say a sentence or two."""
    said = [
        voices.speak(emotion, speaker=voice, seed=number)
        for number, (emotion, voice) in enumerate(zip(("happy", "angry", "sad"), voices.voices(3), strict=True))
    ]
    clip, long = said[0], np.concatenate(said)
    for name in ("clip.wav", "my.wav", "CLIP.wav", "a.wav", "b.wav", "clip.flac", *_FOLDERS, *_RAVDESS_CLIPS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, clip, RATE)
    for name in ("talk.wav", "call.wav", "meeting.flac", "talks/monday.wav", "talks/tuesday.flac", "archive/talk.flac"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, long, RATE)
    soundfile.write(folder / "call.mp3", np.stack([long, long[::-1]], axis=1), RATE)


def _noises(folder: Path, labels: tuple[str, ...], speakers: tuple[str, ...], file: str) -> None:
    """Write a corpus of half a second of noise for each label and speaker, higher for later labels, under its names."""
    folder.mkdir()
    rng = np.random.default_rng(zlib.crc32(folder.name.encode()))
    rows = []
    for place, label in enumerate(labels):
        for speaker in speakers:
            noise = rng.normal(0.0, 0.1, RATE // 2)
            noise = np.convolve(noise, np.cos(np.arange(32) * (0.1 + 0.3 * place)), "same")
            path = folder / file.format(label=label, speaker=speaker)
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, 0.3 * noise / np.abs(noise).max(), RATE)
            numbers = ",".join(f"{number:.2f}" for number in rng.uniform(1.0, 7.0, 2))
            rows.append(f"{path.relative_to(folder)},{label},{speaker},{numbers}")
    if "/" in file:  # class folders, whose names do not tell who speaks
        (folder / "metadata.csv").write_text("\n".join(["path,label,speaker,arousal,valence", *rows]), encoding="utf-8")


def _trained(folder: Path) -> None:
    """Train a model on a corpus whose speakers are in no other, as runs/A, and copy it to the other names."""
    from emogram.train import train

    small = {name.removeprefix("EMOGRAM_").lower(): value for name, value in SMALL.items()}
    training = {
        "network": {"width": small["width"]},
        "train": {name: int(small[name]) for name in ("epochs", "train_frames", "batch_size")},
    }
    corpus = find_corpus(folder / "TESS-LIKE")
    run = train(corpus, run_config(training), folder / "runs" / "A", workers=1).run
    for name in ("B", "NAME", "PRETRAINED", "MINE-finetuned-TIME"):
        shutil.copytree(run, folder / "runs" / name)


_ACTORS = tuple(f"{number:02d}" for number in range(1, 25))
_FOUR = ("angry", "happy", "neutral", "sad")
_CORPORA = {
    "RAVDESS": (tuple(f"{n:02d}" for n in range(1, 9)), _ACTORS, "03-01-{label}-01-01-01-{speaker}.wav"),
    "NEMO": (
        ("anger", "fear", "happiness", "neutral", "sadness", "surprised"),
        ("EB0", "IC0", "KD0", "MK0"),
        "{speaker}_{label}_1.wav",
    ),
    "CORPUS": (_FOUR, tuple("abcdef"), "{label}/speaker{speaker}_{label}.wav"),
    "OTHER_CORPUS": (_FOUR, tuple("ghijkl"), "{label}/speaker{speaker}_{label}.wav"),
    "MINE": (_FOUR, tuple("wxyz"), "{label}/speaker{speaker}_{label}.wav"),
    "TESS-LIKE": (EMOTIONS, tuple("mnopqrstuv"), "{label}/speaker{speaker}_{label}.wav"),
}
_FOLDERS = ("clips/a.wav", "folder/a.wav", "more/a.flac", "calls/anna/1.wav", "calls/anna/2.wav", "calls/ben/1.wav")
_RAVDESS_CLIPS = ("03-01-05-02-01-01-11.flac", *(f"03-01-0{number}-01-01-01-11.flac" for number in range(1, 9)))
