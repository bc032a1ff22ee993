"""What several commands do: find a corpus and a folder for results, show a report, write JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emogram.cli.entry import PARTLY_FAILED
from emogram.errors import InputError, OutputError, SettingsError

if TYPE_CHECKING:
    from emogram.corpora import Corpus
    from emogram.judging import Judgement
    from emogram.progress import Progress
    from emogram.records import Clip, Report
    from emogram.trackers import Trackers


def prepare_training(feature: str) -> None:
    """See that training can be done, and settle what Keras reads from the environment when it is imported."""
    from emogram.doctor import require_training

    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    require_training(feature)


def rich_progress() -> Progress:
    """Return the progress that a person sees on stderr."""
    from emogram.console import RichProgress

    return RichProgress()


def find(path: Path, name: str | None, *, unlabelled: bool = False) -> Corpus:
    """Find a corpus, by looking or by the name of what it is; `unlabelled` as for `find_corpus`."""
    from emogram.corpora import find_corpus

    return find_corpus(path, name=name, unlabelled=unlabelled)


def find_all(
    paths: Sequence[Path], also: Sequence[Path] | None, name: str | None, *, unlabelled: bool = False
) -> Corpus:
    """Find corpora and join them; those of `also` only train."""
    from emogram.corpora import find_corpora

    return find_corpora(paths, also=also or (), name=name, unlabelled=unlabelled)


def cache_folder(cache: Path | None, no_cache: bool) -> Path | None:
    """Return the folder that keeps spectrograms; None where none are to be kept."""
    from emogram.files import default_cache

    return None if no_cache else cache or default_cache()


def chosen_trackers(tensorboard: bool, mlflow: bool, mlflow_uri: str | None, wandb: bool) -> Trackers:
    """Return the trackers that flags name, or say which extra is missing."""
    from emogram.trackers import choose_trackers

    return choose_trackers(tensorboard=tensorboard, mlflow=mlflow_uri or mlflow, wandb=wandb)


def run_named(out: Path | None, name: str | None, *, resume: bool, overwrite: bool) -> Path | None:
    """Return the run folder that --out or --name names; None where neither does."""
    if out is not None and name is not None:
        raise SettingsError("both --out and --name say where the run goes; give one of them")
    named = Path("runs") / name if name else out
    if resume and overwrite:
        raise SettingsError("--resume goes on with a training and --overwrite begins anew; give one of them")
    if resume and named is None:
        raise SettingsError("--resume goes on with a training that --out or --name names; give one of them")
    return named


def is_begun(named: Path | None, *, resume: bool, overwrite: bool) -> bool:
    """Tell whether a run folder holds a training that was interrupted, and see that it was said what becomes of it."""
    from emogram.checkpoints import is_unfinished

    begun = named is not None and is_unfinished(named)
    if begun and not (resume or overwrite):
        raise SettingsError(
            f"{named}: holds a training that was interrupted; go on with it by --resume, or begin anew by --overwrite"
        )
    return begun


def new_folder(out: Path | None, name: str, *, overwrite: bool) -> Path:
    """Return the folder for results: `out`, or a new one below runs/ with the time in its name."""
    import datetime

    if out is None:
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        named = out = Path("runs") / f"{file_name(name)}-{now}"
        number = 1
        while out.exists():  # made in the same second
            number += 1
            out = named.with_name(f"{named.name}-{number}")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; expected a folder for the results, choose another name")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise SettingsError(f"{out}: holds results already; choose another folder, or say --overwrite to write into it")
    return out


def file_name(text: str) -> str:
    """Return text with everything that a file system or shell may trip over replaced."""
    import re

    return re.sub(r"[^\w.]+", "-", text).strip("-.") or "corpus"


def numbers(option: str, text: str) -> tuple[int, ...]:
    """Return the whole numbers of an option, which stand between commas, each once.

    Raises:
        SettingsError: It has none, or something else.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isascii() and word.isdigit() for word in words):
        raise SettingsError(f"{option} '{text}'; expected whole numbers between commas, such as 0,1,2")
    return tuple(dict.fromkeys(int(word) for word in words))


def names_given(files: Sequence[str]) -> Iterator[str]:
    """Yield names as given, and in place of "-" those that stdin holds."""
    for name in files:
        if name != "-":
            yield name
            continue
        data = sys.stdin.buffer.read()
        lines = data.split(b"\0") if b"\0" in data else data.splitlines()
        yield from (os.fsdecode(line) for line in lines if line.strip())


def files_named(name: str, files_in: Callable[[Path], list[Path]]) -> list[Path]:
    """Return the file of that name, or what a folder or pattern of that name holds, as `files_in` finds it in a folder.

    Raises:
        InputError: The pattern matches nothing, or `files_in` raised it.
    """
    import glob

    path = Path(name)
    if path.is_dir():
        return files_in(path)
    if path.exists() or not glob.has_magic(name):
        return [path]  # if it is missing, whoever opens it says so
    matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207 (absolute patterns)
    found = [file for match in matches for file in (files_in(match) if match.is_dir() else [match])]
    if not found:
        raise InputError(f"{name}: no file matches this pattern")
    return list(dict.fromkeys(found))


def unique_stems(paths: Sequence[Path]) -> dict[Path, str]:
    """Return a name for what is made of each file: its own without suffix, numbered where several have the same."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in paths:
        name, number = path.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{path.stem}-{number}"
        taken.add(name.casefold())
        names[path] = name
    return names


def pictures_of(option: str, picture: Path, paths: Sequence[Path]) -> dict[Path, Path]:
    """Return where the picture of each file goes: a PNG file for one, a folder for several.

    Raises:
        SettingsError: One picture is named for several files.
    """
    if picture.suffix.lower() == ".png":
        if len(paths) > 1:
            raise SettingsError(f"{option} {picture}: one file, and {len(paths)} to draw; name a folder for them")
        return {path: picture for path in paths}
    return {path: picture / f"{name}.png" for path, name in unique_stems(paths).items()}


def print_json(value: Any) -> None:
    """Write one line of `--json` to stdout."""
    from emogram.files import json_line

    sys.stdout.write(json_line(value) + "\n")
    sys.stdout.flush()  # a program may read line by line


def notes(warnings: Sequence[str]) -> None:
    """Say each warning once on stderr."""
    from emogram import console

    for warning in dict.fromkeys(warnings):
        console.note(warning)


def failed_dicts(failed: Sequence[tuple[Clip, str]]) -> list[dict[str, str]]:
    """Return clips that could not be used, and why, ready for JSON."""
    return [{"file": str(clip.path), "error": message} for clip, message in failed]


def show_report(
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

    notes(warnings)
    if as_json is not None:
        print_json(
            {**as_json, "out": str(out), "report": report.to_dict(), "warnings": list(warnings)}
            | {"failed": failed_dicts(failed)}
        )
    else:
        console.show(console.report_view(report, title=title))
    console.failures(failed, total=n_given)
    return PARTLY_FAILED if failed else 0


def seeds_dict(judgement: Judgement) -> dict[str, Any]:
    """Return what several seeds came to, ready for JSON."""
    return {
        "over_seeds": judgement.over_seeds.to_dict(),
        "per_seed": {name: report.to_dict() for name, report in judgement.per_seed.items()},
    }


def show_seeds(judgement: Judgement) -> None:
    """Show what several seeds came to, where there are several."""
    from emogram import console

    if len(judgement.per_seed) > 1:
        console.show(console.seeds_view(judgement.over_seeds, judgement.per_seed))


def heard(clip: Clip, config: Any) -> Any:
    """Return what to draw of a clip: its log-mel, or the pixels of a picture."""
    from emogram import audio, spectrogram

    if clip.path.suffix.lower() in spectrogram.PICTURE_SUFFIXES:
        return spectrogram.resize_picture(spectrogram.open_picture(clip.path), config.picture_size)
    return spectrogram.log_mel(audio.load_clip(clip, sample_rate=config.sample_rate), config)
