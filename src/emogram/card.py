"""What a model says about itself to people: the card, in Markdown, as Hugging Face reads it; and its licence.

No number in a card is typed by hand: all come from `ModelInfo`, from a `Report`, or from result files that `Evidence`
names.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from emogram.bundle import ModelInfo
from emogram.config import Settings, read_toml
from emogram.corpora import CORPORA
from emogram.errors import InputError
from emogram.records import Report

CC_BY_NC_SA = "CC BY-NC-SA 4.0"
CC_BY_NC_SA_TEXT = "https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode"


class ProtocolSource(Settings):
    """A figure to show, by the file that `emogram crossval` or `emogram evaluate` wrote."""

    title: str = Field(description="The protocol, in words.")
    metrics: Path = Field(description="Its metrics.json.")
    command: str = Field(description="The command that made it.")
    outside_data: str = Field("none", description="What else was used for training.")


class TableSource(Settings):
    """A table to show as it stands, such as robustness.csv."""

    title: str = Field(description="What it tells.")
    csv: Path = Field(description="The file: a header, then rows.")
    command: str = Field(description="The command that made it.")


class EvidenceSources(Settings):
    """The TOML file that says what a card shows beside the model's own report; paths are relative to it."""

    notes: str = Field("", description="A paragraph about this model, in Markdown.")
    commands: tuple[str, ...] = Field((), description="The commands that made the model, in order.")
    protocols: tuple[ProtocolSource, ...] = Field((), description="Figures under protocols.")
    tables: tuple[TableSource, ...] = Field((), description="Tables.")


@dataclass(frozen=True)
class Evidence:
    """Results of other runs, read.

    Attributes:
        notes: A paragraph about the model, in Markdown.
        commands: The commands that made it, in order.
        protocols: What to say of each figure, and the content of its `metrics.json`.
        tables: What to say of each table, and its lines, the header first.
    """

    notes: str = ""
    commands: tuple[str, ...] = ()
    protocols: tuple[tuple[ProtocolSource, Mapping[str, Any]], ...] = ()
    tables: tuple[tuple[TableSource, Sequence[Sequence[str]]], ...] = ()


def read_evidence(path: Path) -> Evidence:
    """Read a TOML file of `EvidenceSources` and the results that it names.

    Raises:
        SettingsError: The file cannot be read, or says what is not expected.
        InputError: A file that it names is missing or no result of the kind.
    """
    sources = EvidenceSources.from_dict(read_toml(path))
    return Evidence(
        sources.notes,
        sources.commands,
        tuple((source, _read_metrics(path.parent / source.metrics)) for source in sources.protocols),
        tuple((source, _read_table(path.parent / source.csv)) for source in sources.tables),
    )


def _read_metrics(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); expected the metrics.json of a run") from None
    if not isinstance(content, dict) or not isinstance(content.get("metrics"), dict):
        raise InputError(f"{path}: holds no metrics; expected what `emogram crossval` or `emogram evaluate` wrote")
    return content


def _read_table(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error})") from None
    if len({len(line) for line in lines}) != 1:
        raise InputError(f"{path}: not a table; expected a header and rows of as many cells")
    return lines


def model_card(
    info: ModelInfo, *, report: Report | None = None, notes: str = "", evidence: Evidence | None = None
) -> str:
    """Write the bundle's `README.md`: a model card as Hugging Face reads it.

    Args:
        info: The model.
        report: Results under `info.protocol`, for the table of metrics with intervals, the recall of each label and
            the figures of each gender and intensity; without it the table shows the single numbers of `info.metrics`.
        notes: A paragraph to add about this model, in Markdown.
        evidence: Results of other runs: figures under protocols, robustness, other corpora, and the commands.
    """
    evidence = evidence or Evidence()
    sections = [
        _front_matter(info, evidence),
        f"# {info.model_id}\n\n{_what_it_is(info)}",
        *(text.strip() for text in (notes, evidence.notes) if text.strip()),
        *(["## Labels\n\n" + ", ".join(info.labels)] if info.labels else []),
        *(["## Dimensions\n\n" + _dimensions(info)] if info.dimensions else []),
        "## Training data\n\n" + _training_data(info),
        "## How good it is\n\n" + _results(info, report),
        *_groups(report),
        *_protocols(evidence),
        *(
            f"## {source.title}\n\n{_table(lines[0], [[_rounded(cell) for cell in line] for line in lines[1:]])}\n\n"
            f"`{source.command}`"
            for source, lines in evidence.tables
        ),
        '## How to use it\n\n```python\nimport emogram\n\nmodel = emogram.load("path/to/this/folder")\n'
        f'print(model.predict("{"clip.wav" if info.spectrogram else "spectrogram.png"}").'
        f"{'label' if info.labels else 'dimensions'})\n```",
        *(["## How it was made\n\n```sh\n" + "\n".join(evidence.commands) + "\n```"] if evidence.commands else []),
        "## Limits, and uses to avoid\n\n" + _limits(info),
    ]
    return "\n\n".join(sections) + "\n"


def forbidding(info: ModelInfo) -> list[str]:
    """Return the corpora whose licence does not let a model be shared under `CC_BY_NC_SA`, each with its licence."""
    return [f"{corpus.corpus} ({corpus.licence})" for corpus in info.trained_on if corpus.licence != CC_BY_NC_SA]


def licence_text(info: ModelInfo) -> str:
    """Write the licence file of a model trained on corpora under `CC_BY_NC_SA`: name, legal text, attribution."""
    named = [f"- {_citation(corpus.corpus)}. Licence: {corpus.licence}." for corpus in info.trained_on]
    return "\n".join(
        [
            "SPDX-License-Identifier: CC-BY-NC-SA-4.0",
            "",
            f"The model in this folder ({info.model_id}: the network, its description and its card) is licensed under",
            "Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International (CC BY-NC-SA 4.0).",
            f"Legal text: {CC_BY_NC_SA_TEXT}",
            "",
            "It was made by training a network on these recordings, which are not contained in it:",
            "",
            *named,
            "",
            "Attribution: name the corpora above and emogram. It comes as is, without warranty of any kind.",
            "The code of emogram is under another licence, MIT; see the file LICENSE of its repository.",
            "",
        ]
    )


def _front_matter(info: ModelInfo, evidence: Evidence) -> str:
    tags = ["speech-emotion-recognition", "spectrogram", "onnx", "keras"]
    licence = "other" if forbidding(info) or not info.trained_on else "cc-by-nc-sa-4.0"
    languages = {CORPORA[corpus.corpus].language for corpus in info.trained_on if corpus.corpus in CORPORA}
    lines = [f"license: {licence}", "pipeline_tag: audio-classification", "library_name: emogram", "tags:"]
    lines += [f"  - {tag}" for tag in tags]
    if languages:
        lines += ["language:", *(f"  - {language}" for language in sorted(languages))]
    # A JSON string is a YAML string, whatever stands in it.
    corpora = [f"  - {json.dumps(corpus.corpus)}" for corpus in info.trained_on if corpus.corpus]
    if corpora:
        lines += ["datasets:", *corpora]
    kinds = {"uar": "recall", "accuracy": "accuracy"} if info.labels else {}
    kinds |= {"ccc": "concordance"} if info.dimensions else {}
    lines += ["metrics:", *(f"  - {kind}" for kind in kinds.values())]
    figures: list[tuple[str, Mapping[str, Any]]] = [
        (source.title, {name: _mean(content, name) for name in kinds}) for source, content in evidence.protocols
    ]
    figures = figures or ([(info.protocol, info.metrics)] if info.metrics else [])
    if figures:
        lines += ["model-index:", f"  - name: {info.model_id}", "    results:"]
    for title, metrics in figures:
        lines += ["      - task:", "          type: audio-classification", "        dataset:"]
        lines += [f"          name: {json.dumps(title)}", "          type: speech-emotion-recognition"]
        lines += ["        metrics:"]
        for name, kind in kinds.items():
            if isinstance(metrics.get(name), int | float):
                lines += [f"          - type: {kind}", f"            name: {name}"]
                lines += [f"            value: {metrics[name]:.4f}"]
    return "\n".join(["---", *lines, "---"])


def _what_it_is(info: ModelInfo) -> str:
    if info.spectrogram is None:
        takes = f"spectrogram pictures of {info.input_shape[0]}x{info.input_shape[1]} pixels, made elsewhere"
    else:
        shown = "log-mel spectrogram" if info.spectrogram.kind == "log_mel" else "spectrogram picture"
        with_features = " and acoustic features of the whole utterance" if info.spectrogram.utterance_features else ""
        takes = f"one utterance of speech as a {shown} at {info.spectrogram.sample_rate} Hz{with_features}"
    made = f", made on {info.created}" if info.created else ""
    start = f" Fine-tuned from `{info.init.model_id}` (sha256 {info.init.sha256})." if info.init else ""
    form = info.network.get("convolutions")  # `ship` writes it
    computes = f" Its convolutions compute in {form}." if form else ""
    return (
        f"A convolutional network (`{info.network['name']}`) that takes {takes} and gives {_gives(info)}. "
        f"Trained with emogram {info.package_version}{made}, seed {info.seed}."
        f"{start}{computes}"
    )


def _gives(info: ModelInfo) -> str:
    classes = [f"a probability for each of {len(info.labels)} emotions"] if info.labels else []
    names = ", ".join(dimension.name for dimension in info.dimensions)
    return " and ".join([*classes, *([f"a number for each of {names}"] if names else [])])


def _dimensions(info: ModelInfo) -> str:
    rows = [[each.name, f"{each.low:g}", f"{each.high:g}"] for each in info.dimensions]
    return (
        _table(["dimension", "least", "greatest"], rows) + "\n\nThe network itself tells each from 0 to 1 "
        "(the output `dimensions` of `model.onnx`); emogram brings it to this scale."
    )


def _training_data(info: ModelInfo) -> str:
    if not info.trained_on:
        return "Not recorded."
    rows = [
        [
            f"{c.corpus} (of a model it learnt from)" if c.pretraining else c.corpus,
            CORPORA[c.corpus].speech if c.corpus in CORPORA else "unknown",
            str(c.n_clips),
            "unknown" if c.n_speakers is None else str(c.n_speakers),
            c.licence,
            c.content_hash,
        ]
        for c in info.trained_on
    ]
    table = _table(["corpus", "speech", "clips", "speakers", "licence", "content hash"], rows)
    cited = [f"- {_citation(c.corpus)}" for c in info.trained_on if c.corpus in CORPORA]
    bind = "The licences of the corpora bind whoever shares or sells what was made from them."
    return "\n\n".join([table, *(["\n".join(cited)] if cited else []), bind])


def _citation(corpus: str) -> str:
    return CORPORA[corpus].citation if corpus in CORPORA else corpus


def _results(info: ModelInfo, report: Report | None) -> str:
    metrics = report.metrics if report else info.metrics
    numbers = {k: v for k, v in metrics.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    if not numbers:
        return "Not measured."
    intervals = report.intervals if report else {}
    rows = [
        [name, _number(value), "{} to {}".format(*map(_number, intervals[name])) if name in intervals else ""]
        for name, value in numbers.items()
    ]
    parts = [
        f"Protocol: {info.protocol or (report.protocol if report else '') or 'not recorded'}.".replace("..", "."),
        _table(["metric", "value", "95 % interval"], rows),
    ]
    if report is not None and report.labels:
        recalls = [[label, _number(v["recall"]), _number(v["support"])] for label, v in report.per_class.items()]
        parts.append(_table(["label", "recall", "clips"], recalls))
    if not info.labels:
        return "\n\n".join(parts)
    parts.append(
        f"Probabilities are calibrated on validation clips (temperature {_number(info.temperature)})."
        if info.calibrated
        else "Probabilities are not calibrated."
    )
    return "\n\n".join(parts)


def _groups(report: Report | None) -> list[str]:
    """Return the sections of the kinds of groups that matter to whoever is judged; speakers are too many for a card."""
    sections = []
    for kind, groups in (report.per_group if report else {}).items():
        if kind == "speaker" or len(groups) < 2:
            continue
        columns = {"uar": "UAR", "accuracy": "accuracy", "ccc": "CCC", "n_clips": "clips"}
        keys = [key for key in columns if all(key in values for values in groups.values())]
        rows = [[name, *(_number(values[key]) for key in keys)] for name, values in groups.items()]
        sections.append(f"## By {kind}\n\n" + _table([kind, *(columns[key] for key in keys)], rows))
    return sections


def _protocols(evidence: Evidence) -> list[str]:
    if not evidence.protocols:
        return []
    rows = []
    for source, content in evidence.protocols:
        metrics, seeds = content["metrics"], content.get("over_seeds", {})
        uar = _percent(metrics.get("uar"))
        if seeds:
            uar = f"{_percent(seeds['mean']['uar'])} ± {_percent(seeds['std']['uar'])} ({seeds['n_seeds']} seeds)"
        interval = (seeds or content).get("intervals", {}).get("uar", ())
        rows.append(
            [
                source.title,
                source.outside_data,
                uar,
                " to ".join(_percent(value) for value in interval),
                _percent(_mean(content, "uar_gender_gap")),
                "" if _mean(content, "ece") is None else f"{_mean(content, 'ece'):.3f}",
                f"`{source.command}`",
            ]
        )
    header = ["protocol", "other training data", "UAR %", "95 % interval", "gap of genders", "ECE", "command"]
    said = [f"- {source.title}: {content.get('protocol', '')}" for source, content in evidence.protocols]
    return [
        "## How good the recipe is\n\nFigures of models made by the same recipe, each on voices as its protocol says; "
        "where there are several seeds, their mean.\n\n" + _table(header, rows) + "\n\n" + "\n".join(said)
    ]


def _mean(content: Mapping[str, Any], metric: str) -> float | None:
    """Return a metric, of several seeds the mean; None where it does not exist."""
    value = content.get("over_seeds", {}).get("mean", content["metrics"]).get(metric)
    return float(value) if isinstance(value, int | float) else None


def _limits(info: ModelInfo) -> str:
    sure = f" {_unsure(info)}" if info.abstain_threshold > 0.0 else ""
    return (
        "- It hears how something is said, not what a person feels. Most corpora hold acted speech, and acted emotion "
        "is not felt emotion: expect far worse results on everyday recordings.\n"
        "- It knows the languages, voices, ages and microphones of its training data only; on others it may be wrong "
        "and sure of it." + sure + "\n"
        f"- It always {'answers with one of its labels' if info.labels else 'tells a number'}, even for music or "
        "noise. `emogram predict` warns of "
        "clips in which nobody speaks or which do not sound like the training data; it does not notice all of them, "
        "such as two voices at once.\n"
        "- Do not use it to decide about people: hiring, schooling, credit, policing, insurance, health or workplace "
        "monitoring.\n"
        "- In the European Union, Article 5(1)(f) of the AI Act, Regulation (EU) 2024/1689, forbids AI systems that "
        "infer emotions of people at work and in education, except for medical or safety reasons.\n"
        "- Ask people before you analyse their voices."
    )


def _unsure(info: ModelInfo) -> str:
    says = f"Answers with a confidence below {info.abstain_threshold:.3g} are marked as unsure."
    if info.target_error is None or info.answered_error is None or info.unsure_share is None:
        return says
    return (
        f"{says} The threshold was set for at most {info.target_error:.1%} wrong answers; on validation clips "
        f"{info.answered_error:.1%} of the other answers were wrong, and {info.unsure_share:.1%} were unsure."
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) > 1 else f"{value:.3f}"


def _percent(value: Any) -> str:
    return f"{100 * value:.1f}" if isinstance(value, int | float) else ""


def _rounded(cell: str) -> str:
    """Return a number of a table with three digits behind the point, and anything else as it is."""
    try:
        return _number(float(cell)) if "." in cell else cell
    except ValueError:
        return cell
