"""The commands that follow sound over time: analyze and listen."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import typer

from emogram.bundle import SHIPPED
from emogram.cli.entry import PARTLY_FAILED, UNREADABLE, interrupted_code, stopping
from emogram.cli.options import Formats, FormatsOut, Json, ModelName, OverwriteFiles, TimelinePlot
from emogram.cli.saving import TimelineFiles, timeline_files
from emogram.cli.shared import files_named, names_given, notes, print_json, rich_progress
from emogram.errors import EmogramError, InputError, SettingsError

if TYPE_CHECKING:
    from emogram.classifier import Classifier
    from emogram.listening import Heard, Source
    from emogram.live import Engine, Event
    from emogram.records import Clip, Timeline

ChannelsOption = Annotated[
    Literal["mix", "split"],
    typer.Option(help="Average the channels, or analyse each by itself, as a call with one party a channel."),
]
Raw = Annotated[bool, typer.Option("--raw", help="Do not smooth: each window answers for the time around its middle.")]


def analyze(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Recordings of any length (WAV, FLAC, MP3, OGG, Opus; with the extra media M4A, MP4, WebM, AMR), "
            "folders of them, or patterns in quotes; - reads names from stdin.",
            show_default=False,
        ),
    ],
    model: ModelName = Path(SHIPPED),
    channels: ChannelsOption = "mix",
    turns: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Who speaks when, as RTTM or TextGrid: nothing else is analysed, and nothing crosses from one turn "
            "into another. For several recordings a folder with a file of the same name for each.",
            show_default=False,
        ),
    ] = None,
    raw: Raw = False,
    find_speech: Annotated[
        bool,
        typer.Option(
            help="Look where somebody speaks; with --no-find-speech all that is not silent counts, which takes less "
            "time, for recordings that are known to hold nothing else."
        ),
    ] = True,
    format: Formats = None,
    out: FormatsOut = None,
    plot: TimelinePlot = None,
    overwrite: OverwriteFiles = False,
    json: Json = False,
) -> int:
    """Find where in long recordings which emotion is."""
    from emogram import console
    from emogram.classifier import Classifier
    from emogram.config import TimelineConfig
    from emogram.progress import SILENT
    from emogram.records import Clip
    from emogram.timeline import analyze as analyze_recording

    paths, failed = _recordings(files)
    targets = timeline_files(paths, formats=format, out=out, plot=plot, overwrite=overwrite)
    classifier = Classifier.load(model)
    errors = [error for _, error in failed]
    n_given = len(paths) + len(failed)
    progress = SILENT if json and sys.stdout.isatty() else rich_progress()
    n_done = 0
    with stopping() as should_stop, contextlib.ExitStack() as stack:
        several = stack.enter_context(progress.task("analysing", len(paths), unit="files")) if len(paths) > 1 else None
        for path in paths:
            try:
                timeline = analyze_recording(
                    path,
                    model=classifier,
                    channels=channels,
                    turns=_turns_of(turns, path),
                    raw=raw,
                    config=TimelineConfig(find_speech=find_speech),
                    progress=progress,
                    should_stop=should_stop,
                )
            except EmogramError as error:
                failed.append((Clip(path), error))
                errors.append(error)
            else:
                n_done += 1
                _put_out(path, timeline, classifier, targets, json=json)
            if several is not None:
                several.advance()
            if should_stop():
                break
        stopped = should_stop()
    if len(errors) == 1 and n_given == 1:
        raise errors[0]
    console.failures([(clip, str(error)) for clip, error in failed], total=n_given)
    if stopped:
        return interrupted_code()
    return (PARTLY_FAILED if n_done else UNREADABLE) if errors else 0


def _put_out(path: Path, timeline: Timeline, classifier: Classifier, targets: TimelineFiles, *, json: bool) -> None:
    """Give the result of one recording to whoever asked, and say what is wrong with it."""
    from emogram import console
    from emogram.writers import timeline_dict

    if json:
        print_json(timeline_dict(timeline, path=path, info=classifier.info, sha256=classifier.sha256))
    else:
        console.show(console.timeline_view(str(path), timeline))
    notes([f"{path}: {warning}" for warning in timeline.warnings])
    written = targets.save(path, timeline, model=f"{classifier.info.model_id} {classifier.sha256[:12]}")
    console.file_lines(written, words="written")


def _recordings(names: list[str]) -> tuple[list[Path], list[tuple[Clip, EmogramError]]]:
    """Return the recordings that names stand for, and the names that stand for none."""
    from emogram.recordings import recordings_in
    from emogram.records import Clip

    paths: list[Path] = []
    failed: list[tuple[Clip, EmogramError]] = []
    for name in names_given(names):
        try:
            paths += files_named(name, recordings_in)
        except InputError as error:
            failed.append((Clip(Path(name)), error))
    return paths, failed


def _turns_of(turns: Path | None, recording: Path) -> Path | None:
    """Return the file that tells who speaks in a recording."""
    if turns is None or not turns.is_dir():
        return turns
    for suffix in (".rttm", ".TextGrid", ".textgrid"):
        if (found := turns / f"{recording.stem}{suffix}").is_file():
            return found
    raise InputError(f"{turns}: holds neither {recording.stem}.rttm nor {recording.stem}.TextGrid")


def listen(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[-]", help="- reads raw samples from stdin: s16le, one channel.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="Listen to a file, at the pace at which it is heard.", show_default=False
        ),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(metavar="HZ", help="Rate of the samples on stdin; by default 16000.", show_default=False),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Number or a part of the name of the microphone.", show_default=False),
    ] = None,
    model: ModelName = Path(SHIPPED),
    channels: ChannelsOption = "mix",
    raw: Raw = False,
    json: Json = False,
) -> int:
    """Tell emotions while they are heard: from the microphone, a file or a pipe."""
    from emogram.classifier import Classifier
    from emogram.config import TimelineConfig
    from emogram.listening import listen as listen_to

    if source not in (None, "-"):
        raise SettingsError(f"'{source}': only - (raw samples on stdin) may stand here; for a file say --from {source}")
    if (source is not None) + (file is not None) + (device is not None) > 1:
        raise SettingsError("give one of -, --from and --device")
    if rate is not None and source is None:
        raise SettingsError("--rate says what the samples on stdin are; say - as well")
    classifier = Classifier.load(model)
    with _opened(source, file, rate, device) as opened, stopping() as should_stop, _view(json=json) as view:
        heard = listen_to(
            opened,
            classifier,
            view.tell,
            split=channels == "split",
            config=TimelineConfig(smooth=not raw),
            should_stop=should_stop,
            watch=view.watch,
        )
        stopped = should_stop()
    _end_listening(opened, heard, classifier, json=json)
    return interrupted_code() if stopped else 0


def _opened(
    source: str | None, file: Path | None, rate: int | None, device: str | None
) -> AbstractContextManager[Source]:
    from emogram import listening

    if file is not None:
        return listening.from_file(file)
    if source is not None:
        return listening.from_pipe(sample_rate=rate or listening.MICROPHONE_RATE)
    return listening.from_microphone(int(device) if device is not None and device.isdecimal() else device)


class _View(Protocol):
    """Shows what is heard."""

    def tell(self, event: Event) -> None:
        """Show an event."""

    def watch(self, engine: Engine) -> None:
        """Show how it goes."""


class _Lines:
    """A line for each segment."""

    def tell(self, event: Event) -> None:
        """Show an event."""
        from emogram import console
        from emogram.records import Segment

        if isinstance(event, Segment):
            console.show(console.segment_line(event))

    def watch(self, engine: Engine) -> None:
        """There is no room for how it goes."""


class _JsonLines(_Lines):
    """A JSON object for each window and segment."""

    def tell(self, event: Event) -> None:
        """Show an event."""
        from emogram.writers import event_dict

        print_json(event_dict(event))


@contextlib.contextmanager
def _view(*, json: bool) -> Iterator[_View]:
    if json:
        yield _JsonLines()
    elif sys.stdout.isatty():
        from emogram.live_view import LiveView

        with LiveView() as view:
            yield view
    else:
        yield _Lines()


def _end_listening(source: Source, heard: Heard, classifier: Classifier, *, json: bool) -> None:
    from emogram import console
    from emogram.writers import timeline_dict

    timeline = heard.timeline
    if json:
        result = timeline_dict(timeline, path=source.name, info=classifier.info, sha256=classifier.sha256)
        delays = {f"p{percentile}": heard.delay_ms(percentile) for percentile in (50, 99)}
        print_json({"type": "result", **result, "delay_ms": delays})
    else:
        console.show(console.summary_view(timeline.summary))
        if len(heard.delays_s):
            console.say(
                f"{len(heard.delays_s)} windows, told {heard.delay_ms(50):.0f} ms after their end (p50), "
                f"{heard.delay_ms(99):.0f} ms (p99)"
            )
    notes(timeline.warnings)
