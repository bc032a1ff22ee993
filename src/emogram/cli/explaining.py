"""The command that tells why: explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from emogram.bundle import SHIPPED
from emogram.cli.options import Json, ModelName
from emogram.cli.shared import notes, print_json, rich_progress
from emogram.errors import SettingsError
from emogram.installing import install_line

if TYPE_CHECKING:
    from emogram.records import Explanation, ExplanationCheck


def explain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A sound file.", show_default=False)],
    model: ModelName = Path(SHIPPED),
    start: Annotated[float, typer.Option(min=0.0, metavar="S", help="Start of the stretch to explain.")] = 0.0,
    end: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Its end, up to a minute later; by default 10 s later or the end.", show_default=False
        ),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Emotions to explain, the most probable first.")] = 3,
    method: Annotated[
        Literal["auto", "grad-cam", "occlusion"],
        typer.Option(
            help="Look into the Keras network, or hide patches and ask the model; auto takes the network where the "
            "model holds it and Keras is installed."
        ),
    ] = "auto",
    patch_s: Annotated[float, typer.Option(metavar="S", help="Occlusion: length of a hidden patch.")] = 0.2,
    patch_hz: Annotated[
        float, typer.Option(metavar="HZ", help="Occlusion: its height at 1 kHz, as high in mel elsewhere.")
    ] = 400.0,
    out: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw the maps over the spectrogram.", show_default=False)
    ] = None,
    arrays: Annotated[
        Path | None, typer.Option(metavar="NPZ", help="Write the maps as arrays for NumPy.", show_default=False)
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Test the map of the first emotion: models of shuffled weights must give others, and hiding what it "
            "marks must matter more than hiding random parts.",
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Tell which times and frequencies spoke for the most probable emotions."""
    from emogram import console
    from emogram.classifier import Classifier
    from emogram.explanations import check as check_map
    from emogram.explanations import explain as explain_sound

    _check_names(out, arrays)
    if out is not None:
        from emogram.doctor import require_plots

        require_plots("drawing maps")
    classifier = Classifier.load(model)
    explanation = explain_sound(
        classifier,
        file,
        start_s=start,
        end_s=end,
        top_k=top_k,
        method=method,
        patch_s=patch_s,
        patch_hz=patch_hz,
        progress=rich_progress(),
    )
    _note_rest(file, explanation, asked=end is not None)
    checked = check_map(classifier, explanation, progress=rich_progress()) if check else None
    written = _write(explanation, out, arrays, title=file.name)
    if json:
        print_json(_facts(file, explanation, checked, written))
    else:
        console.show(console.explanation_view(str(file), explanation))
        if checked is not None:
            console.show(console.explanation_check_view(checked))
    if checked is not None and not checked.correlations:
        notes([f"weights can only be shuffled with the package onnx: {install_line('train')}"])
    console.file_lines(written, words="written")
    return 0


def _check_names(out: Path | None, arrays: Path | None) -> None:
    for option, path, suffix in (("--out", out, ".png"), ("--arrays", arrays, ".npz")):
        if path is not None and path.suffix.lower() != suffix:
            raise SettingsError(f"{option} {path}: expected a name that ends in {suffix}")


def _note_rest(file: Path, explanation: Explanation, *, asked: bool) -> None:
    """Say so where only the beginning of a recording is explained, and nobody asked for a part of it."""
    from emogram import audio

    duration_s, _, _ = audio.probe(file)
    end_s = explanation.start_s + len(explanation.waveform) / explanation.sample_rate
    if not asked and (duration_s is None or end_s < duration_s - 0.01):
        of = "" if duration_s is None else f" of {duration_s:.1f} s"
        notes([f"explained {explanation.start_s:g} s to {end_s:.4g} s{of}; choose with --start and --end"])


def _write(explanation: Explanation, out: Path | None, arrays: Path | None, *, title: str) -> list[Path]:
    if out is not None:
        from emogram import plots

        plots.explanation(explanation, out, title=title)
    if arrays is not None:
        from emogram.writers import write_explanation

        write_explanation(arrays, explanation)
    return [path for path in (out, arrays) if path is not None]


def _facts(
    file: Path, explanation: Explanation, checked: ExplanationCheck | None, written: list[Path]
) -> dict[str, Any]:
    from emogram.explanations import regions

    said = explanation.prediction
    return {
        "file": str(file),
        "start_s": explanation.start_s,
        "end_s": explanation.start_s + len(explanation.waveform) / explanation.sample_rate,
        "method": explanation.method,
        "label": said.label,
        "confidence": said.confidence,
        "abstained": said.abstained,
        "labels": [
            {
                "label": label,
                "score": said.scores[label],
                "regions": [region.to_dict() for region in regions(explanation, place)],
            }
            for place, label in enumerate(explanation.labels)
        ],
        "check": None if checked is None else checked.to_dict(),
        "files": [str(path) for path in written],
    }
