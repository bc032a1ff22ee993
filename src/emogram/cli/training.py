"""The commands that train: demo, train, crossval and crosscorpus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from emogram.cli.completing import SETTINGS as COMPLETERS
from emogram.cli.completing import one_of, protocols
from emogram.cli.entry import PARTLY_FAILED, interrupted_code
from emogram.cli.options import (
    Address,
    AllowLeaks,
    Also,
    Cache,
    CorpusName,
    CorpusPaths,
    Engine,
    Json,
    Mlflow,
    MlflowUri,
    NoCache,
    Overwrite,
    Resume,
    RunName,
    Seeds,
    Tensorboard,
    Wandb,
    Workers,
)
from emogram.cli.shared import (
    cache_folder,
    chosen_trackers,
    failed_dicts,
    file_name,
    find,
    find_all,
    is_begun,
    new_folder,
    notes,
    numbers,
    prepare_training,
    print_json,
    rich_progress,
    run_named,
    seeds_dict,
    show_report,
    show_seeds,
)
from emogram.config import RunConfig
from emogram.errors import SettingsError
from emogram.settings import takes_settings

if TYPE_CHECKING:
    from emogram.crosscorpus import CrossCorpusResult
    from emogram.demo import DemoResult

# Settings of splits that mean nothing where corpora are judged on one another.
_OTHER_SPLITS = (
    "split",
    "clips_per_label",
    "protocol",
    "fold",
    "validation_speakers",
    "test_speakers",
    "train_list",
    "validation_list",
    "test_list",
    "judge_on",
)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes.")] = Path("emogram-demo"),
    speakers: Annotated[int, typer.Option(min=3, max=99, help="Synthetic voices; a third of them judges.")] = 20,
    utterances: Annotated[int, typer.Option(min=1, max=99, help="Clips of each voice and emotion.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Times that the training clips are seen.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the voices and of the training.")] = 0,
    workers: Workers = None,
    json: Json = False,
) -> int:
    """Go the whole road on synthetic voices: no data, no network, a few minutes."""
    prepare_training("the demo")
    # The demo's network is so small that a second thread does little, and where others compute as well the two wait
    # for each other: six minutes in place of one, measured with two trainings beside it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from emogram import console
    from emogram.demo import run_demo

    result = run_demo(
        out,
        n_speakers=speakers,
        n_utterances=utterances,
        epochs=epochs,
        seed=seed,
        workers=workers,
        progress=rich_progress(),
    )
    code = show_report(
        result.report,
        title="Judged on synthetic voices that were never heard in training",
        out=result.out,
        failed=result.failed,
        n_given=result.n_clips,
        warnings=result.warnings,
        as_json=_demo_facts(result) if json else None,
    )
    if not json:
        clip = f"{result.clip.path} (meant to be {result.clip.label})"
        console.show(console.prediction_view(clip, result.prediction))
    _tell_demo(result)
    return interrupted_code() if result.interrupted else code


def _demo_facts(result: DemoResult) -> dict[str, Any]:
    return {
        "voices": str(result.voices),
        "spectrograms": str(result.pictures),
        "run": str(result.run),
        "clip": {"file": str(result.clip.path), "label": result.clip.label},
        "prediction": {"label": result.prediction.label, "confidence": result.prediction.confidence},
        "interrupted": result.interrupted,
        "seconds": result.seconds,
    }


def _tell_demo(result: DemoResult) -> None:
    from emogram import console

    for words, where in (
        ("voices", result.voices),
        ("spectrograms", result.pictures),
        ("plots", result.run / "plots"),
        ("model", result.run / "model"),
        ("another clip", f"emogram predict --model {result.run} CLIP.wav"),
        ("with RAVDESS", "emogram crossval RAVDESS --protocol ravdess-si5"),
    ):
        console.say(f"{words + ':':<14} {where}")
    console.say(f"{'stopped' if result.interrupted else 'done'} after {console.duration(result.seconds)}")


@takes_settings("spectrogram", "augment", "network", "train", "split", complete=COMPLETERS)
def train(
    corpora: CorpusPaths,
    config: RunConfig,
    also: Also = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default runs/CORPUS-NETWORK-TIME.", show_default=False)
    ] = None,
    name: RunName = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    corpus_name: CorpusName = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    workers: Workers = None,
    tensorboard: Tensorboard = True,
    mlflow: Mlflow = False,
    mlflow_uri: MlflowUri = None,
    wandb: Wandb = False,
    json: Json = False,
) -> int:
    """Train a network on a corpus or several, judge it, and save the model with its plots."""
    named = run_named(out, name, resume=resume, overwrite=overwrite)
    prepare_training("training")
    trackers = chosen_trackers(tensorboard, mlflow, mlflow_uri, wandb)
    found = find_all(corpora, also, corpus_name, unlabelled=config.train.targets == "dimensions")
    from emogram import console
    from emogram.train import train as train_model

    begun = is_begun(named, resume=resume, overwrite=overwrite)
    if resume and named is not None and not begun:
        from emogram.train import is_finished

        if is_finished(named, found, config):
            console.say(f"{named}: this training is finished, there is nothing to go on with; model: {named / 'model'}")
            if json:
                print_json({"run": str(named), "finished": True})
            return 0
    folder = new_folder(named, f"{found.name}-{config.network.network}", overwrite=overwrite or begun)
    result = train_model(
        found,
        config,
        folder,
        resume=resume,
        cache=cache_folder(cache, no_cache),
        trackers=trackers,
        workers=workers,
        progress=rich_progress(),
    )
    facts = {
        "run": str(result.run),
        "judged_on": result.judged_on,
        "interrupted": result.interrupted,
        "seconds": result.seconds,
    }
    code = show_report(
        result.report,
        title=f"Judged on the {result.judged_on} part",
        out=result.run,
        failed=result.failed,
        n_given=len(found.clips),
        warnings=result.warnings,
        as_json=facts if json else None,
    )
    console.file_lines(result.plots, words="plots")
    console.say(f"model: {result.run / 'model'} (after {console.duration(result.seconds)})")
    return interrupted_code() if result.interrupted else code


@takes_settings("spectrogram", "augment", "network", "train", complete=COMPLETERS)
def crossval(
    corpora: CorpusPaths,
    config: RunConfig,
    protocol: Annotated[
        str,
        typer.Option(
            help="How clips are parted: ravdess-si5 or random80.",
            show_default=False,
            autocompletion=one_of(protocols),
        ),
    ],
    also: Also = None,
    seeds: Seeds = None,
    judge_on: Annotated[
        Literal["test", "validation"],
        typer.Option(help="Part that judges; 'validation' leaves the test part alone, for choosing settings."),
    ] = "test",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Folds to train at once; by default one for each processor.")
    ] = None,
    engine: Engine = "local",
    address: Address = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results; by default runs/CORPUS-PROTOCOL-NETWORK. Folds that are done there stay, so "
            "that the same command goes on after an interruption.",
        ),
    ] = None,
    corpus_name: CorpusName = None,
    allow_leaks: AllowLeaks = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    tensorboard: Tensorboard = True,
    mlflow: Mlflow = False,
    mlflow_uri: MlflowUri = None,
    wandb: Wandb = False,
    json: Json = False,
) -> int:
    """Train and judge on every fold of a named protocol, and report the pooled result."""
    from emogram.protocols import find_protocol

    find_protocol(protocol)
    chosen = numbers("--seeds", seeds) if seeds is not None else (config.train.seed,)
    prepare_training("cross-validation")
    trackers = chosen_trackers(tensorboard, mlflow, mlflow_uri, wandb)
    found = find_all(corpora, also, corpus_name, unlabelled=config.train.targets == "dimensions")
    config = config.model_copy(update={"split": config.split.model_copy(update={"judge_on": judge_on})})
    name = f"{found.name}-{protocol}-{config.network.network}{'' if judge_on == 'test' else '-validation'}"
    folder = out or Path("runs") / file_name(name)
    from emogram import console
    from emogram.crossval import crossval as cross_validate
    from emogram.engines import engine_named

    split = config.split.model_copy(update={"allow_leaks": allow_leaks})
    result = cross_validate(
        found,
        config.model_copy(update={"split": split}),
        folder,
        protocol=protocol,
        seeds=chosen,
        jobs=jobs,
        engine=engine_named(engine, address),
        cache=cache_folder(cache, no_cache),
        trackers=trackers,
        progress=rich_progress(),
    )
    facts = {"seeds": list(chosen), **seeds_dict(result.judgement), "seconds": result.seconds}
    code = show_report(
        result.report,
        title=f"Pooled over the folds{f', seed {chosen[0]}' if len(chosen) > 1 else ''}",
        out=result.out,
        failed=result.failed,
        n_given=len(found.clips),
        warnings=result.warnings,
        as_json=facts if json else None,
    )
    if not json:
        show_seeds(result.judgement)
    console.say(f"results: {result.out} (after {console.duration(result.seconds)})")
    return code


@takes_settings("spectrogram", "augment", "network", "train", "split", leave_out=_OTHER_SPLITS, complete=COMPLETERS)
def crosscorpus(
    corpora: CorpusPaths,
    config: RunConfig,
    leave_one_out: Annotated[
        bool,
        typer.Option("--leave-one-out", help="Train on all corpora but the one that judges, not on one at a time."),
    ] = False,
    adapt: Annotated[
        bool,
        typer.Option(
            "--adapt", help="Also adapt the answers to each test voice, without labels; told apart from the others."
        ),
    ] = False,
    seeds: Seeds = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Trainings at once; by default one for each processor.")
    ] = None,
    engine: Engine = "local",
    address: Address = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results; by default runs/crosscorpus-NETWORK. Trainings that are done there stay, so "
            "that the same command goes on after an interruption.",
        ),
    ] = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    tensorboard: Tensorboard = True,
    mlflow: Mlflow = False,
    mlflow_uri: MlflowUri = None,
    wandb: Wandb = False,
    json: Json = False,
) -> int:
    """Train on each corpus and judge on every other, on the labels that both have."""
    if config.train.targets != "classes":
        raise SettingsError(
            f"targets is {config.train.targets}; corpora are judged on one another by their labels only"
        )
    chosen = numbers("--seeds", seeds) if seeds is not None else (config.train.seed,)
    prepare_training("crosscorpus")
    trackers = chosen_trackers(tensorboard, mlflow, mlflow_uri, wandb)
    found = [find(path, None) for path in corpora]
    words = "crosscorpus-all-but-one" if leave_one_out else "crosscorpus"
    from emogram import console
    from emogram.crosscorpus import crosscorpus as judge_pairs
    from emogram.engines import engine_named

    result = judge_pairs(
        found,
        config,
        out or Path("runs") / file_name(f"{words}-{config.network.network}"),
        leave_one_out=leave_one_out,
        adapt=adapt,
        seeds=chosen,
        jobs=jobs,
        engine=engine_named(engine, address),
        cache=cache_folder(cache, no_cache),
        trackers=trackers,
        progress=rich_progress(),
    )
    notes(result.warnings)
    if json:
        print_json(
            {**result.to_dict(), "out": str(result.out), "seeds": list(chosen), "seconds": result.seconds}
            | {"warnings": list(result.warnings), "failed": failed_dicts(result.failed)}
            | ({} if result.adapted is None else {"adapted": result.adapted.to_dict()})
        )
    else:
        title = "Trained on all others, judged on each" if leave_one_out else "Trained on each, judged on each"
        _show_pairs(result, title)
        if result.adapted is not None:
            _show_pairs(result.adapted, f"{title}, adapted to each voice")
    console.failures(result.failed, total=sum(len(corpus.clips) for corpus in found))
    console.say(f"results: {result.out} (after {console.duration(result.seconds)})")
    return PARTLY_FAILED if result.failed else 0


def _show_pairs(result: CrossCorpusResult, title: str) -> None:
    from emogram import console

    console.show(console.corpus_pairs_view(result.pairs, title=title, protocol=result.protocol))
    n_seeds = len(result.pairs[0].per_seed)
    spread = f", standard deviation over seeds {console.percent(result.std_uar)}" if n_seeds > 1 else ""
    mean, chance = console.percent(result.mean_uar), console.percent(result.mean_chance)
    console.show(f"mean UAR between different corpora: {mean}{spread}; chance {chance}")
