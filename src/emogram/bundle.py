"""The model folder that is shared, served and exported: sealed with hashes, verified before anything in it is used.

`best.keras` (the network), `model.onnx` (for prediction), `model.json` (`ModelInfo`), `README.md` (the card),
`training_clips.txt` (hashes of the recordings it knows), `LICENSE` where it has one of its own, and `SHA256SUMS` (which
`sha256sum -c` reads). Nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from emogram import __version__
from emogram.config import Dimension, Settings, SpectrogramConfig
from emogram.errors import ModelError, SettingsError
from emogram.files import output_error, sha256_of, write_json, write_text
from emogram.nearby import beside, nearest
from emogram.remote import Address, cached, is_address

FORMAT_VERSION = 2

# A model is written in the oldest format that can tell of it, so that older versions of emogram read it as well.
CLASSES_ONLY_VERSION = 1

KERAS_FILE = "best.keras"
ONNX_FILE = "model.onnx"
EMBEDDING = "embedding"  # name of its last output
INFO_FILE = "model.json"
CARD_FILE = "README.md"
CLIPS_FILE = "training_clips.txt"
LICENCE_FILE = "LICENSE"
FAMILIAR_FILE = "familiar.npz"
SUMS_FILE = "SHA256SUMS"

FILES = (KERAS_FILE, ONNX_FILE, INFO_FILE, CARD_FILE, CLIPS_FILE, FAMILIAR_FILE, LICENCE_FILE, SUMS_FILE)
"""All that a bundle may hold."""

SHIPPED = "shipped"
"""Stands for the model inside the package wherever a model is named; a folder of that name needs its whole path."""

SHIPPED_FOLDER = Path(__file__).parent / SHIPPED

# Enough to tell clips apart: among 10,000 clips that judge and 10,000 that trained, all different, the chance that any
# two begin alike is 4 in ten million.
CLIP_DIGITS = 12

# Far above any network of this package; a file beyond these is no model of ours, and reading it could fill the memory.
MAX_ONNX_BYTES = 1 << 30
MAX_INFO_BYTES = 16 << 20

_SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


class TrainingCorpus(BaseModel):
    """One corpus that a model was trained on."""

    model_config: ClassVar[ConfigDict] = Settings.model_config  # not a Settings, whose content_hash is a method

    corpus: str = Field(description="Name of the corpus.")
    n_clips: int = Field(ge=0, description="Number of clips used for training.")
    n_speakers: int | None = Field(None, ge=0, description="Number of speakers; unset where unknown.")
    content_hash: str = Field(description="Hash over the clips.")
    licence: str = Field("unknown", description="Licence of the corpus.")
    pretraining: bool = Field(False, description="Trained a model that this one learnt from, or one before that.")


class Origin(BaseModel):
    """A model that a training learnt from."""

    model_config: ClassVar[ConfigDict] = Settings.model_config

    model_id: str = Field(description="Its short name.")
    sha256: str = Field(description="Its hash.")
    heard: tuple[str, ...] = Field((), description="CORPUS/SPEAKER of all who trained or chose it or those before it.")


class ModelInfo(Settings):
    """What `model.json` holds: all that is needed to use a model, and how it came to be."""

    format_version: int = Field(FORMAT_VERSION, ge=1, description="Format of the bundle.")
    package_version: str = Field(__version__, description="Version of emogram that wrote the bundle.")
    labels: tuple[str, ...] = Field(
        description="Labels in the order of the network's output; none where it tells dimensions only."
    )
    dimensions: tuple[Dimension, ...] = Field(
        (),
        description="Dimensions in the order of the network's output for them, and the scale on which they are told.",
    )
    spectrogram: SpectrogramConfig | None = Field(
        None, description="How sound becomes input; unset: trained on pictures made elsewhere, so takes pictures only."
    )
    network: dict[str, Any] = Field(description="The network's name and settings.")
    input_shape: tuple[int | None, ...] = Field(
        min_length=3, max_length=3, description="Shape of one spectrogram input; None stands for any length."
    )
    inputs: tuple[str, ...] = Field(("spectrogram",), description="Names of the ONNX inputs.")
    trained_on: tuple[TrainingCorpus, ...] = Field((), description="Corpora it was trained on.")
    init: Origin | None = Field(None, description="The model that training started from; unset: random weights.")
    teachers: tuple[Origin, ...] = Field((), description="Models whose answers it learnt beside the labels.")
    split: dict[str, Any] = Field(default_factory=dict, description="How clips were parted.")
    protocol: str = Field("", description="Protocol of the metrics.")
    metrics: dict[str, Any] = Field(default_factory=dict, description="Metrics under that protocol; fractions.")
    temperature: float = Field(1.0, gt=0.0, description="Softening fitted on validation clips.")
    abstain_threshold: float = Field(0.0, ge=0.0, le=1.0, description="Confidence below which the answer is unsure.")
    target_error: float | None = Field(None, description="Share of wrong answers that the threshold was to reach.")
    answered_error: float | None = Field(
        None, description="Share of wrong answers on validation, unsure ones left out."
    )
    unsure_share: float | None = Field(None, description="Share of validation clips whose answer is unsure.")
    mean_log_probabilities: tuple[float, ...] | None = Field(
        None, description="Mean answer on validation clips, see adapt.py; unset: cannot be adapted to a voice."
    )
    seed: int = Field(0, description="Seed of the training.")
    created: str | None = Field(None, description="Day it was made, YYYY-MM-DD.")

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) < len(labels) or not all(label.strip() for label in labels):
            raise ValueError("labels must be distinct and not empty")
        return labels

    @field_validator("network")
    @classmethod
    def _named(cls, network: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(network.get("name"), str):
            raise ValueError("the network must have a 'name'")
        return network

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.labels) == 1 or not (self.labels or self.dimensions):
            raise ValueError(f"{len(self.labels)} labels; expected at least 2, or dimensions and none")
        names = [*self.labels, *(dimension.name for dimension in self.dimensions)]
        if len(set(names)) < len(names):
            raise ValueError("dimensions must be distinct, and not be called as a label is")
        if self.mean_log_probabilities is not None and len(self.mean_log_probabilities) != len(self.labels):
            raise ValueError(f"mean_log_probabilities must be {len(self.labels)}, one for each label")
        with_features = self.spectrogram is not None and self.spectrogram.utterance_features
        wanted_inputs = ("spectrogram", "features") if with_features else ("spectrogram",)
        if self.inputs != wanted_inputs:
            raise ValueError(f"inputs {self.inputs} do not fit the spectrogram settings, which give {wanted_inputs}")
        if self.spectrogram is None:
            height, width, n_channels = self.input_shape
            if height is None or height < 1 or width != height or n_channels != 3:
                raise ValueError(f"input_shape {self.input_shape} of a model of pictures must be (size, size, 3)")
        elif self.input_shape != self.spectrogram.input_shape():
            raise ValueError(
                f"input_shape {self.input_shape} does not fit the spectrogram settings, which give "
                f"{self.spectrogram.input_shape()}"
            )
        return self

    @property
    def calibrated(self) -> bool:
        """True where a temperature was fitted, so that confidences mean something."""
        return self.temperature != 1.0

    @property
    def model_id(self) -> str:
        """A short name for people and logs, such as "emogram-baseline-ravdess"; only the hash tells models apart."""
        words = ["emogram", self.network["name"], *dict.fromkeys(corpus.corpus for corpus in self.trained_on)]
        return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")

    def require_labels(self, what: str, *, source: object) -> None:
        """Refuse what only a model of classes can do.

        Args:
            what: What is wanted of it, as "explained".
            source: Where the model comes from, for the message.

        Raises:
            ModelError: The model tells dimensions only.
        """
        if not self.labels:
            told = ", ".join(dimension.name for dimension in self.dimensions)
            raise ModelError(
                f"{source}: tells {told} and no classes, so it cannot be {what}; take a model that was trained with "
                "targets = classes or both"
            )

    def reference(self, *, source: object) -> tuple[float, ...]:
        """Return what the model answers on average, which adapting to a voice needs.

        Args:
            source: Where the model comes from, for messages.

        Raises:
            ModelError: The model does not tell.
        """
        self.require_labels("adapted to a voice", source=source)
        if self.mean_log_probabilities is None:
            raise ModelError(
                f"{source}: does not say what it answers on average, so it cannot be adapted to a voice; train it "
                "again with this version of emogram"
            )
        return self.mean_log_probabilities

    def heard(self, *parts: str) -> frozenset[str]:
        """Return CORPUS/SPEAKER of those in some parts of its split, and of all that models before it heard.

        Args:
            parts: Of "train", "validation" and "test".
        """
        corpora = self.split.get("corpora") or [corpus.corpus for corpus in self.trained_on if not corpus.pretraining]
        names = [name for part in parts for name in self.split.get(f"{part}_speakers", ())]
        if len(corpora) == 1:
            names = [f"{corpora[0]}/{name}" for name in names]
        before = (*([self.init] if self.init else []), *self.teachers)
        return frozenset([*names, *(name for model in before for name in model.heard)])


@dataclass(frozen=True)
class Bundle:
    """A model folder whose files were verified.

    Attributes:
        folder: The folder that holds the files.
        info: The content of `model.json`.
        sha256: Hash of `SHA256SUMS`, and so of everything in the bundle; 64 hexadecimal digits.
        hashes: File name -> SHA-256 of each sealed file.
    """

    folder: Path
    info: ModelInfo
    sha256: str
    hashes: Mapping[str, str]

    def file(self, name: str) -> Path:
        """Return the path of a sealed file.

        Raises:
            ModelError: The bundle has no such file.
        """
        if name not in self.hashes:
            raise ModelError(
                f"{self.folder}: the model holds no {name}, only {', '.join(sorted(self.hashes))}; use the model "
                "folder as the training wrote it"
            )
        return self.folder / name

    def read(self, name: str) -> bytes:
        """Return the bytes of a sealed file, verified once more, so that what is used is what was verified.

        Raises:
            ModelError: The bundle has no such file, or it has changed.
        """
        try:
            content = self.file(name).read_bytes()
        except OSError as error:
            raise ModelError(f"{self.folder / name}: cannot be read ({error.strerror})") from None
        if hashlib.sha256(content).hexdigest() != self.hashes[name]:
            raise _changed(self.folder, name)
        return content

    def known_clips(self) -> dict[str, frozenset[str]] | None:
        """Return "train" and "validation" -> first `CLIP_DIGITS` digits of the hashes of these clips.

        None where the bundle does not list them.

        Raises:
            ModelError: The list has changed, or is none.
        """
        if CLIPS_FILE not in self.hashes:
            return None
        found: dict[str, set[str]] = {}
        for line in self.read(CLIPS_FILE).decode("utf-8", errors="replace").splitlines():
            digits, _, part = line.partition(" ")
            if len(digits) != CLIP_DIGITS or not part:
                raise ModelError(f"{self.folder / CLIPS_FILE}: {line[:40]!r} is not '<hash> <part>'; train again")
            found.setdefault(part, set()).add(digits)
        return {part: frozenset(digits) for part, digits in found.items()}


def write_known_clips(folder: Path, contents: Mapping[str, Iterable[str]]) -> None:
    """Write which recordings a model knows, so that it is never judged on them unnoticed.

    Args:
        folder: The bundle's.
        contents: "train" and "validation" -> hashes of their clips (`Sample.content`).

    Raises:
        OutputError: The file cannot be written.
    """
    lines = sorted({f"{content[:CLIP_DIGITS]} {part}\n" for part, some in contents.items() for content in some})
    write_text(folder / CLIPS_FILE, "".join(lines))


def seal(folder: Path, info: ModelInfo, card: str) -> Bundle:
    """Write `model.json`, the card and, last, `SHA256SUMS` over all files of the bundle that are present.

    A bundle without `SHA256SUMS` is refused by `open_bundle`, so an interrupted sealing leaves no half-true model.

    Args:
        folder: Holds `model.onnx` already, `best.keras` where the network is to be shared for further training, and
            `LICENSE` where the model has one.
        info: What `model.json` says.
        card: What `README.md` says; see `card.model_card`.

    Raises:
        ModelError: `model.onnx` is not there.
        OutputError: A file cannot be written.
    """
    if not (folder / ONNX_FILE).is_file():
        raise ModelError(f"{folder}: cannot be sealed without {ONNX_FILE}; export the network first")
    sums = folder / SUMS_FILE
    try:
        sums.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(sums, error) from error
    write_json(folder / INFO_FILE, written(info))
    write_text(folder / CARD_FILE, card)
    present = [name for name in FILES if name != SUMS_FILE and (folder / name).is_file()]
    write_text(sums, "".join(f"{sha256_of(folder / name)}  {name}\n" for name in present))
    return open_bundle(folder)


def open_bundle(path: str | Path) -> Bundle:
    """Verify a model folder and read what it says about itself.

    Args:
        path: The model folder, a run folder that holds it as `model/`, `SHIPPED`, or "hf://owner/name[@revision]",
            which is fetched from the Hugging Face Hub into the user's cache.

    Raises:
        ModelError: Missing, unfinished, damaged, of a newer format, or inconsistent.
        ServerError: The Hub does not answer, or has no such model.
        MissingExtraError: A model on the Hub, and the extra `hub` is not installed.
    """
    if is_address(path):
        path = cached(Address.parse(str(path)), names=FILES, check=open_bundle)
    folder = _find(Path(path))
    sums = _read_small(folder, SUMS_FILE)
    hashes = _parse_sums(folder, sums)
    for name, expected in hashes.items():
        if _checked_hash(folder, name) != expected:
            raise _changed(folder, name)
    return Bundle(folder, _parse_info(folder, _read_small(folder, INFO_FILE)), hashlib.sha256(sums).hexdigest(), hashes)


def written(info: ModelInfo) -> dict[str, Any]:
    """Return what `model.json` holds: in format 1, which knows no dimensions, where a model tells none."""
    values = info.model_dump(mode="json")
    if not info.dimensions:
        del values["dimensions"]
        values["format_version"] = CLASSES_ONLY_VERSION
    return values


def upgrade(values: Mapping[str, Any], from_version: int) -> dict[str, Any]:
    """Bring the values of an older `model.json` to the present format.

    Format 2 added dimensions, and a model of format 1 tells none, which needs no word. A format that changes more has
    its step here: `if from_version < 3: ...`, and so on, each step leading to the next format.
    """
    return {**values, "format_version": max(from_version, FORMAT_VERSION)}


def _find(path: Path) -> Path:
    if path == Path(SHIPPED):
        if not SHIPPED_FOLDER.is_dir():
            raise ModelError(
                f"no model ships with this copy of emogram {__version__}; name one with --model or EMOGRAM_MODEL, "
                "train one with `emogram train CORPUS`, or make a small one with `emogram demo`"
            )
        return SHIPPED_FOLDER
    if path.is_file():
        raise ModelError(f"{path}: is a file; a model is a folder, give the folder that holds {INFO_FILE}")
    if not path.is_dir():
        meant = f" (did you mean '{SHIPPED}'?)" if nearest(str(path), [SHIPPED]) else beside(path)
        raise ModelError(f"{path}: no such model folder{meant}; give a model folder or a run folder that holds model/")
    folder = path if (path / INFO_FILE).exists() or not (path / "model").is_dir() else path / "model"
    if (folder / SUMS_FILE).is_file():
        return folder
    if (folder / KERAS_FILE).exists() or (folder / ONNX_FILE).exists():
        raise ModelError(
            f"{folder}: the model has no {SUMS_FILE}, so it is not finished or not copied whole; let the training "
            "finish (`emogram train`) or copy the folder again"
        )
    raise ModelError(
        f"{folder}: holds no model ({INFO_FILE}, {ONNX_FILE}, {SUMS_FILE}); give a model folder or a run folder that "
        "holds model/, as `emogram train` writes it"
    )


def _parse_sums(folder: Path, sums: bytes) -> dict[str, str]:
    hashes: dict[str, str] = {}
    for number, line in enumerate(sums.decode("utf-8", errors="replace").splitlines(), start=1):
        match = _SUM_LINE.fullmatch(line)
        if match is None:
            raise ModelError(f"{folder / SUMS_FILE}: line {number} is not '<sha256>  <name>'; copy the model again")
        digest, name = match.groups()
        if "/" in name or "\\" in name or ".." in name or "\0" in name or ":" in name:
            raise ModelError(f"{folder / SUMS_FILE}: line {number} names {name!r}, a file outside the model; refused")
        hashes[name] = digest
    for name in (ONNX_FILE, INFO_FILE):
        if name not in hashes:
            raise ModelError(f"{folder / SUMS_FILE}: does not list {name}; let the training finish or copy it again")
    return hashes


def _checked_hash(folder: Path, name: str) -> str:
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{file}: is a link that leads out of the model folder; refused, put the file itself there")
    if not file.is_file():
        raise ModelError(f"{folder}: {name} is listed in {SUMS_FILE} and is not there; copy the model again, whole")
    if name == ONNX_FILE and (size := file.stat().st_size) > MAX_ONNX_BYTES:
        raise ModelError(f"{file}: {size} bytes; a model of emogram has at most {MAX_ONNX_BYTES}")
    try:
        return sha256_of(file)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from None


def _changed(folder: Path, name: str) -> ModelError:
    return ModelError(
        f"{folder}: {name} is not the file that was sealed (its SHA-256 differs); the model was damaged or changed, "
        "copy it again from a source you trust"
    )


def _read_small(folder: Path, name: str) -> bytes:
    file = folder / name
    try:
        if file.stat().st_size > MAX_INFO_BYTES:
            raise ModelError(f"{file}: {file.stat().st_size} bytes; expected at most {MAX_INFO_BYTES}")
        return file.read_bytes()
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from None


def _parse_info(folder: Path, content: bytes) -> ModelInfo:
    file = folder / INFO_FILE
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise ModelError(f"{file}: not a JSON file; copy the model again") from None
    version = values.get("format_version") if isinstance(values, dict) else None
    if type(version) is not int or version < 1:
        raise ModelError(f"{file}: says no format_version; it is not a model of emogram")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{file}: format {version}, and emogram {__version__} reads up to {FORMAT_VERSION}; "
            f"{_install_advice(values.get('package_version'))}"
        )
    try:
        return ModelInfo.from_dict(upgrade(values, version))
    except SettingsError as error:
        raise ModelError(f"{file}: {error}; write the model again with `emogram train`") from None


def _install_advice(package_version: object) -> str:
    # The version comes from the file: only what looks like one may stand in a command to paste.
    if isinstance(package_version, str) and re.fullmatch(r"[0-9]+(\.[0-9a-z]+)*", package_version):
        return f"pip install --upgrade 'emogram>={package_version}'"
    return "pip install --upgrade emogram"
