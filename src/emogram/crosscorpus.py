"""Train on some corpora, judge on others that were never seen: PROTOCOLS.md, P3."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram import metrics, plots
from emogram.adapt import ADAPTED, adapt_voices
from emogram.adapted import voices_of
from emogram.bundle import open_bundle
from emogram.classifier import Classifier, Probabilities, as_prediction
from emogram.config import RunConfig
from emogram.corpora import Corpus, join_corpora, order_labels
from emogram.dataset import Dataset, Indices, load_dataset
from emogram.engines import Engine, local
from emogram.errors import CorpusError, EmogramError, SettingsError
from emogram.files import write_json, write_text
from emogram.jobs import is_trained, judged_clips, run_jobs, train_whole
from emogram.judging import PLOTS_FOLDER, clip_probabilities, read_probabilities
from emogram.leaks import shared_recordings
from emogram.lineage import Lineage, open_lineage, refuse_recordings, says_lineage
from emogram.progress import SILENT, Progress
from emogram.records import Clip, CorpusPair, speakers_of
from emogram.splits import Split, make_split
from emogram.trackers import Trackers, follow_group
from emogram.train import ONLY_TENSORBOARD
from emogram.writers import METRICS_FILE, PREDICTIONS_FILE, write_corpus_pairs, write_predictions_csv

PAIRS_FILE = "pairs.csv"
PLOT_FILE = "corpus_pairs.png"
JUDGED_BY_FILE = "judged_by.txt"  # the hash of the model whose predictions lie beside it
ADAPTED_FOLDER = "adapted"
OTHER_SPLITS = ("protocol", "validation_speakers", "test_speakers", "train_list", "validation_list", "test_list")


@dataclass(frozen=True)
class CrossCorpusResult:
    """What came of each pair of corpora.

    Attributes:
        corpora: Their names in order.
        pairs: Trained x tested, without those that share fewer than two labels.
        mean_uar: Mean UAR over the pairs of two different corpora.
        std_uar: Its standard deviation over seeds (n - 1), 0 for one seed.
        mean_chance: Mean UAR of guessing over the same pairs.
        protocol: What must stand beside the figures.
        out: Folder: `metrics.json`, `pairs.csv`, `plots/`, and a run folder for each training and seed.
        failed: Clips that could not be used, and why.
        warnings: What the reader should know.
        seconds: How long it took.
        adapted: The same with the answers adapted to each voice, if that was asked; its folder is `adapted` within.
    """

    corpora: tuple[str, ...]
    pairs: tuple[CorpusPair, ...]
    mean_uar: float
    std_uar: float
    mean_chance: float
    protocol: str
    out: Path
    failed: tuple[tuple[Clip, str], ...]
    warnings: tuple[str, ...]
    seconds: float
    adapted: CrossCorpusResult | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain dicts and lists, ready for JSON."""
        return {
            "protocol": self.protocol,
            "corpora": list(self.corpora),
            "mean_uar": self.mean_uar,
            "std_uar": self.std_uar,
            "mean_chance": self.mean_chance,
            "pairs": [{**asdict(pair), "chance": pair.chance, "within": pair.within} for pair in self.pairs],
        }


@dataclass(frozen=True)
class _Job:
    """One training, and what its model is then judged on.

    Attributes:
        corpus: What it trains on.
        tested: Corpora that it never sees.
        config: All settings, the seed among them.
        folder: Its run folder.
        trained: Whether that holds it already, and only the judging is missing.
    """

    corpus: Corpus
    tested: tuple[Corpus, ...]
    config: RunConfig
    folder: Path
    trained: bool = False

    def judged(self, tested: str) -> Path:
        """Return the folder of what the model says of another corpus."""
        return self.folder / f"on-{tested}"


def crosscorpus(
    corpora: Sequence[Corpus],
    config: RunConfig,
    out: Path,
    *,
    leave_one_out: bool = False,
    adapt: bool = False,
    seeds: Sequence[int] = (0,),
    jobs: int | None = None,
    engine: Engine = local,
    cache: Path | None = None,
    trackers: Trackers = ONLY_TENSORBOARD,
    progress: Progress = SILENT,
) -> CrossCorpusResult:
    """Train on each corpus, or on all but each, and judge on those that were never seen.

    Whatever is chosen is chosen on validation speakers of the corpora that train. A pair is judged on the labels that
    both corpora have. A corpus is judged on itself by speakers that were set aside. With `leave_one_out` the network
    that is judged on a corpus was trained on all others, and pairs differ by their labels alone: those that one of the
    others shares with the tested one, so that the mean compares with that of training on one corpus at a time.

    Interrupted, the same call goes on: what was finished with the same settings and clips is not done again.

    Args:
        corpora: At least two of sound, of different names and with known speakers.
        config: All settings; the split is by speaker, and of its settings only shares and seed may be given.
        out: Folder for the results.
        leave_one_out: Train on all corpora but the one that judges.
        adapt: Judge them again, each voice's answers adapted to it without labels, to be told apart; see `adapt`.
        seeds: Seeds of the trainings, at least one.
        jobs: Number of trainings at once, each on one processor thread; by default one for each processor.
        engine: Where they are trained: processes of this machine, or `engines.engine_named("ray", ADDRESS)`.
        cache: Folder that keeps model inputs; None keeps none.
        trackers: What else is told of the trainings, each a run of its own, and of what all came to.
        progress: Is told how far it is.

    Raises:
        SettingsError: Too few corpora, or settings of another split.
        CorpusError: A corpus cannot be used, two share a recording, or no two share two labels.
        ModelError: The model to start from was refused, or `adapt` and one trained here before cannot be adapted.
        EmogramError: A training failed; those that are done keep their run folders.
    """
    started = time.monotonic()
    if len(corpora) < 2:
        raise SettingsError(f"{len(corpora)} corpus; give at least two, to train on one and to judge on the other")
    config = _by_speaker(config, leave_one_out=leave_one_out)
    everything = join_corpora(corpora)
    # Read once before the jobs start, so that what is wrong is said at once and the cache is full.
    whole = load_dataset(everything, config.spectrogram, cache=cache, progress=progress)
    datasets = {corpus.name: _part_of(whole, corpus) for corpus in corpora}
    _refuse_doubles(whole, {corpus.name: _indices_of(whole, corpus) for corpus in corpora})
    shared, unlike = _shared_labels(datasets, leave_one_out=leave_one_out)
    plan = {seed: list(_plan(corpora, config, out, seed, leave_one_out=leave_one_out)) for seed in seeds}
    splits: dict[Path, Split] = {}
    todo: list[_Job] = []
    says = ""
    for job in (job for of_seed in plan.values() for job in of_seed):
        dataset = _part_of(whole, job.corpus)
        splits[job.folder] = split = make_split(dataset, job.config.split)
        lineage = _open_lineage(job, dataset, split, datasets)
        says = says_lineage(lineage)
        trained = is_trained(job.folder, job.corpus, dataset, split, job.config, lineage=lineage)
        if not trained or not all(_is_judged(job, t.name, datasets[t.name], dataset.labels) for t in job.tested):
            todo.append(replace(job, trained=trained))
    n_jobs = len(splits)
    if len(todo) < n_jobs:
        progress.say(f"{n_jobs - len(todo)} of {n_jobs} trainings are done already, with the same settings and clips")
    trackers = trackers.inside(out)
    with follow_group(trackers, config, whole, progress=progress) as following:
        running = run_jobs(
            partial(_run, cache, trackers),
            todo,
            what="training on corpora",
            unit="trainings",
            jobs=jobs,
            progress=progress,
            engine=engine,
        )
        with contextlib.closing(running):
            for job, uar in running:
                progress.say(f"{job.folder.relative_to(out)}  UAR on its own corpus {uar:.1%}")
        found = {
            seed: dict(_answers(of_seed, datasets, splits, leave_one_out=leave_one_out, adapt=adapt))
            for seed, of_seed in plan.items()
        }
        answers = {pair: [found[seed]["" if leave_one_out else pair[0], pair[1]] for seed in seeds] for pair in shared}
        result = CrossCorpusResult(
            corpora=tuple(datasets),
            **_figures([_judge(*pair, labels, answers[pair]) for pair, labels in shared.items()]),
            protocol=_says(leave_one_out=leave_one_out, seeds=seeds) + says,
            out=out,
            failed=whole.failed,
            warnings=(*everything.warnings, *unlike),
            seconds=time.monotonic() - started,
        )
        _write(result)
        if adapt:
            adapted = replace(
                result,
                **_figures([_judge(*pair, labels, answers[pair], adapt=True) for pair, labels in shared.items()]),
                protocol=f"{ADAPTED}; {result.protocol}",
                out=out / ADAPTED_FOLDER,
            )
            _write(adapted)
            result = replace(result, adapted=adapted)
        following.result(
            {
                "mean_uar": result.mean_uar,
                "mean_chance": result.mean_chance,
                **{f"uar/{pair.trained or 'others'} on {pair.tested}": pair.uar for pair in result.pairs},
            },
            [out / PLOTS_FOLDER / PLOT_FILE],
        )
    return result


def restrict(probabilities: Probabilities, labels: Sequence[str], shared: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the probabilities of some labels, made to sum to 1: what a softmax over them alone would have said.

    Args:
        probabilities: Shape (n_clips, n_labels).
        labels: Names of the columns.
        shared: The labels to keep, in order; where a clip has no probability for any, all are equally probable.
    """
    kept = np.asarray(probabilities, dtype=np.float64)[:, [list(labels).index(label) for label in shared]]
    total = kept.sum(axis=1, keepdims=True)
    return np.where(total > 0, kept / np.where(total > 0, total, 1.0), 1.0 / len(shared))


def _by_speaker(config: RunConfig, *, leave_one_out: bool) -> RunConfig:
    asked = [name for name in OTHER_SPLITS if getattr(config.split, name)]
    if asked or config.split.split in ("random", "clip"):
        raise SettingsError(
            f"{', '.join(asked) or f'split {config.split.split}'}: corpora are judged on one another, "
            "each parted by speaker; leave that out"
        )
    # Who is judged on another corpus alone needs no test part of his own.
    shares = {"test_share": 0.0} if leave_one_out else {}
    return config.model_copy(update={"split": config.split.model_copy(update={"split": "speaker", **shares})})


def _plan(corpora: Sequence[Corpus], config: RunConfig, out: Path, seed: int, *, leave_one_out: bool) -> Iterator[_Job]:
    settings = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
    for corpus in corpora:
        others = tuple(other for other in corpora if other is not corpus)
        if leave_one_out:
            folder = out / f"all-but-{corpus.name}" / f"seed-{seed}"
            yield _Job(join_corpora(others), (corpus,), settings, folder)
        else:
            yield _Job(corpus, others, settings, out / corpus.name / f"seed-{seed}")


def _indices_of(whole: Dataset, corpus: Corpus) -> Indices:
    """Return which clips of those that were read together are of one corpus."""
    names = {clip.corpus for clip in corpus.clips}
    return np.flatnonzero([clip.corpus in names for clip in whole.clips])


def _part_of(whole: Dataset, corpus: Corpus) -> Dataset:
    """Return what `load_dataset` gives for one corpus of those that were read together."""
    part = whole.select(_indices_of(whole, corpus))
    if not len(part):
        raise CorpusError(f"{corpus.root}: none of its {len(corpus.clips)} clips can be used")
    labels = order_labels({str(clip.label) for clip in part.clips})
    targets = np.asarray([labels.index(str(clip.label)) for clip in part.clips], dtype=np.intp)
    return replace(part, labels=labels, targets=targets)


def _shared_labels(
    datasets: Mapping[str, Dataset], *, leave_one_out: bool
) -> tuple[dict[tuple[str, str], tuple[str, ...]], list[str]]:
    """Return the labels of each pair (trained, tested) that can be judged, and of the others why they cannot."""
    shared: dict[tuple[str, str], tuple[str, ...]] = {}
    unlike: list[str] = []
    for trained, tested in itertools.product(datasets, datasets):
        if leave_one_out and trained == tested:
            continue
        labels = tuple(label for label in datasets[tested].labels if label in datasets[trained].labels)
        if len(labels) > 1:
            shared[trained, tested] = labels
        else:
            unlike.append(f"{trained} and {tested} share {', '.join(labels) or 'no label'}, too little to judge by")
    if all(trained == tested for trained, tested in shared):
        raise CorpusError(f"no two corpora share two labels: {'; '.join(unlike)}")
    return shared, unlike


def _refuse_doubles(whole: Dataset, parts: Mapping[str, Indices]) -> None:
    for leak in shared_recordings(whole, parts):
        raise CorpusError(f"{leak.found}; remove one of them")


def _open_lineage(job: _Job, dataset: Dataset, split: Split, datasets: Mapping[str, Dataset]) -> Lineage:
    lineage = open_lineage(job.config, dataset, split)
    for model in lineage.models:
        known = {corpus.corpus for corpus in model.info.trained_on}
        seen = sorted(known & {clip.corpus for tested in job.tested for clip in tested.clips})
        if seen:
            raise CorpusError(
                f"{model.folder}: this model was trained on {', '.join(seen)}, which is to be judged as never seen; "
                "learn from a model of other corpora"
            )
        for name in (tested.name for tested in job.tested):
            refuse_recordings(model, datasets[name], {name: np.arange(len(datasets[name]))})
    return lineage


def _is_judged(job: _Job, tested: str, dataset: Dataset, labels: Sequence[str]) -> bool:
    """Tell whether the model that lies in the run folder has judged this corpus."""
    try:
        read_probabilities(job.judged(tested), dataset.clips, labels)
        judge = (job.judged(tested) / JUDGED_BY_FILE).read_text(encoding="utf-8").strip()
        return judge == open_bundle(job.folder).sha256
    except (EmogramError, OSError):
        return False


def _run(cache: Path | None, trackers: Trackers, progress: Progress, job: _Job) -> float:
    """Train, write down what the model says of the other corpora, and return its UAR on its own."""
    if not job.trained:
        train_whole(job.corpus, job.config, job.folder, cache=cache, trackers=trackers, progress=progress)
    bundle = open_bundle(job.folder)
    classifier = Classifier(bundle)
    for tested in job.tested:
        dataset = load_dataset(tested, job.config.spectrogram, cache=cache, workers=1, progress=progress)
        found = clip_probabilities(classifier, dataset, np.arange(len(dataset)), progress=progress)
        rows = [
            (clip, as_prediction(row, classifier.labels, bundle.info.abstain_threshold))
            for clip, row in zip(dataset.clips, found, strict=True)
        ]
        write_predictions_csv(job.judged(tested.name) / PREDICTIONS_FILE, rows, labels=classifier.labels)
        write_text(job.judged(tested.name) / JUDGED_BY_FILE, bundle.sha256 + "\n")
    return float(bundle.info.metrics["uar"])


@dataclass(frozen=True)
class _Answers:
    """What a model says of the clips of a corpus; probabilities have the columns of `labels`.

    The reference is what `adapt.adapt_voice` wants; empty where nothing is to be adapted.
    """

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    probabilities: Probabilities
    caveat: str = ""
    reference: tuple[float, ...] = ()


def _answers(
    plan: Sequence[_Job],
    datasets: Mapping[str, Dataset],
    splits: Mapping[Path, Split],
    *,
    leave_one_out: bool,
    adapt: bool,
) -> Iterator[tuple[tuple[str, str], _Answers]]:
    """Read what the models of one seed said: (trained, tested) -> answers; all corpora but one count as ""."""
    for job in plan:
        info = open_bundle(job.folder).info
        labels, reference = info.labels, info.reference(source=job.folder) if adapt else ()
        name = "" if leave_one_out else job.corpus.name
        for tested in job.tested:
            clips = datasets[tested.name].clips
            yield (
                (name, tested.name),
                _Answers(
                    clips, labels, read_probabilities(job.judged(tested.name), clips, labels), reference=reference
                ),
            )
        if not leave_one_out:
            split = splits[job.folder]
            own = tuple(judged_clips(datasets[name], split))
            part, _ = split.judging()
            caveat = "" if part == "test" else "judged on the speakers who also chose the epoch"
            yield (name, name), _Answers(own, labels, read_probabilities(job.folder, own, labels), caveat, reference)


def _judge(
    trained: str, tested: str, shared: Sequence[str], answers: Sequence[_Answers], *, adapt: bool = False
) -> CorpusPair:
    """Judge the answers of all seeds on the labels that two corpora share."""
    kept = [index for index, clip in enumerate(answers[0].clips) if clip.label in shared]
    clips = [answers[0].clips[index] for index in kept]
    targets = np.asarray([shared.index(str(clip.label)) for clip in clips], dtype=np.intp)
    found = [restrict(answer.probabilities[kept], answer.labels, shared) for answer in answers]
    if adapt:
        voices = voices_of(clips, tested)
        found = [
            adapt_voices(one, voices, [answer.reference[answer.labels.index(label)] for label in shared])
            for one, answer in zip(found, answers, strict=True)
        ]
    speakers = speakers_of(clips)
    # Every seed judges the same clips, so that the UAR of all answers together is the mean over seeds.
    intervals = metrics.speaker_bootstrap(np.tile(targets, len(found)), np.concatenate(found), speakers * len(found))
    per_seed = tuple(metrics.uar(targets, one) for one in found)
    return CorpusPair(
        trained=trained,
        tested=tested,
        labels=tuple(shared),
        uar=statistics.fmean(per_seed),
        interval=intervals["uar"],
        per_seed=per_seed,
        n_clips=len(clips),
        n_speakers=len(set(speakers) - {None}),
        caveat=answers[0].caveat,
    )


def _figures(pairs: Sequence[CorpusPair]) -> dict[str, Any]:
    """Return what a result says of its pairs: these, and means over those of two different corpora."""
    across = [pair for pair in pairs if not pair.within]
    by_seed = [statistics.fmean(uars) for uars in zip(*(pair.per_seed for pair in across), strict=True)]
    return {
        "pairs": tuple(pairs),
        "mean_uar": statistics.fmean(by_seed),
        "std_uar": statistics.stdev(by_seed) if len(by_seed) > 1 else 0.0,
        "mean_chance": statistics.fmean(pair.chance for pair in across),
    }


def _says(*, leave_one_out: bool, seeds: Sequence[int]) -> str:
    trained = "trained on all corpora but the one that judges" if leave_one_out else "trained on one corpus"
    words = f"Cross-corpus (P3): {trained}, judged on corpora never seen, on the labels that both have"
    return (
        f"{words}; seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}; 95 % intervals resample speakers"
    )


def _write(result: CrossCorpusResult) -> None:
    write_json(result.out / METRICS_FILE, result.to_dict())
    write_corpus_pairs(result.out / PAIRS_FILE, result.pairs)
    mean, chance = 100 * result.mean_uar, 100 * result.mean_chance
    title = f"Mean UAR between different corpora {mean:.1f} %, chance {chance:.1f} %. {result.protocol}"
    plots.corpus_pairs(result.pairs, result.out / PLOTS_FOLDER / PLOT_FILE, title=title)
