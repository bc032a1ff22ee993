"""A trained model and a few clips -> a model of these labels, or of this voice, judged beside the one it came from."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emogram import leaks, metrics, plots
from emogram.bundle import CLIP_DIGITS, Bundle, ModelInfo, open_bundle
from emogram.changes import AFTER, BEFORE, Change, among, compare_before_after
from emogram.classifier import Classifier
from emogram.config import FINETUNE, RunConfig, SplitConfig, run_config
from emogram.corpora import Corpus, order_labels
from emogram.dataset import Dataset, Indices, load_dataset
from emogram.errors import CorpusError, SettingsError
from emogram.evaluate import input_settings, part_of
from emogram.files import write_json
from emogram.judging import PLOTS_FOLDER, clip_probabilities, judge_seeds, read_run
from emogram.lineage import network_of, refuse_recordings
from emogram.nearby import unknown
from emogram.predictions import Predictions
from emogram.progress import SILENT, Progress
from emogram.records import Clip, Report, speakers_of
from emogram.splits import make_split
from emogram.trackers import Trackers
from emogram.train import ONLY_TENSORBOARD, is_finished, train

BEFORE_FOLDER = "before"
KEEP_FOLDER = "keep"
RESULT_FILE = "finetune.json"

FEW_VOICES = 3  # so many and more part into voices that train, choose and judge


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning gave.

    Attributes:
        run: The run folder; the model is in its `model/`.
        base: Name of the model it started from.
        report: The new model on the held-out clips.
        change: The model before and after on them; None where they share fewer than two labels.
        kept: The same on the corpus that was not to be forgotten; None where none was given.
        new_labels: Labels that the model did not know.
        lost_labels: Labels that it knew and the new one does not.
        failed: Clips that could not be used, and why.
        warnings: What the reader should know.
        files: Pictures of before and after.
        interrupted: True where Ctrl-C ended the training early.
        seconds: How long it took.
    """

    run: Path
    base: str
    report: Report
    change: Change | None
    kept: Change | None
    new_labels: tuple[str, ...]
    lost_labels: tuple[str, ...]
    failed: tuple[tuple[Clip, str], ...]
    warnings: tuple[str, ...]
    files: tuple[Path, ...]
    interrupted: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain dicts and lists, ready for JSON."""
        return {
            "base": self.base,
            "new_labels": list(self.new_labels),
            "lost_labels": list(self.lost_labels),
            "report": self.report.to_dict(),
            "change": None if self.change is None else self.change.to_dict(),
            "keep": None if self.kept is None else self.kept.to_dict(),
            "warnings": list(self.warnings),
        }


def finetune(
    model: str | Path,
    corpus: Corpus,
    out: Path,
    *,
    config: RunConfig | None = None,
    keep: Corpus | None = None,
    resume: bool = False,
    cache: Path | None = None,
    workers: int | None = None,
    trackers: Trackers = ONLY_TENSORBOARD,
    progress: Progress = SILENT,
) -> FinetuneResult:
    """Train a model further on a corpus, and judge it before and after on the same held-out clips.

    The new model has the labels of the corpus: what the last layer knows of labels that both have stays, and what it
    knows of others goes. Three speakers or more are parted into some who train, some who choose and some who judge; of
    two, one judges and the other's clips do the rest; clips of one are parted by clip.

    Args:
        model: A model, as `bundle.open_bundle` takes it.
        corpus: What to train on and to judge by.
        out: The run folder, as of `train.train`; beside it `finetune.json`, `before/` with what the model said before,
            and `keep/`.
        config: Settings; by default those of `config.FINETUNE`. Network and spectrogram are always the model's.
        keep: A corpus that is not to be forgotten: the model is judged on it before and after. Of speakers whom the
            model's own split set aside those are taken.
        resume: Go on with a training that was interrupted.
        cache: Folder that keeps model inputs; None keeps none.
        workers: Number of processes that read clips.
        trackers: What else is told of the training.
        progress: Is told how far it is.

    Raises:
        ModelError: The model was refused, or holds nothing that can be trained on.
        CorpusError: The corpus cannot be used; a label has too few clips; the model knows clips or voices that are to
            judge.
        SettingsError: Settings contradict one another or the corpus, or leave nothing to judge by.
        OutputError: Something could not be written.
        KeyboardInterrupt: Ctrl-C before there was a model.
    """
    started = time.monotonic()
    base = open_bundle(model)
    config = settings_for(base, model, corpus, config)
    dataset = load_dataset(corpus, config.spectrogram, cache=cache, workers=workers, progress=progress)
    split = make_split(dataset, config.split)
    if not len(split.test):
        raise SettingsError("nothing is held out to judge by; raise --test-share, or name --test-speakers")
    refuse_recordings(base, dataset, {"validation": split.validation, "test": split.test})
    classifier = Classifier(base)
    held_out = dataset.select(split.test)
    warnings = [*corpus.warnings, *split.warnings, *_heard(base, held_out)]
    shared = [label for label in dataset.labels if label in base.info.labels]
    before = _said(classifier, held_out, name=BEFORE, protocol=split.protocol, progress=progress)
    if len(shared) > 1:
        judge_seeds([before], out / BEFORE_FOLDER)
    else:
        warnings.append(f"the model knew {_names(shared)} of the labels here, so there is nothing to compare with")
    kept_before = None
    if keep is not None:
        just_trained = dataset.select(np.concatenate([split.train, split.validation]))
        kept_before, said = _to_keep(
            classifier, keep, dataset.labels, just_trained, cache=cache, workers=workers, progress=progress
        )
        warnings += said
    interrupted = False
    if not (resume and is_finished(out, corpus, config)):
        trained = train(
            corpus,
            config,
            out,
            resume=resume,
            cache=cache,
            workers=workers,
            trackers=trackers,
            progress=progress,
        )
        interrupted = trained.interrupted
    after = read_run(out, held_out.clips, dataset.labels)
    change = kept = None
    files = []
    if len(shared) > 1:
        change = compare_before_after(before, after)
        files.append(out / PLOTS_FOLDER / "before_after.png")
        plots.before_after(change.compared, change.after, files[-1], title=_title(change))
    if kept_before is not None:
        kept = _still_known(kept_before, Classifier(open_bundle(out)), out / KEEP_FOLDER, progress=progress)
        files.append(out / PLOTS_FOLDER / "keep_before_after.png")
        plots.before_after(kept.compared, kept.after, files[-1], title=f"{kept_before.name}: {_title(kept)}")
    result = FinetuneResult(
        run=out,
        base=base.info.model_id,
        report=change.after if change else _report(after),
        change=change,
        kept=kept,
        new_labels=tuple(label for label in dataset.labels if label not in base.info.labels),
        lost_labels=tuple(label for label in base.info.labels if label not in dataset.labels),
        failed=dataset.failed,
        warnings=tuple(dict.fromkeys(warnings)),
        files=tuple(files),
        interrupted=interrupted,
        seconds=time.monotonic() - started,
    )
    write_json(out / RESULT_FILE, result.to_dict())
    return result


def settings_for(base: Bundle, model: str | Path, corpus: Corpus, config: RunConfig | None) -> RunConfig:
    """Return the settings with which a model is trained further: network and spectrogram are its own.

    Raises:
        ModelError: The model takes no such corpus, or its network is not known here.
        SettingsError: The model knows no labels, or none are to be learnt.
    """
    config = config or run_config(FINETUNE)
    if config.train.targets == "dimensions" or not base.info.labels:
        why = f"targets is {config.train.targets}" if base.info.labels else f"{base.folder} tells dimensions only"
        raise SettingsError(
            f"{why}, and fine-tuning compares what is said of labels before and after; train further with `emogram "
            f"train CORPUS --init {model} --targets dimensions`, and judge both models with `emogram evaluate`"
        )
    return RunConfig(
        spectrogram=input_settings(base.info, corpus),
        augment=config.augment,
        network=network_of(base),
        train=config.train.model_copy(update={"init": Path(model)}),
        split=config.split if _is_parted(config.split) else config.split.model_copy(update=_parting(corpus, config)),
    )


def _is_parted(split: SplitConfig) -> bool:
    """Tell whether somebody said how clips are parted."""
    named = (split.protocol, split.validation_speakers, split.test_speakers)
    lists = (split.train_list, split.validation_list, split.test_list)
    return split.split != "auto" or any(each for each in (*named, *lists))


def _parting(corpus: Corpus, config: RunConfig) -> dict[str, Any]:
    """Return how the clips of a corpus are parted where nobody said it."""
    clips = [clip for clip in corpus.clips if clip.corpus not in corpus.training_only]
    names = speakers_of(clips)
    voices = sorted({name for name in names if name is not None})
    if len(voices) < FEW_VOICES - 1 or None in names or config.split.clips_per_label:
        return {"split": "clip"}
    if len(voices) < FEW_VOICES:
        judge = voices[int(np.random.default_rng(config.split.split_seed).integers(len(voices)))]
        return {"split": "clip", "test_speakers": (judge,)}
    return {"split": "speaker"}


def only_speakers(corpus: Corpus, names: Sequence[str]) -> Corpus:
    """Return a corpus with the clips of some speakers alone, beside those of corpora that only train.

    Raises:
        SettingsError: The corpus has none of one of them.
    """
    free = [clip for clip in corpus.clips if clip.corpus not in corpus.training_only]
    voices = speakers_of(free)
    for name in names:
        if name not in voices:
            raise SettingsError(unknown("speaker", name, sorted({voice for voice in voices if voice is not None})))
    others = [clip for clip in corpus.clips if clip.corpus in corpus.training_only]
    chosen = [clip for clip, name in zip(free, voices, strict=True) if name in names] + others
    return dataclasses.replace(corpus, clips=tuple(chosen), labels=order_labels({str(clip.label) for clip in chosen}))


def _said(classifier: Classifier, dataset: Dataset, *, name: str, protocol: str, progress: Progress) -> Predictions:
    """Return what a model says of clips, with a column of nothing for each label of theirs that it does not know."""
    own = classifier.labels
    probabilities = clip_probabilities(classifier, dataset, np.arange(len(dataset)), progress=progress)
    labels = own if set(dataset.labels) <= set(own) else order_labels({*own, *dataset.labels})
    wide = np.zeros((len(dataset), len(labels)))
    wide[:, [labels.index(label) for label in own]] = probabilities
    return Predictions(
        name=name,
        clips=dataset.clips,
        labels=labels,
        probabilities=wide,
        abstained=probabilities.max(axis=1) < classifier.info.abstain_threshold,
        protocol=protocol,
    )


def _report(said: Predictions) -> Report:
    return metrics.judge(
        said.targets(), said.probabilities, said.labels, said.clips, protocol=said.protocol, abstained=said.abstained
    )


def _heard(base: Bundle, held_out: Dataset) -> list[str]:
    """Warn of held-out clips whose voices the model was trained on before, though it knows none of the clips."""
    speakers = [clip.voice for clip in held_out.clips]
    return [str(leak) for leak in leaks.heard_speakers(speakers, base.info.heard("train", "validation"))]


@dataclass(frozen=True)
class _Kept:
    """A corpus that is not to be forgotten.

    Attributes:
        name: Its name.
        clips: Those that judge, of labels that the model knows and will know.
        before: What it says of them.
    """

    name: str
    clips: Dataset
    before: Predictions


def _to_keep(
    classifier: Classifier,
    corpus: Corpus,
    labels: Sequence[str],
    just_trained: Dataset,
    *,
    cache: Path | None,
    workers: int | None,
    progress: Progress,
) -> tuple[_Kept | None, list[str]]:
    """Return what tells how much is forgotten, None where nothing can, and what must be said of it.

    Args:
        classifier: The model before.
        corpus: What is not to be forgotten.
        labels: Those that the new model will know.
        just_trained: What it is going to learn from.
        cache: As of `finetune`.
        workers: Likewise.
        progress: Likewise.

    Raises:
        CorpusError: Clips are to be trained on as well.
    """
    info = classifier.info
    dataset = load_dataset(
        corpus, input_settings(info, corpus), labels=info.labels, cache=cache, workers=workers, progress=progress
    )
    part, indices = _set_aside(dataset, info)
    shared = [label for label in info.labels if label in labels]
    judging = np.asarray([index for index in indices if dataset.clips[index].label in shared], dtype=np.intp)
    if len(shared) < 2 or not len(judging):
        return None, [f"{corpus.name}: the new model knows {_names(shared)} of its labels, too few to judge it by"]
    clips = dataset.select(judging)
    contents = [sample.content for sample in clips.samples]
    now = {"train": frozenset(sample.content for sample in just_trained.samples)}
    for leak in leaks.heard_recordings(clips.clips, contents, now):
        raise CorpusError(
            f"{corpus.root}: {leak.found} just now, so they cannot tell what was forgotten; leave them out of the "
            "training"
        )
    found = leaks.heard_speakers([clip.voice for clip in clips.clips], info.heard("train"))
    found += leaks.heard_recordings(
        clips.clips, [content[:CLIP_DIGITS] for content in contents], classifier.bundle.known_clips() or {}
    )
    warnings = [f"{corpus.name}, before: {leak.found}" for leak in found]
    if len(judging) < len(indices):
        n_lost = len(indices) - len(judging)
        warnings.append(f"{corpus.name}: {n_lost} clips of labels that the new model does not know are left out")
    protocol = f"{part} clips of {corpus.name}, which is not to be forgotten"
    said = among(_said(classifier, clips, name=BEFORE, protocol=protocol, progress=progress), shared)
    return _Kept(corpus.name, clips, said), warnings


def _still_known(kept: _Kept, classifier: Classifier, out: Path, *, progress: Progress) -> Change:
    """Judge the new model on what is not to be forgotten, and write down both sides."""
    said = _said(classifier, kept.clips, name=AFTER, protocol=kept.before.protocol, progress=progress)
    after = among(said, kept.before.labels)
    for each in (kept.before, after):
        judge_seeds([each], out / each.name)
    return compare_before_after(kept.before, after)


def _set_aside(dataset: Dataset, info: ModelInfo) -> tuple[str, Indices]:
    """Return the clips of speakers whom a model's own split set aside, the best there are, and how they are called."""
    for part in ("test", "validation"):
        try:
            return part, part_of(dataset, info, part)
        except (SettingsError, CorpusError):  # its split set none aside, or they are not in this corpus
            continue
    return "all", np.arange(len(dataset))


def _names(labels: Sequence[str]) -> str:
    return ", ".join(labels) or "none"


def _title(change: Change) -> str:
    uar = change.differences[0]
    return (
        f"UAR {100 * change.compared.metrics['uar']:.1f} % → {100 * change.after.metrics['uar']:.1f} %, "
        f"{100 * uar.value:+.1f} points ({100 * uar.low:+.1f} to {100 * uar.high:+.1f}): {change.verdict}; "
        f"{change.says}"
    )
