"""Where the files of timelines go: `--format`, `--out` and `--plot`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emogram.cli.shared import pictures_of, unique_stems
from emogram.errors import SettingsError

if TYPE_CHECKING:
    from emogram.records import Timeline


@dataclass(frozen=True)
class TimelineFiles:
    """What is written of each recording.

    Attributes:
        files: Recording -> (format, file) pairs.
        plots: Recording -> picture.
    """

    files: dict[Path, list[tuple[str, Path]]]
    plots: dict[Path, Path]

    def save(self, recording: Path, timeline: Timeline, *, model: str) -> list[Path]:
        """Write the files of one recording, and return them.

        Raises:
            OutputError: One of them cannot be written.
            InputError: The recording, which is drawn, cannot be read any more.
        """
        written = []
        if recording in self.files:
            from emogram.writers import save_timeline

            for name, path in self.files[recording]:
                written.append(save_timeline(path, timeline, name, recording=recording, model=model))
        if recording in self.plots:
            from emogram import plots

            plots.timeline(timeline, recording, self.plots[recording], title=recording.name)
            written.append(self.plots[recording])
        return written


def timeline_files(
    recordings: Sequence[Path],
    *,
    formats: Sequence[str] | None,
    out: Path | None,
    plot: Path | None,
    overwrite: bool,
) -> TimelineFiles:
    """Settle what is written where, before any work is done.

    Raises:
        SettingsError: A format is unknown, `out` does not fit, or a file is there already and `overwrite` is not said:
            it may be somebody's own annotation.
        MissingExtraError: A format or the plot needs an extra that is not installed.
    """
    if plot is not None:
        from emogram.doctor import require_plots

        require_plots("drawing timelines")
    found = TimelineFiles(
        _files(recordings, list(dict.fromkeys(formats or ())), out) if formats or out is not None else {},
        {} if plot is None else pictures_of("--plot", plot, recordings),
    )
    wanted = [path for pairs in found.files.values() for _, path in pairs] + list(found.plots.values())
    there = [path for path in wanted if path.exists()]
    if there and not overwrite:
        raise SettingsError(f"{there[0]}: is there already; choose another --out, or say --overwrite to replace it")
    return found


def _files(recordings: Sequence[Path], formats: list[str], out: Path | None) -> dict[Path, list[tuple[str, Path]]]:
    from emogram.writers import FORMATS, check_format, format_of

    if out is not None and out.suffix and not out.is_dir():
        if len(recordings) > 1 or len(formats) > 1:
            raise SettingsError(f"--out {out}: one file, and several to write; name a folder for them")
        name = check_format(formats[0] if formats else format_of(out))
        return {recording: [(name, out)] for recording in recordings}
    if not formats:
        raise SettingsError(f"--out {out}: a folder; say with --format what to write into it")
    chosen = {name: FORMATS[check_format(name)].suffix for name in formats}
    folder = out or Path()
    return {
        recording: [(name, folder / f"{stem}{suffix}") for name, suffix in chosen.items()]
        for recording, stem in unique_stems(recordings).items()
    }
