"""The command that uses a model: predict."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emogram.bundle import SHIPPED
from emogram.cli.entry import PARTLY_FAILED, UNREADABLE
from emogram.cli.options import Json, ModelName, Shifts
from emogram.cli.shared import files_named, heard, names_given, notes, pictures_of, print_json, rich_progress
from emogram.config import RunConfig
from emogram.errors import EmogramError, InputError, SettingsError

if TYPE_CHECKING:
    from emogram.bundle import ModelInfo
    from emogram.classifier import Classifier
    from emogram.progress import Progress
    from emogram.records import Clip, Prediction

    Answered = tuple[Clip, tuple[Prediction, dict[str, Any]] | EmogramError]

ADAPTED_NOTE = "adapted to the voice, which helps only where it was recorded in several moods"


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
        bool, typer.Option(help="Warn of what is not speech; takes about as long as the answer itself.")
    ] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Files to work on at once.", show_default=False)] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Ask a running service, such as http://127.0.0.1:8000, whose token EMOGRAM_TOKEN holds; --model is "
            "then the id of one of its models.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Tell the emotion of speech."""
    if voice_folders and not adapt:
        raise SettingsError("--voice-folders says what --adapt adapts to; say --adapt as well")
    if server is not None:
        from emogram.cli.asking import Server, refuse_with_server

        refuse_with_server(adapt=adapt, picture=picture, shifts=shifts > 1)
        with Server(server, model) as service:
            clips, failed = _clips_of(names_given(files), None)
            progress = _predict_progress(len(clips), json=json)
            answers = service.answers(clips, check=check, workers=workers, progress=progress)
            return _tell(clips, answers, failed, labels=service.labels, top_k=top_k, csv=csv, json=json)
    if picture is not None:
        from emogram.doctor import require_plots

        require_plots("drawing pictures")
    from emogram.classifier import Classifier

    classifier = Classifier.load(model, shifts=shifts)
    clips, failed = _clips_of(names_given(files), classifier)
    drawings = _drawings(picture, clips)
    outcomes = classifier.predict_many(
        clips, check=check, workers=workers, progress=_predict_progress(len(clips), json=json)
    )
    if adapt:
        outcomes = classifier.adapt(outcomes, voice_of=lambda clip: str(clip.path.parent) if voice_folders else "")
    answers = _answers(outcomes, classifier, drawings, adapted=adapt)
    return _tell(clips, answers, failed, labels=classifier.labels, top_k=top_k, csv=csv, json=json)


def _answers(
    outcomes: Iterator[tuple[Clip, Prediction | EmogramError]],
    classifier: Classifier,
    drawings: Mapping[Path, Path],
    *,
    adapted: bool,
) -> Iterator[Answered]:
    """Yield each clip with its answer and the line of `--json`, or with the error that came instead."""
    with contextlib.closing(outcomes):  # type: ignore[type-var]
        for clip, outcome in outcomes:
            if isinstance(outcome, EmogramError):
                yield clip, outcome
                continue
            result = _result(clip, outcome, classifier)
            if adapted:
                result["warnings"].append(ADAPTED_NOTE)
            yield clip, (outcome, result)
            if drawings:
                _draw(clip, outcome, classifier.info, drawings[clip.path])


def _tell(
    clips: Sequence[Clip],
    answers: Iterator[Answered],
    failed: list[tuple[Clip, EmogramError]],
    *,
    labels: Sequence[str],
    top_k: int | None,
    csv: Path | None,
    json: bool,
) -> int:
    """Show answers as they come, and what failed; return the exit code."""
    from emogram import console
    from emogram.errors import ModelError

    done: list[tuple[Clip, Prediction]] = []
    odd: Counter[str] = Counter()
    with contextlib.closing(answers):  # type: ignore[type-var]
        for clip, answer in answers:
            if isinstance(answer, EmogramError):
                failed.append((clip, answer))
                continue
            prediction, result = answer
            done.append((clip, prediction))
            # Figures between parentheses differ from file to file, and what is counted is the same.
            odd.update(result["warnings"] if len(clips) == 1 else [w.partition(" (")[0] for w in result["warnings"]])
            if json:
                print_json(result)
    if not json and done:
        _show_predictions(done, top_k=top_k, one=len(clips) == 1)
        notes([f"{count} of {len(done)} files: {warning}" for warning, count in odd.items()])
    if csv is not None:
        from emogram.writers import write_predictions_csv

        write_predictions_csv(csv, done, labels=labels)
    errors = [error for _, error in failed]
    if len(errors) == 1 and not done:
        raise errors[0]
    console.failures([(clip, str(error)) for clip, error in failed], total=len(done) + len(failed))
    if errors and not done:
        return ModelError.exit_code if all(isinstance(error, ModelError) for error in errors) else UNREADABLE
    return PARTLY_FAILED if errors else 0


def _clips_of(
    names: Iterator[str], classifier: Classifier | None
) -> tuple[list[Clip], list[tuple[Clip, EmogramError]]]:
    """Return the clips that names stand for, and the names that stand for none; without a classifier, of sounds."""
    from emogram.records import Clip

    takes_pictures = classifier is not None and classifier.info.spectrogram is None
    clips: list[Clip] = []
    failed: list[tuple[Clip, EmogramError]] = []
    for name in names:
        try:
            clips += [
                Clip(path)
                for path in files_named(name, lambda folder: _files_in(folder, takes_pictures=takes_pictures))
            ]
        except InputError as error:
            failed.append((Clip(Path(name)), error))
    return clips, failed


def _files_in(folder: Path, *, takes_pictures: bool) -> list[Path]:
    from emogram.corpora.scan import scan

    found = scan(folder)
    wanted = found.pictures if takes_pictures else found.sounds or found.pictures
    if not wanted:
        kind = "PNG or JPEG picture" if takes_pictures else "sound file"
        raise InputError(f"{folder}: no {kind} in it, which this model takes")
    return list(wanted)


def _predict_progress(n_clips: int, *, json: bool) -> Progress:
    """Return the progress of a prediction; none where it would only stand in the way."""
    from emogram.progress import SILENT

    return SILENT if n_clips < 2 or (json and sys.stdout.isatty()) else rich_progress()


def _result(clip: Clip, prediction: Prediction, classifier: Classifier) -> dict[str, Any]:
    """Return one line of `--json`."""
    from emogram import audio
    from emogram.spectrogram import PICTURE_SUFFIXES
    from emogram.writers import clip_dict, result_dict

    info = classifier.info
    if info.spectrogram is None or clip.path.suffix.lower() in PICTURE_SUFFIXES:
        return result_dict(prediction, path=clip.path, info=info, sha256=classifier.sha256)
    duration_s, sample_rate, channels = audio.probe(clip.path)
    return clip_dict(
        prediction,
        classifier,
        path=clip.path,
        duration_ms=None if duration_s is None else round(1000 * duration_s),
        sample_rate=sample_rate,
        channels=channels,
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
    return {} if picture is None else pictures_of("--picture", picture, [clip.path for clip in clips])


def _draw(clip: Clip, prediction: Prediction, info: ModelInfo, target: Path) -> None:
    from emogram import plots

    config = info.spectrogram or RunConfig().spectrogram
    plots.prediction(heard(clip, config), config, prediction, target, title=clip.path.name)
