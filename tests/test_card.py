"""The card says what is known of a model, and nothing that is not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from emogram.bundle import ModelInfo, TrainingCorpus
from emogram.card import forbidding, licence_text, model_card, read_evidence
from emogram.config import SpectrogramConfig
from emogram.errors import EmogramError, InputError
from emogram.records import Report

LABELS = ("angry", "happy", "sad")


def info_of(**changes) -> ModelInfo:
    values = {
        "labels": LABELS,
        "spectrogram": SpectrogramConfig(n_mels=40),
        "network": {"name": "compact", "width": 32},
        "input_shape": (None, 40, 1),
        "trained_on": (
            {"corpus": "RAVDESS", "n_clips": 1440, "n_speakers": 24, "content_hash": "ab12", "licence": "CC BY-NC-SA"},
        ),
        "split": {"by": "speaker", "fold": 0},
        "protocol": "P1 RAVDESS-SI5",
        "metrics": {"uar": 0.625, "n_clips": 288},
        "temperature": 1.25,
        "abstain_threshold": 0.3,
        "seed": 7,
        "created": "2025-01-31",
    }
    return ModelInfo.from_dict({**values, **changes})


REPORT = Report(
    labels=LABELS,
    metrics={"uar": 0.6251, "accuracy": 0.5, "n_clips": 288},
    per_class={label: {"precision": 0.5, "recall": 0.25, "f1": 0.3, "support": 96} for label in LABELS},
    per_group={},
    confusion=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    intervals={"uar": (0.55, 0.7)},
    protocol="P1",
)


def test_card_shows_data_licences_metrics_intervals_and_recalls():
    card = model_card(info_of(), report=REPORT, notes="Made for a test.")
    assert "| RAVDESS | unknown | 1440 | 24 | CC BY-NC-SA | ab12 |" in card
    assert "Protocol: P1 RAVDESS-SI5." in card
    assert "| uar | 0.625 | 0.550 to 0.700 |" in card
    assert "| accuracy | 0.500 |  |" in card
    assert "| n_clips | 288 |  |" in card
    assert "| happy | 0.250 | 96 |" in card
    assert "Made for a test." in card
    assert "confidence below 0.3" in card
    assert "acted emotion is not felt emotion" in card
    assert "Article 5(1)(f)" in card
    assert "temperature 1.250" in card


def test_card_falls_back_to_the_metrics_of_the_model():
    assert "| uar | 0.625 |  |" in model_card(info_of())
    assert "Not measured." in model_card(info_of(metrics={}))
    assert "Not recorded." in model_card(info_of(trained_on=()))


def test_front_matter_is_what_hugging_face_reads():
    head, _, body = model_card(info_of()).removeprefix("---\n").partition("\n---\n")
    assert head.splitlines()[:4] == [
        "license: other",
        "pipeline_tag: audio-classification",
        "library_name: emogram",
        "tags:",
    ]
    assert body.startswith("\n# emogram-compact-ravdess\n")


def test_hostile_corpus_name_cannot_break_out_of_the_card():
    corpus = TrainingCorpus(corpus='x"\n---\nlicense: mit | y', n_clips=1, content_hash="h")
    card = model_card(info_of(trained_on=(corpus,)))
    assert "\nlicense: mit" not in card
    assert '  - "x\\"\\n---\\nlicense: mit | y"' in card
    assert '| x" --- license: mit \\| y | unknown | 1 | unknown | unknown | h |' in card


def test_the_card_tells_the_stated_error_rate_and_how_many_were_unsure():
    info = info_of(abstain_threshold=0.4, target_error=0.25, answered_error=0.24, unsure_share=0.125)
    assert "at most 25.0% wrong answers; on validation clips 24.0% of the other answers were wrong, and 12.5%" in (
        model_card(info)
    )


# ---------------------------------------------------------------- corpora that are known, and results of other runs

KNOWN = (
    TrainingCorpus(corpus="ravdess", n_clips=1200, n_speakers=20, content_hash="a", licence="CC BY-NC-SA 4.0"),
    TrainingCorpus(corpus="nemo", n_clips=4000, n_speakers=7, content_hash="b", licence="CC BY-NC-SA 4.0"),
)
FORBIDDING = TrainingCorpus(corpus="tess", n_clips=700, n_speakers=2, content_hash="c", licence="CC BY-NC-ND 4.0")


def front_matter(card: str) -> list[str]:
    return card.removeprefix("---\n").partition("\n---\n")[0].splitlines()


def test_known_corpora_bring_language_kind_of_speech_and_citation():
    card = model_card(info_of(trained_on=KNOWN))
    head = front_matter(card)
    assert head[0] == "license: cc-by-nc-sa-4.0"
    assert head[head.index("language:") + 1 :][:2] == ["  - en", "  - pl"]
    assert "| nemo | acted, Polish | 4000 | 7 |" in card
    assert "doi:10.1371/journal.pone.0196391" in card and "arXiv:2404.06292" in card
    assert front_matter(model_card(info_of(trained_on=(*KNOWN, FORBIDDING))))[0] == "license: other"
    assert front_matter(model_card(info_of(trained_on=())))[0] == "license: other"


def test_the_licence_names_its_text_and_whoever_must_be_named():
    text = licence_text(info_of(trained_on=KNOWN))
    assert text.startswith("SPDX-License-Identifier: CC-BY-NC-SA-4.0\n")
    for words in ("https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode", "S. R. Livingstone", "I. Christop"):
        assert words in text
    assert forbidding(info_of(trained_on=KNOWN)) == []
    assert forbidding(info_of(trained_on=(*KNOWN, FORBIDDING))) == ["tess (CC BY-NC-ND 4.0)"]


def test_groups_are_shown_but_not_each_speaker():
    groups = {
        "speaker": {f"{n:02d}": {"uar": 0.5, "accuracy": 0.5, "n_clips": 60} for n in range(24)},
        "gender": {
            "female": {"uar": 0.71, "accuracy": 0.72, "n_clips": 720},
            "male": {"uar": 0.64, "accuracy": 0.65, "n_clips": 720},
        },
    }
    card = model_card(info_of(), report=dataclasses.replace(REPORT, per_group=groups))
    assert "## By gender" in card and "| male | 0.640 | 0.650 | 720 |" in card
    assert "speaker |" not in card


EVIDENCE = """
notes = "Distilled."
commands = ["emogram train A B", "emogram ship C"]

[[protocols]]
title = "Voices never heard"
metrics = "crossval/metrics.json"
command = "emogram crossval A"

[[tables]]
title = "Noise and telephones"
csv = "robustness.csv"
command = "emogram robustness A"
"""

CROSSVAL = {
    "protocol": "RAVDESS-SI5; pooled over 5 folds",
    "metrics": {"uar": 0.70123, "accuracy": 0.7, "ece": 0.05},
    "intervals": {"uar": [0.6, 0.8]},
    "over_seeds": {
        "n_seeds": 3,
        "mean": {"uar": 0.7219, "accuracy": 0.71, "ece": 0.0334, "uar_gender_gap": 0.04},
        "std": {"uar": 0.0081},
        "intervals": {"uar": [0.66, 0.74]},
    },
}


def write_evidence(folder: Path) -> Path:
    (folder / "crossval").mkdir()
    (folder / "crossval" / "metrics.json").write_text(json.dumps(CROSSVAL))
    (folder / "robustness.csv").write_text("condition,uar,n_clips\nclean,0.70123,1440\ntelephone,0.6612345,1440\n")
    (folder / "evidence.toml").write_text(EVIDENCE)
    return folder / "evidence.toml"


def test_every_number_comes_from_the_files_that_are_named(tmp_path):
    card = model_card(info_of(), evidence=read_evidence(write_evidence(tmp_path)))
    row = "| Voices never heard | none | 72.2 ± 0.8 (3 seeds) | 66.0 to 74.0 | 4.0 | 0.033 | `emogram crossval A` |"
    assert row in card
    assert "- Voices never heard: RAVDESS-SI5; pooled over 5 folds" in card
    assert "## Noise and telephones" in card and "| telephone | 0.661 | 1440 |" in card
    assert "Distilled." in card and "```sh\nemogram train A B\nemogram ship C\n```" in card
    head = front_matter(card)
    assert '          name: "Voices never heard"' in head
    assert "            value: 0.7219" in head and "            value: 0.7100" in head


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("crossval/metrics.json", "{}", r"metrics\.json: holds no metrics; expected what `emogram crossval`"),
        ("crossval/metrics.json", "{", r"metrics\.json: cannot be read as JSON"),
        ("robustness.csv", "a,b\n1\n", r"robustness\.csv: not a table"),
        ("robustness.csv", "", r"robustness\.csv: not a table"),
        ("evidence.toml", "author = 'me'", "unknown setting 'author'"),
    ],
)
def test_results_that_are_none_are_refused(tmp_path, name, content, message):
    path = write_evidence(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(EmogramError, match=message):
        read_evidence(path)


def test_results_that_are_missing_are_named(tmp_path):
    path = write_evidence(tmp_path)
    (tmp_path / "robustness.csv").unlink()
    with pytest.raises(InputError, match=r"robustness\.csv: cannot be read as CSV"):
        read_evidence(path)
