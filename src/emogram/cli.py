"""The command `emogram`: parse, call one function, show.

Each command returns an exit code: 0 fine, 1 failed, 2 wrong usage, 3 some inputs failed (each named, the others done),
4 an input could not be read, 5 a model was refused, 130 and 143 on Ctrl-C and SIGTERM. What can go wrong becomes one
line on stderr. Heavy modules are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from emogram import __version__
from emogram.bundle import SHIPPED
from emogram.config import RunConfig
from emogram.errors import EmogramError, InputError, OutputError, SettingsError
from emogram.settings import takes_settings

if TYPE_CHECKING:
    from emogram.bundle import ModelInfo
    from emogram.classifier import Classifier
    from emogram.corpora import Corpus
    from emogram.demo import DemoResult
    from emogram.judging import Judgement
    from emogram.progress import Progress
    from emogram.records import Clip, Prediction, Report

PARTLY_FAILED = 3
UNREADABLE = 4
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

ADAPTED_NOTE = "adapted to the voice, which helps only where it was recorded in several moods"

_EXIT_CODES = (
    "Exit codes: 0 fine, 1 failed, 2 wrong usage, 3 some inputs failed (each named, the others done), 4 an input could "
    "not be read, 5 a model was refused, 130 and 143 on Ctrl-C and SIGTERM."
)

# Settings of splits that mean nothing where corpora are judged on one another.
_OTHER_SPLITS = (
    "split",
    "protocol",
    "fold",
    "validation_speakers",
    "test_speakers",
    "train_list",
    "validation_list",
    "test_list",
    "judge_on",
)

app = typer.Typer(
    name="emogram",
    help="Speech emotion recognition from spectrograms: train, judge honestly, and use.",
    epilog=_EXIT_CODES,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
corpora_app = typer.Typer(help="Look into corpora of emotional speech.", no_args_is_help=False)
app.add_typer(corpora_app, name="corpora")

CorpusPath = Annotated[
    Path,
    typer.Argument(
        metavar="CORPUS",
        help="Folder of sound or spectrogram pictures with a folder for each emotion, a known corpus (see `emogram "
        "corpora list`), or a manifest (.csv, .jsonl) with the columns path and label.",
        show_default=False,
    ),
]
CorpusPaths = Annotated[
    list[Path],
    typer.Argument(
        metavar="CORPUS...",
        help="One corpus or several: each a folder of sound or spectrogram pictures with a folder for each emotion, a "
        "known corpus (see `emogram corpora list`), or a manifest (.csv, .jsonl) with the columns path and label.",
        show_default=False,
    ),
]
Also = Annotated[
    list[Path] | None,
    typer.Option(
        "--also",
        metavar="CORPUS",
        help="A corpus whose clips train as well and never choose or judge; may be given several times.",
        show_default=False,
    ),
]
ModelName = Annotated[
    Path,
    typer.Option(
        "--model",
        envvar="EMOGRAM_MODEL",
        help=f"A model folder, a run folder, or `{SHIPPED}`, the model inside the package.",
    ),
]
CorpusName = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="What the corpus is, instead of finding out by looking.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout, and nothing else there.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes to work with; by default one for each processor.", show_default=False),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="Folder that keeps spectrograms between runs; by default EMOGRAM_CACHE, else the user's cache folder.",
        show_default=False,
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep no spectrograms between runs.")]
Shifts = Annotated[
    int,
    typer.Option(
        min=1, max=9, help="Average every answer over this many shifts in time: slower and better; 5 are enough."
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder for the results; by default a new one below runs/.")]
AllowLeaks = Annotated[
    bool,
    typer.Option("--allow-leaks", help="Go on where clips that judge were trained on, and say so in the report."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write into a folder that holds results already.")]


# ---------------------------------------------------------------- entering and leaving


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    signal.signal(signal.SIGTERM, _terminate)
    # Cross-validation that is interrupted ends its workers by force, and the process of Python that then tidies up
    # after them would complain of what they left. It takes its options from here.
    sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a test or a host program may have put something else there
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        return int(app(list(arguments), prog_name="emogram", standalone_mode=False) or 0)
    except typer.TyperException as error:
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        _error(f"{message}; `{_command_of(error)} --help` tells more")
        return SettingsError.exit_code
    except KeyboardInterrupt:  # while still starting
        return _interrupted()


def _command_of(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return "emogram" if context is None else str(context.command_path)


class _Terminated(KeyboardInterrupt):
    """SIGTERM: what is running ends as on Ctrl-C, and keeps what it can."""

    came = False


def _terminate(number: int, frame: object) -> None:
    _Terminated.came = True  # training answers the interrupt by itself, and the exit code must tell of it later
    raise _Terminated


def _interrupted() -> int:
    """Return the exit code of an interrupted command, by the signal that came."""
    return TERMINATED if _Terminated.came else INTERRUPTED


def command(to: typer.Typer, name: str | None = None) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Register a function as a command; what goes wrong in it becomes a line on stderr and an exit code."""

    def register(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def guarded(**values: Any) -> None:
            raise typer.Exit(_guarded(functools.partial(function, **values)))

        to.command(name)(guarded)
        return function

    return register


def _guarded(function: Callable[[], int]) -> int:
    try:
        code = function()
        sys.stdout.flush()
        return code
    except EmogramError as error:
        _error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _error("interrupted; what was finished stands, and the same command goes on from there where it can")
        return _interrupted()
    except BrokenPipeError:  # whoever read our output, such as `head`, has had enough
        _discard_stdout()
        return EmogramError.exit_code
    except MemoryError:
        _error("not enough memory; try fewer --workers or a smaller --batch-size")
        return EmogramError.exit_code
    except OSError as error:
        from emogram.files import output_error

        where = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else Path("the output")
        _error(str(output_error(where, error)) if error.errno == errno.ENOSPC else f"{where}: {error.strerror}")
        if error.filename is None:
            _discard_stdout()
        return EmogramError.exit_code
    except Exception as error:
        if os.environ.get("EMOGRAM_DEBUG"):
            raise
        _error(
            f"this is a bug in emogram {__version__} ({type(error).__name__}: {error}); please report it, with what "
            "the same command prints under EMOGRAM_DEBUG=1"
        )
        return EmogramError.exit_code


def _error(message: str) -> None:
    from emogram import console

    console.error(message)


def _discard_stdout() -> None:
    """Let what is still in the buffer of stdout go nowhere, or Python would complain of it when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"emogram {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


# ---------------------------------------------------------------- what commands share


def _prepare_training(feature: str) -> None:
    """See that training can be done, and settle what Keras reads from the environment when it is imported."""
    from emogram.doctor import require_training

    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    require_training(feature)


def _progress() -> Progress:
    from emogram.console import RichProgress

    return RichProgress()


def _find(path: Path, name: str | None) -> Corpus:
    from emogram.corpora import find_corpus

    return find_corpus(path, name=name)


def _find_all(paths: Sequence[Path], also: Sequence[Path] | None, name: str | None) -> Corpus:
    from emogram.corpora import find_corpora

    return find_corpora(paths, also=also or (), name=name)


def _cache_folder(cache: Path | None, no_cache: bool) -> Path | None:
    from emogram.dataset import default_cache

    return None if no_cache else cache or default_cache()


def _new_folder(out: Path | None, name: str, *, overwrite: bool) -> Path:
    """Return the folder for results: `out`, or a new one below runs/ with the time in its name."""
    import datetime

    if out is None:
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        out = Path("runs") / f"{_file_name(name)}-{now}"
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; expected a folder for the results, choose another name")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise SettingsError(f"{out}: holds results already; choose another folder, or say --overwrite to write into it")
    return out


def _file_name(text: str) -> str:
    """Return text with everything that a file system or shell may trip over replaced."""
    import re

    return re.sub(r"[^\w.]+", "-", text).strip("-.") or "corpus"


def _print_json(value: Any) -> None:
    from emogram.files import json_line

    sys.stdout.write(json_line(value) + "\n")
    sys.stdout.flush()  # a program may read line by line


def _notes(warnings: Sequence[str]) -> None:
    from emogram import console

    for warning in dict.fromkeys(warnings):
        console.note(warning)


def _failed_dicts(failed: Sequence[tuple[Clip, str]]) -> list[dict[str, str]]:
    return [{"file": str(clip.path), "error": message} for clip, message in failed]


def _show_report(
    report: Report,
    *,
    title: str,
    out: Path,
    failed: Sequence[tuple[Clip, str]],
    n_given: int,
    warnings: Sequence[str],
    as_json: dict[str, Any] | None,
) -> int:
    """Show a report with what must be said beside it, and return the exit code."""
    from emogram import console

    _notes(warnings)
    if as_json is not None:
        _print_json(
            {**as_json, "out": str(out), "report": report.to_dict(), "warnings": list(warnings)}
            | {"failed": _failed_dicts(failed)}
        )
    else:
        console.show(console.report_view(report, title=title))
    console.failures(failed, total=n_given)
    return PARTLY_FAILED if failed else 0


# ---------------------------------------------------------------- making models


@command(app)
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
    _prepare_training("the demo")
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
        progress=_progress(),
    )
    code = _show_report(
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
    return _interrupted() if result.interrupted else code


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


@command(app)
@takes_settings("spectrogram", "augment", "network", "train", "split")
def train(
    corpora: CorpusPaths,
    config: RunConfig,
    also: Also = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default runs/CORPUS-NETWORK-TIME.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run folder below runs/.", show_default=False)] = None,
    overwrite: Overwrite = False,
    corpus_name: CorpusName = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    workers: Workers = None,
    json: Json = False,
) -> int:
    """Train a network on a corpus or several, judge it, and save the model with its plots."""
    if out is not None and name is not None:
        raise SettingsError("both --out and --name say where the run goes; give one of them")
    _prepare_training("training")
    found = _find_all(corpora, also, corpus_name)
    folder = _new_folder(
        Path("runs") / name if name else out, f"{found.name}-{config.network.network}", overwrite=overwrite
    )
    from emogram import console
    from emogram.train import train as train_model

    result = train_model(
        found, config, folder, cache=_cache_folder(cache, no_cache), workers=workers, progress=_progress()
    )
    facts = {
        "run": str(result.run),
        "judged_on": result.judged_on,
        "interrupted": result.interrupted,
        "seconds": result.seconds,
    }
    code = _show_report(
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
    return _interrupted() if result.interrupted else code


@command(app)
@takes_settings("spectrogram", "augment", "network", "train")
def crossval(
    corpora: CorpusPaths,
    config: RunConfig,
    protocol: Annotated[str, typer.Option(help="How clips are parted: ravdess-si5 or random80.", show_default=False)],
    also: Also = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Train once with each seed; by default --seed alone.")
    ] = None,
    judge_on: Annotated[
        Literal["test", "validation"],
        typer.Option(help="Part that judges; 'validation' leaves the test part alone, for choosing settings."),
    ] = "test",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Folds to train at once; by default one for each processor.")
    ] = None,
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
    json: Json = False,
) -> int:
    """Train and judge on every fold of a named protocol, and report the pooled result."""
    from emogram.protocols import find_protocol

    find_protocol(protocol)
    chosen = _numbers(seeds) if seeds is not None else (config.train.seed,)
    _prepare_training("cross-validation")
    found = _find_all(corpora, also, corpus_name)
    config = config.model_copy(update={"split": config.split.model_copy(update={"judge_on": judge_on})})
    name = f"{found.name}-{protocol}-{config.network.network}{'' if judge_on == 'test' else '-validation'}"
    folder = out or Path("runs") / _file_name(name)
    from emogram import console
    from emogram.crossval import crossval as cross_validate

    split = config.split.model_copy(update={"allow_leaks": allow_leaks})
    result = cross_validate(
        found,
        config.model_copy(update={"split": split}),
        folder,
        protocol=protocol,
        seeds=chosen,
        jobs=jobs,
        cache=_cache_folder(cache, no_cache),
        progress=_progress(),
    )
    facts = {"seeds": list(chosen), **_seeds_dict(result.judgement), "seconds": result.seconds}
    code = _show_report(
        result.report,
        title=f"Pooled over the folds{f', seed {chosen[0]}' if len(chosen) > 1 else ''}",
        out=result.out,
        failed=result.failed,
        n_given=len(found.clips),
        warnings=result.warnings,
        as_json=facts if json else None,
    )
    if not json:
        _show_seeds(result.judgement)
    console.say(f"results: {result.out} (after {console.duration(result.seconds)})")
    return code


@command(app)
@takes_settings("spectrogram", "augment", "network", "train", "split", leave_out=_OTHER_SPLITS)
def crosscorpus(
    corpora: CorpusPaths,
    config: RunConfig,
    leave_one_out: Annotated[
        bool,
        typer.Option("--leave-one-out", help="Train on all corpora but the one that judges, not on one at a time."),
    ] = False,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Train once with each seed; by default --seed alone.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Trainings at once; by default one for each processor.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results; by default runs/crosscorpus-NETWORK. Trainings that are done there stay, so "
            "that the same command goes on after an interruption.",
        ),
    ] = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    json: Json = False,
) -> int:
    """Train on each corpus and judge on every other, on the labels that both have."""
    chosen = _numbers(seeds) if seeds is not None else (config.train.seed,)
    _prepare_training("crosscorpus")
    found = [_find(path, None) for path in corpora]
    words = "crosscorpus-all-but-one" if leave_one_out else "crosscorpus"
    from emogram import console
    from emogram.crosscorpus import crosscorpus as judge_pairs

    result = judge_pairs(
        found,
        config,
        out or Path("runs") / _file_name(f"{words}-{config.network.network}"),
        leave_one_out=leave_one_out,
        seeds=chosen,
        jobs=jobs,
        cache=_cache_folder(cache, no_cache),
        progress=_progress(),
    )
    _notes(result.warnings)
    if json:
        _print_json(
            {**result.to_dict(), "out": str(result.out), "seeds": list(chosen), "seconds": result.seconds}
            | {"warnings": list(result.warnings), "failed": _failed_dicts(result.failed)}
        )
    else:
        title = "Trained on all others, judged on each" if leave_one_out else "Trained on each, judged on each"
        console.show(console.corpus_pairs_view(result.pairs, title=title, protocol=result.protocol))
        spread = f", standard deviation over seeds {console.percent(result.std_uar)}" if len(chosen) > 1 else ""
        mean, chance = console.percent(result.mean_uar), console.percent(result.mean_chance)
        console.show(f"mean UAR between different corpora: {mean}{spread}; chance {chance}")
    console.failures(result.failed, total=sum(len(corpus.clips) for corpus in found))
    console.say(f"results: {result.out} (after {console.duration(result.seconds)})")
    return PARTLY_FAILED if result.failed else 0


def _numbers(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isascii() and word.isdigit() for word in words):
        raise SettingsError(f"--seeds '{text}'; expected whole numbers between commas, such as 0,1,2")
    return tuple(dict.fromkeys(int(word) for word in words))


@command(app)
def evaluate(
    what: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL CORPUS | FILE...",
            help=f"A model folder, a run folder or `{SHIPPED}`, the model inside the package, and a corpus as `emogram "
            "train` takes it; with --predictions, files of stored predictions or the folders of runs.",
            show_default=False,
        ),
    ],
    predictions: Annotated[
        bool,
        typer.Option("--predictions", help="Compute all figures again from stored predictions (CSV), without a model."),
    ] = False,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="With --predictions: judge the mean of all seeds and files.")
    ] = False,
    part: Annotated[
        Literal["all", "test", "validation"],
        typer.Option(help="All clips, or those of the speakers that the model's own split set aside."),
    ] = "all",
    allow_leaks: AllowLeaks = False,
    shifts: Shifts = 1,
    adapt: Annotated[
        bool,
        typer.Option(
            "--adapt", help="Adapt the answers to each speaker, without labels; the figure is then to be told apart."
        ),
    ] = False,
    out: Out = None,
    overwrite: Overwrite = False,
    corpus_name: CorpusName = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    workers: Workers = None,
    json: Json = False,
) -> int:
    """Judge a model on a corpus, or stored predictions."""
    from emogram.doctor import require_plots

    require_plots("evaluation")
    if predictions:
        if adapt or shifts > 1:
            raise SettingsError("--adapt and --shifts need the model; `emogram adapt RUNS` adapts what runs stored")
        return _evaluate_predictions(what, ensemble=ensemble, out=out, overwrite=overwrite, json=json)
    if ensemble or len(what) != 2:
        raise SettingsError(
            f"{'--ensemble' if ensemble else f'{len(what)} paths'} without --predictions; expected a model and a corpus"
        )
    model, corpus = what
    found = _find(corpus, corpus_name)
    folder = _new_folder(out, f"evaluate-{found.name}", overwrite=overwrite)
    from emogram import console
    from emogram.evaluate import evaluate as judge

    result = judge(
        model,
        found,
        folder,
        part=part,
        allow_leaks=allow_leaks,
        shifts=shifts,
        adapt=adapt,
        cache=_cache_folder(cache, no_cache),
        workers=workers,
        progress=_progress(),
    )
    code = _show_report(
        result.report,
        title=f"{model} on {found.name}",
        out=result.out,
        failed=result.failed,
        n_given=len(found.clips),
        warnings=result.warnings,
        as_json={"part": part, "shifts": shifts, "adapted": adapt} if json else None,
    )
    console.file_lines(result.plots, words="plots")
    return code


def _evaluate_predictions(
    files: Sequence[Path], *, ensemble: bool, out: Path | None, overwrite: bool, json: bool
) -> int:
    from emogram import console
    from emogram.evaluate import evaluate_predictions

    folder = _new_folder(out, "evaluate-predictions", overwrite=overwrite)
    judgement = evaluate_predictions(files, folder, ensemble=ensemble)
    code = _show_report(
        judgement.report,
        title="Ensemble" if ensemble else f"Stored predictions, {next(iter(judgement.per_seed))}",
        out=folder,
        failed=(),
        n_given=len(judgement.clips),
        warnings=(),
        as_json=_seeds_dict(judgement) if json else None,
    )
    if not json:
        _show_seeds(judgement)
    console.file_lines(judgement.plots, words="plots")
    return code


def _seeds_dict(judgement: Judgement) -> dict[str, Any]:
    return {
        "over_seeds": judgement.over_seeds.to_dict(),
        "per_seed": {name: report.to_dict() for name, report in judgement.per_seed.items()},
    }


def _show_seeds(judgement: Judgement) -> None:
    from emogram import console

    if len(judgement.per_seed) > 1:
        console.show(console.seeds_view(judgement.over_seeds, judgement.per_seed))


@command(app)
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN...",
            help="Folders of runs or cross-validations, or files of stored predictions; several seeds count as one.",
            show_default=False,
        ),
    ],
    out: Out = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> int:
    """Say whether one model is better than another on the same clips."""
    from emogram import console
    from emogram.compare import compare as compare_runs
    from emogram.doctor import require_plots

    require_plots("comparing")
    comparison = compare_runs(runs, _new_folder(out, "compare", overwrite=overwrite))
    _notes(comparison.warnings)
    if json:
        _print_json(comparison.to_dict())
    else:
        console.show(console.comparison_view(comparison))
    console.file_lines(comparison.files, words="results")
    return 0


@command(app)
def robustness(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A model folder, a run folder, or the folder of a cross-validation.",
            show_default=False,
        ),
    ],
    corpus: CorpusPath,
    conditions: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Conditions, such as babble-10,telephone; by default all of them."),
    ] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    corpus_name: CorpusName = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    workers: Workers = None,
    json: Json = False,
) -> int:
    """Judge models on noisy, reverberant, coded, telephoned and cut clips."""
    from emogram.doctor import require_plots

    require_plots("judging robustness")
    found = _find(corpus, corpus_name)
    folder = _new_folder(out, f"robustness-{found.name}", overwrite=overwrite)
    from emogram import console
    from emogram.degrade import CONDITIONS
    from emogram.robustness import robustness as judge

    names = [name.strip() for name in conditions.split(",") if name.strip()] if conditions else list(CONDITIONS)
    result = judge(
        model,
        found,
        folder,
        conditions=names,
        cache=_cache_folder(cache, no_cache),
        workers=workers,
        progress=_progress(),
    )
    _notes(result.warnings)
    if json:
        _print_json({**result.to_dict(), "out": str(result.out), "failed": _failed_dicts(result.failed)})
    else:
        console.show(console.conditions_view(result.scores, title=f"{model}, degraded", protocol=result.protocol))
    console.failures(result.failed, total=len(found.clips))
    console.say(f"results: {result.out} (after {console.duration(result.seconds)})")
    return PARTLY_FAILED if result.failed else 0


@command(app)
def adapt(
    runs: Annotated[
        Path,
        typer.Argument(metavar="RUNS", help="Folder of a cross-validation, or a run folder.", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; by default RUNS/adapted.", show_default=False)
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> int:
    """Adapt the predictions that runs stored to each speaker, and judge them apart."""
    from emogram.doctor import require_plots

    require_plots("judging")
    from emogram.adapted import adapt_runs

    folder = _new_folder(out or runs / "adapted", "", overwrite=overwrite)
    judgement = adapt_runs(runs, folder)
    code = _show_report(
        judgement.report,
        title="Adapted to the voice",
        out=folder,
        failed=(),
        n_given=len(judgement.clips),
        warnings=(),
        as_json=_seeds_dict(judgement) if json else None,
    )
    if not json:
        _show_seeds(judgement)
    return code


@command(app)
def ship(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder or model folder.", show_default=False)],
    corpora: CorpusPaths,
    out: Annotated[
        Path, typer.Option(help="The folder to write; a model that is there is replaced.", show_default=False)
    ],
    also: Also = None,
    card: Annotated[Path | None, typer.Option(help="Also write the model card here.", show_default=False)] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(
            help="TOML file that names the results, tables and commands that the card shows.", show_default=False
        ),
    ] = None,
    int8: Annotated[bool, typer.Option(help="Try int8, and keep it where it costs under a point of UAR.")] = True,
    corpus_name: CorpusName = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    workers: Workers = None,
    json: Json = False,
) -> int:
    """Make of a trained model the folder that the package ships: small, licensed, with its card."""
    from emogram.doctor import require_training

    require_training("shipping")
    from emogram import console
    from emogram.card import read_evidence
    from emogram.ship import ship as make_folder

    found = _find_all(corpora, also, corpus_name)
    result = make_folder(
        model,
        found,
        out,
        int8=int8,
        evidence=None if evidence is None else read_evidence(evidence),
        card=card,
        cache=_cache_folder(cache, no_cache),
        workers=workers,
        progress=_progress(),
    )
    facts = {
        "model": {"id": result.bundle.info.model_id, "sha256": result.bundle.sha256},
        "bytes": result.n_bytes,
        "trials": {name: vars(trial) for name, trial in result.trials.items()},
        "chosen": result.chosen,
    }
    code = _show_report(
        result.report,
        title="What ships, on the part that judges",
        out=out,
        failed=result.failed,
        n_given=len(found.clips),
        warnings=found.warnings,
        as_json=facts if json else None,
    )
    for name, trial in result.trials.items():
        console.say(
            f"{name:<8} {trial.n_bytes / 1e6:.2f} MB, validation UAR {console.percent(trial.uar)}, {trial.clip_ms:.2f} "
            f"ms a clip{', chosen' if name == result.chosen else ''}"
        )
    console.say(f"model: {out} ({result.n_bytes / 1e6:.2f} MB)")
    return code


# ---------------------------------------------------------------- looking at data


@command(app)
@takes_settings(
    "spectrogram",
    leave_out=("kind", "utterance_features", "min_frames", "frame_multiple"),
    base={"network": {"network": "baseline"}},
)
def spectrograms(
    corpus: CorpusPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the pictures.", show_default=False)],
    config: RunConfig,
    corpus_name: CorpusName = None,
    workers: Workers = None,
    json: Json = False,
) -> int:
    """Draw each clip of a corpus as a picture, one folder for each emotion; what is drawn already stays."""
    from emogram import console
    from emogram.pictures import write_pictures

    found = _find(corpus, corpus_name)
    result = write_pictures(found, out, config.spectrogram, workers=workers, progress=_progress())
    warnings = list(found.warnings)
    if result.strays:
        named = ", ".join(str(path) for path in result.strays[:3])
        more = ", ..." if len(result.strays) > 3 else ""
        warnings.append(
            f"{len(result.strays)} pictures in {out} belong to no clip of this corpus and would be trained on: {named}"
            f"{more}; remove them if they are old"
        )
    _notes(warnings)
    if json:
        _print_json(
            {
                "out": str(out),
                "written": result.written,
                "unchanged": result.unchanged,
                "failed": _failed_dicts(result.failed),
                "warnings": warnings,
            }
        )
    else:
        console.say(f"{result.written:,} pictures drawn, {result.unchanged:,} were there already: {out}")
    console.failures(result.failed, total=len(found.clips))
    if result.failed and not result.written and not result.unchanged:
        return UNREADABLE
    return PARTLY_FAILED if result.failed else 0


@command(corpora_app, "describe")
def describe_corpus(
    corpus: CorpusPath,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the plots and description.json; by default CORPUS-description here."),
    ] = None,
    plots: Annotated[bool, typer.Option(help="Draw the class balance and examples of each emotion.")] = True,
    corpus_name: CorpusName = None,
    workers: Workers = None,
    json: Json = False,
) -> int:
    """Tell what is in a corpus and what is wrong with it, and draw it."""
    from emogram import console
    from emogram.corpora.describe import describe
    from emogram.doctor import require_plots
    from emogram.files import write_json

    if plots:
        require_plots("drawing plots (--no-plots does without)")
    found = _find(corpus, corpus_name)
    description = describe(found, workers=workers, progress=_progress())
    _notes(description.warnings)
    if json:
        _print_json(description.to_dict())
    else:
        console.show(console.description_view(description))
    if plots or out is not None:
        folder = out or Path(f"{found.name}-description")
        write_json(folder / "description.json", description.to_dict())
        if plots:
            console.file_lines(_draw_description(found, description.by_label, folder), words="plots")
    return PARTLY_FAILED if description.unreadable else 0


def _draw_description(corpus: Corpus, counts: Any, folder: Path) -> list[Path]:
    from emogram import plots
    from emogram.corpora.describe import example_clips

    balance, sheet = folder / "class_balance.png", folder / "examples.png"
    plots.class_balance(counts, balance, title=corpus.name)
    config = RunConfig().spectrogram
    examples = {}
    for label, clips in example_clips(corpus).items():
        drawn = []
        for clip in clips:
            with contextlib.suppress(InputError):  # named in the description
                drawn.append((f"{clip.speaker or ''} {clip.path.stem}".strip(), _heard(clip, config)))
        if drawn:
            examples[label] = drawn
    if examples:
        plots.spectrogram_sheet(examples, sheet, title=corpus.name, config=config)
    return [balance, *([sheet] if examples else [])]


def _heard(clip: Clip, config: Any) -> Any:
    """Return what to draw of a clip: its log-mel, or the pixels of a picture."""
    from emogram import audio, spectrogram

    if clip.path.suffix.lower() in spectrogram.PICTURE_SUFFIXES:
        return spectrogram.resize_picture(spectrogram.open_picture(clip.path), config.picture_size)
    return spectrogram.log_mel(audio.load_clip(clip, sample_rate=config.sample_rate), config)


@command(corpora_app, "list")
def list_corpora(json: Json = False) -> int:
    """List the corpora that are known by the names of their files."""
    from emogram import console
    from emogram.corpora import CORPORA

    rows = [{"name": each.name, "example": each.example, "licence": each.licence} for each in CORPORA.values()]
    if json:
        for row in rows:
            _print_json(row)
    else:
        console.show(console.plain_table(("corpus", "a file of it", "licence"), [tuple(row.values()) for row in rows]))
    return 0


# ---------------------------------------------------------------- using a model


@command(app)
def predict(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Sound files, folders of them, or patterns in quotes ('**/*.wav'); - reads names from stdin, one a "
            "line (or with zero bytes between, as find -print0 writes them).",
            show_default=False,
        ),
    ],
    model: ModelName = Path(SHIPPED),
    top_k: Annotated[
        int | None,
        typer.Option(min=1, help="Emotions to show; by default all for one file, 3 for several.", show_default=False),
    ] = None,
    shifts: Shifts = 1,
    adapt: Annotated[
        bool,
        typer.Option(
            "--adapt",
            help="Adapt the answers to the voice, which must have been recorded in several moods: all files are of one "
            "voice, or with --voice-folders those of each folder.",
        ),
    ] = False,
    voice_folders: Annotated[
        bool, typer.Option("--voice-folders", help="With --adapt: the files of each folder are of one voice.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Also write the answers as a table.", show_default=False)] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Also draw the spectrogram with the answer: a PNG file for one file, a folder for several.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option(help="Warn of what is not speech; takes about 0.1 s for each clip of 3 s.")
    ] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Files to work on at once.", show_default=False)] = None,
    json: Json = False,
) -> int:
    """Tell the emotion of speech."""
    from emogram import console
    from emogram.classifier import Classifier
    from emogram.errors import ModelError

    if voice_folders and not adapt:
        raise SettingsError("--voice-folders says what --adapt adapts to; say --adapt as well")
    if picture is not None:
        from emogram.doctor import require_plots

        require_plots("drawing pictures")
    classifier = Classifier.load(model, shifts=shifts)
    clips, failed = _clips_of(_names(files), classifier.info)
    drawings = _drawings(picture, clips)
    done: list[tuple[Clip, Prediction]] = []
    odd: Counter[str] = Counter()
    errors: list[EmogramError] = [error for _, error in failed]
    outcomes = classifier.predict_many(
        clips, check=check, workers=workers, progress=_predict_progress(len(clips), json=json)
    )
    if adapt:
        outcomes = classifier.adapt(outcomes, voice_of=lambda clip: str(clip.path.parent) if voice_folders else "")
    with contextlib.closing(outcomes):  # type: ignore[type-var]
        for clip, outcome in outcomes:
            if isinstance(outcome, EmogramError):
                failed.append((clip, outcome))
                errors.append(outcome)
                continue
            done.append((clip, outcome))
            result = _result(clip, outcome, classifier)
            if adapt:
                result["warnings"].append(ADAPTED_NOTE)
            # Figures between parentheses differ from file to file, and what is counted is the same.
            odd.update(result["warnings"] if len(clips) == 1 else [w.partition(" (")[0] for w in result["warnings"]])
            if json:
                _print_json(result)
            if drawings:
                _draw(clip, outcome, classifier.info, drawings[clip.path])
    if not json and done:
        _show_predictions(done, top_k=top_k, one=len(clips) == 1)
        _notes([f"{count} of {len(done)} files: {warning}" for warning, count in odd.items()])
    if csv is not None:
        from emogram.writers import write_predictions_csv

        write_predictions_csv(csv, done, labels=classifier.labels)
    if len(errors) == 1 and not done:
        raise errors[0]
    console.failures([(clip, str(error)) for clip, error in failed], total=len(done) + len(failed))
    if errors and not done:
        return ModelError.exit_code if all(isinstance(error, ModelError) for error in errors) else UNREADABLE
    return PARTLY_FAILED if errors else 0


def _names(files: Sequence[str]) -> Iterator[str]:
    """Yield names as given, and in place of "-" those that stdin holds."""
    for name in files:
        if name != "-":
            yield name
            continue
        data = sys.stdin.buffer.read()
        lines = data.split(b"\0") if b"\0" in data else data.splitlines()
        yield from (os.fsdecode(line) for line in lines if line.strip())


def _clips_of(names: Iterator[str], info: ModelInfo) -> tuple[list[Clip], list[tuple[Clip, EmogramError]]]:
    """Return the clips that names stand for, and the names that stand for none."""
    from emogram.records import Clip

    clips: list[Clip] = []
    failed: list[tuple[Clip, EmogramError]] = []
    for name in names:
        try:
            clips += [Clip(path) for path in _files_of(name, info)]
        except InputError as error:
            failed.append((Clip(Path(name)), error))
    return clips, failed


def _files_of(name: str, info: ModelInfo) -> list[Path]:
    """Return the file of that name, or what a folder or pattern of that name holds for this model."""
    import glob

    path = Path(name)
    if path.is_dir():
        return _files_in(path, info)
    if path.exists() or not glob.has_magic(name):
        return [path]  # if it is missing, the classifier says so
    matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207 (absolute patterns)
    found = [file for match in matches for file in (_files_in(match, info) if match.is_dir() else [match])]
    if not found:
        raise InputError(f"{name}: no file matches this pattern")
    return list(dict.fromkeys(found))


def _files_in(folder: Path, info: ModelInfo) -> list[Path]:
    from emogram.corpora.scan import scan

    found = scan(folder)
    wanted = found.pictures if info.spectrogram is None else found.sounds or found.pictures
    if not wanted:
        kind = "PNG or JPEG picture" if info.spectrogram is None else "sound file"
        raise InputError(f"{folder}: no {kind} in it, which this model takes")
    return list(wanted)


def _predict_progress(n_clips: int, *, json: bool) -> Progress:
    """Return the progress of a prediction; none where it would only stand in the way."""
    from emogram.progress import SILENT

    return SILENT if n_clips < 2 or (json and sys.stdout.isatty()) else _progress()


def _result(clip: Clip, prediction: Prediction, classifier: Classifier) -> dict[str, Any]:
    """Return one line of `--json`."""
    from emogram import audio
    from emogram.spectrogram import PICTURE_SUFFIXES
    from emogram.writers import result_dict

    info, sha256 = classifier.info, classifier.sha256
    if info.spectrogram is None or clip.path.suffix.lower() in PICTURE_SUFFIXES:
        return result_dict(prediction, path=clip.path, info=info, sha256=sha256)
    duration_s, sample_rate, channels = audio.probe(clip.path)
    warnings = []
    if sample_rate < 2 * info.spectrogram.f_max_hz:
        warnings.append(
            f"sampled at {sample_rate} Hz, which holds nothing above {sample_rate / 2:g} Hz, and the model listens up "
            f"to {info.spectrogram.f_max_hz:g} Hz; expect more errors"
        )
    return result_dict(
        prediction,
        path=clip.path,
        info=info,
        sha256=sha256,
        duration_ms=None if duration_s is None else round(1000 * duration_s),
        sample_rate=sample_rate,
        channels=channels,
        warnings=warnings,
    )


def _show_predictions(done: Sequence[tuple[Clip, Prediction]], *, top_k: int | None, one: bool) -> None:
    from emogram import console

    if one:
        (clip, prediction) = done[0]
        console.show(console.prediction_view(str(clip.path), prediction, top_k=top_k))
    else:
        rows = [(str(clip.path), prediction) for clip, prediction in done]
        console.show(console.predictions_table(rows, top_k=top_k or 3))


def _drawings(picture: Path | None, clips: Sequence[Clip]) -> dict[Path, Path]:
    """Return where the picture of each clip goes; empty where none are wanted."""
    if picture is None:
        return {}
    if picture.suffix.lower() == ".png":
        if len(clips) > 1:
            raise SettingsError(f"--picture {picture}: one file, and {len(clips)} to draw; name a folder for them")
        return {clip.path: picture for clip in clips}
    names: dict[Path, Path] = {}
    taken: set[str] = set()
    for clip in clips:
        name, number = clip.path.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{clip.path.stem}-{number}"
        taken.add(name.casefold())
        names[clip.path] = picture / f"{name}.png"
    return names


def _draw(clip: Clip, prediction: Prediction, info: ModelInfo, target: Path) -> None:
    from emogram import plots

    config = info.spectrogram or RunConfig().spectrogram
    plots.prediction(_heard(clip, config), config, prediction, target, title=clip.path.name)


# ---------------------------------------------------------------- the installation


@command(app)
def doctor(json: Json = False) -> int:
    """Check the installation: versions, extras, back end, cache, and whether sound can be read."""
    from emogram import console
    from emogram.doctor import examine

    checks = examine()
    if json:
        for check in checks:
            _print_json({"check": check.name, "ok": check.ok, "found": check.found, "advice": check.advice})
    else:
        console.show(console.checks_table(checks))
    for check in checks:
        if not check.ok:
            console.error(f"{check.name}: {check.found}; {check.advice}")
    return 0 if all(check.ok for check in checks) else EmogramError.exit_code
