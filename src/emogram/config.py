"""Every setting, its one default, its range and its description.

The command line makes its flags from these classes (`settings.py`), a run stores them as `config.toml`, and a bundle
carries its `SpectrogramConfig`. Unknown keys are errors.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from emogram.errors import SettingsError
from emogram.nearby import beside, nearest


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused, to and from plain dicts."""

    # Most commands use few of these classes, and a shell that completes their options none: each is built when it is
    # first filled, which spares a command a tenth of a second.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, defer_build=True
    )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from plain values.

        Raises:
            SettingsError: A key is unknown or a value is out of range; the message names each.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise SettingsError(_explain(error, cls)) from None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, nested as the classes are; None is left out since TOML has none."""
        return self.model_dump(mode="json", exclude_none=True)

    def content_hash(self) -> str:
        """Return 12 hexadecimal digits that change when any setting changes."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


class SpectrogramConfig(Settings):
    """How sound becomes model input. Lengths are samples at `sample_rate`."""

    kind: Literal["log_mel", "picture"] = Field(
        "log_mel", description="Model input: log-mel of any number of frames, or a 128x128 RGB picture."
    )
    sample_rate: int = Field(16000, ge=4000, le=192000, description="Sample rate in Hz to work at.")
    n_fft: int = Field(512, ge=32, le=65536, description="FFT size in samples.")
    win_length: int = Field(400, ge=16, le=65536, description="Window length in samples (periodic Hann).")
    hop_length: int = Field(192, ge=1, le=65536, description="Step between frames in samples.")
    n_mels: int = Field(64, ge=8, le=512, description="Number of mel bands.")
    f_min_hz: float = Field(50.0, ge=0.0, description="Lower edge of the lowest band in Hz.")
    f_max_hz: float = Field(8000.0, gt=0.0, description="Upper edge of the highest band in Hz.")
    mel_scale: Literal["slaney", "htk"] = Field("slaney", description="Formula of the mel scale.")
    top_db: float = Field(60.0, gt=0.0, le=200.0, description="Range in dB below the loudest point that is kept.")
    level: Literal["clip", "absolute"] = Field(
        "clip", description="Measure loudness against the clip's own peak, or against digital full scale."
    )
    band_normalization: Literal["none", "clip"] = Field(
        "none", description="Take out each band's mean over the clip, and with it microphone, room and codec."
    )
    trim_db: float = Field(
        35.0, ge=0.0, description="Cut leading and trailing frames this many dB below the loudest; 0 cuts none."
    )
    min_frames: int = Field(32, ge=1, description="Shorter log-mels are padded with silence to this many frames.")
    frame_multiple: int = Field(
        16, ge=1, description="Log-mels are padded with silence to a multiple of this, so that few lengths exist."
    )
    periodicity_bands: int = Field(
        0, ge=0, le=256, description="Further bands that show the fundamental frequency, from 65 to 700 Hz; 0: none."
    )
    picture_size: int = Field(128, ge=16, le=1024, description="Height and width of pictures.")
    utterance_features: bool = Field(
        False, description="Also feed the acoustic features of the whole utterance (two-input networks)."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length ({self.win_length}) must not exceed n_fft ({self.n_fft})")
        if self.f_max_hz > self.sample_rate / 2:
            raise ValueError(
                f"f_max_hz ({self.f_max_hz:g}) must not exceed half the sample rate ({self.sample_rate / 2:g} Hz)"
            )
        if self.f_min_hz >= self.f_max_hz:
            raise ValueError(f"f_min_hz ({self.f_min_hz:g}) must lie below f_max_hz ({self.f_max_hz:g})")
        if self.periodicity_bands == 1:
            raise ValueError("periodicity_bands must be 0, or 2 and more")
        if self.periodicity_bands and self.kind == "picture":
            raise ValueError("pictures show no periodicity; set periodicity_bands to 0 or kind to log_mel")
        return self

    def input_shape(self) -> tuple[int | None, int, int]:
        """Return the shape of one model input; None stands for any number of frames."""
        if self.kind == "picture":
            return (self.picture_size, self.picture_size, 3)
        return (None, self.n_mels + self.periodicity_bands, 1)


class TimelineConfig(Settings):
    """How a recording becomes a timeline. Times are rounded to what is listened in: 32 ms, the hop to twice as much."""

    window_s: float = Field(2.048, ge=0.5, le=30.0, description="Length of the windows that are judged, in seconds.")
    hop_s: float = Field(0.512, ge=0.064, le=10.0, description="Step from one window to the next, in seconds.")
    find_speech: bool = Field(
        True, description="Look where somebody speaks; otherwise all that is not silent counts as speech."
    )
    speech_probability: float = Field(
        0.5, gt=0.0, lt=1.0, description="How likely it must be that somebody speaks, for it to count as speech."
    )
    pad_s: float = Field(0.096, ge=0.0, le=1.0, description="What is added before and after speech, in seconds.")
    max_pause_s: float = Field(0.64, gt=0.0, le=10.0, description="Longest pause inside a spoken part, in seconds.")
    min_speech_s: float = Field(0.256, ge=0.2, le=5.0, description="Least speech in a window that is judged.")
    smooth: bool = Field(True, description="Average the windows over one another, and pay for each change of label.")
    # These four were chosen on joined recordings of the RAVDESS actors that chose the model and did not train it, clean
    # and among other voices: docs/timelines.md.
    switch_cost: float = Field(
        6.0,
        ge=0.0,
        le=100.0,
        description="What a change of label costs, in nats that one second's scores can outweigh.",
    )
    pause_cost: float = Field(
        3.0, ge=0.0, le=100.0, description="What it costs between two spoken parts, in the same measure."
    )
    bridge_s: float = Field(
        3.0, ge=0.0, le=60.0, description="Longest pause between spoken parts over which an emotion is taken to last."
    )
    lag_s: float = Field(10.24, gt=0.0, le=60.0, description="How long a label may wait for what comes after it.")
    batch_size: int = Field(16, ge=1, le=1024, description="Windows judged at once in a recording; live, each at once.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.hop_s + self.pad_s <= self.max_pause_s <= self.window_s - self.hop_s:
            raise ValueError(
                f"max_pause_s ({self.max_pause_s:g}) must lie between hop_s + pad_s ({self.hop_s + self.pad_s:g}) and "
                f"window_s - hop_s ({self.window_s - self.hop_s:g})"
            )
        if 2 * self.pad_s > self.max_pause_s:
            raise ValueError(f"pad_s ({self.pad_s:g}) must not exceed half of max_pause_s ({self.max_pause_s:g})")
        return self


class ArchiveConfig(Settings):
    """How very many recordings are scored: what is said of each, and how the work is cut."""

    rows: Literal["clips", "segments"] = Field(
        "clips", description="A row for each file (an utterance each), or for each segment of its timeline."
    )
    channels: Literal["mix", "split"] = Field(
        "mix", description="Of segments: average the channels, or analyse each by itself."
    )
    check: bool = Field(True, description="Of clips: look for speech, and warn of what is not like the training data.")
    shifts: int = Field(1, ge=1, le=9, description="Number of shifts in time that every answer is averaged over.")
    timeline: TimelineConfig = Field(default_factory=TimelineConfig)
    shard_files: int | None = Field(
        None, ge=1, description="Most inputs in a shard; unset: by their number, 64 to 2,000."
    )
    shard_mb: float = Field(256.0, gt=0.0, description="A shard is full with so many megabytes of sound files.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rows == "clips" and self.channels == "split":
            raise ValueError("channels are split into segments only; say rows = segments as well")
        if self.rows == "segments" and not self.check:
            raise ValueError("segments always look for speech; only clips can go without check")
        return self


class ServeConfig(Settings):
    """What a service offers, and the bounds within which it works."""

    host: str = Field("127.0.0.1", description="Address to listen at; 0.0.0.0 lets other machines in.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen at; 0 takes a free one.")
    token: str | None = Field(None, description="Secret that every request must carry; unset: none.")
    origins: tuple[str, ...] = Field(
        (), description="Other sites whose pages may use the service, such as https://example.org."
    )
    hosts: tuple[str, ...] = Field((), description="Names, beside the address, under which browsers may reach it.")
    workers: int | None = Field(
        None, ge=1, description="Processes that decode; unset: one for each processor of the machine."
    )
    worker_memory_mb: int = Field(1024, ge=256, description="Memory that each of them may take.")
    clip_time_limit_s: float = Field(20.0, gt=0.0, le=600.0, description="Longest that reading one clip may take.")
    max_clip_mb: float = Field(32.0, gt=0.0, description="Largest upload of a clip.")
    max_clip_s: float = Field(60.0, gt=0.0, le=600.0, description="Longest clip; longer sound is a job.")
    max_queue: int = Field(64, ge=1, description="Clips that may wait for their turn; more are told to come again.")
    max_queue_s: float = Field(
        10.0, gt=0.0, description="Longest that a clip may be expected to wait for its turn; likewise."
    )
    max_batch: int = Field(16, ge=1, le=1024, description="Clips scored at once.")
    max_wait_ms: float = Field(0.0, ge=0.0, le=1000.0, description="Longest that a clip waits for others to join it.")
    max_job_mb: float = Field(2048.0, gt=0.0, description="Largest upload of a job.")
    max_jobs: int = Field(100, ge=1, description="Jobs that may wait for their turn.")
    job_workers: int = Field(1, ge=1, description="Jobs that are worked on at once.")
    job_time_limit_s: float = Field(6 * 3600.0, gt=0.0, description="Longest that one job may take.")
    data: Path | None = Field(
        None, description="Folder where jobs are kept; unset: emogram/serve in the user's folder for state."
    )
    keep_hours: float = Field(24.0, gt=0.0, description="How long a finished job, its sound and its result are kept.")
    max_stored_mb: float = Field(20480.0, gt=0.0, description="Most that all jobs may take on the disk.")
    max_streams: int = Field(32, ge=1, description="Live streams at once.")
    max_stream_s: float = Field(4 * 3600.0, gt=0.0, description="Longest live stream.")
    idle_s: float = Field(60.0, gt=0.0, description="Seconds after which a client that says nothing is let go.")
    drain_s: float = Field(30.0, ge=0.0, description="Seconds that what is in flight has to finish after SIGTERM.")

    @model_validator(mode="after")
    def _sound_token(self) -> Self:
        # Here and not at the field, whose complaints would show it.
        if self.token is not None and re.fullmatch(r"[!-~]{8,}", self.token) is None:
            raise ValueError("token: expected at least 8 letters, digits and signs of ASCII, without spaces")
        return self


class AugmentConfig(Settings):
    """How far spectrograms are changed while training. 0 switches a change off; all are drawn anew for each sample."""

    brightness: float = Field(0.0, ge=0.0, le=1.0, description="Brightness up to this much, of the full range.")
    contrast: float = Field(0.1, ge=0.0, le=1.0, description="Contrast from 1 minus this to 1 plus this.")
    time_masks: int = Field(2, ge=0, le=20, description="Number of hidden stretches of time.")
    time_mask_width: int = Field(12, ge=0, description="Widest hidden stretch of time, in frames or columns.")
    frequency_masks: int = Field(2, ge=0, le=20, description="Number of hidden frequency stripes.")
    frequency_mask_width: int = Field(8, ge=0, description="Widest hidden stripe, in bands or rows.")
    time_stretch: float = Field(0.1, ge=0.0, le=1.0, description="Faster or slower by up to this share.")
    frequency_warp: float = Field(0.06, ge=0.0, le=0.5, description="Vocal tract longer or shorter by this share.")
    frequency_shift: float = Field(0.02, ge=0.0, le=0.5, description="Up or down by this share of all bands.")
    periodicity_shift: float = Field(
        0.06, ge=0.0, le=0.5, description="Fundamental frequency up or down by this share of its bands."
    )
    band_gain: float = Field(0.05, ge=0.0, le=1.0, description="Smooth change over frequency, of the full range.")
    noise_floor: float = Field(0.0, ge=0.0, le=1.0, description="Noise up to this level, of the full range.")
    mixup_alpha: float = Field(0.0, ge=0.0, le=10.0, description="Blend pairs with a share from Beta(alpha, alpha).")
    cutmix_alpha: float = Field(0.0, ge=0.0, le=10.0, description="Swap stretches of time between pairs, likewise.")
    mix_probability: float = Field(0.5, ge=0.0, le=1.0, description="Share of batches that are mixed, where asked for.")
    degraded_copies: int = Field(
        0, ge=0, le=100, description="Copies of each clip in noise, babble, rooms, on the telephone, coded or sped up."
    )
    degraded_share: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="How often such a copy takes the clip's place; random kernels are solved on both alike.",
    )
    degraded_babble: float = Field(
        0.0, ge=0.0, le=1.0, description="Of copies that would be something else, so many are in babble."
    )
    hard_classes: tuple[str, ...] = Field(
        (), description="Classes with stronger augmentation; 'auto' takes those below the mean recall on validation."
    )
    hard_class_strength: float = Field(1.5, ge=0.0, le=10.0, description="How much stronger, for hard classes.")


NETWORK_NAMES = ("emonet", "baseline", "baseline-features", "rocket")
"""The keys of `network.NETWORKS`, for those who must not wait until Keras is imported."""
SOLVED_NETWORKS = frozenset({"rocket"})
"""Those that are solved at once, see `random_kernels`, and learn nothing step by step."""


class NetworkConfig(Settings):
    """Which network, and how strongly it is held back from learning by heart."""

    network: str = Field("emonet", description=f"Name of the network: {', '.join(NETWORK_NAMES)}.")
    width: float = Field(1.0, gt=0.0, le=8.0, description="Multiplies the number of channels of every layer.")
    dropout: float = Field(0.4, ge=0.0, lt=1.0, description="Dropout before the answer.")
    block_dropout: float = Field(0.1, ge=0.0, lt=1.0, description="Dropout of whole channels inside the blocks.")
    l2: float = Field(0.0, ge=0.0, le=1.0, description="L2 penalty on the weights of convolutions and dense layers.")
    random_kernels: bool = Field(
        False,
        description="Once trained, put the random kernels of network 'rocket' beside it, and answer with both; those "
        "of a model to start from stay as they are.",
    )
    kernel_bands: int = Field(
        384,
        ge=8,
        le=4096,
        description="Sums of neighbouring bands that random kernels look at, eight kernels each at each dilation.",
    )
    kernel_pooling: Literal[1, 2, 4] = Field(
        1, description="Frames of which random kernels see the mean; 2 takes half as long, and tells as much."
    )
    max_dilation: int = Field(
        4,
        ge=1,
        le=14,
        description="Longest dilation of random kernels in frames, or in means of some, of 1, 2, 4, 8, 14; short ones "
        "carry over to other languages.",
    )
    kernel_share: float = Field(
        0.5,
        gt=0.0,
        lt=1.0,
        description="How much random kernels count beside a trained network; the less, the less is lost in babble.",
    )
    kernel_left_out: Literal["speakers", "corpora"] = Field(
        "speakers",
        description="Hold random kernels back as suits speakers that are left out of training, or whole corpora.",
    )
    kernel_course: bool = Field(
        True,
        description="Keep what random kernels say of early loud moments apart from that of late ones; off carries over "
        "better to other languages.",
    )


class Dimension(Settings):
    """A number that a model tells of a voice, such as arousal, and its scale."""

    name: str = Field(min_length=1, description="Its name, that of the column of a manifest.")
    low: float = Field(description="Lower end of the scale on which it is told.")
    high: float = Field(description="Upper end.")

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"the scale of {self.name} goes from {self.low:g} to {self.high:g}; expected low < high")
        return self


class TrainConfig(Settings):
    """How a network is trained."""

    targets: Literal["classes", "dimensions", "both"] = Field(
        "classes", description="What is learnt: the labels, numbers such as arousal, or both by one network."
    )
    dimensions: tuple[str, ...] = Field(
        (), description="Which numbers of the corpus; none named: those of arousal, valence and dominance it has."
    )
    dimension_scale: tuple[float, ...] = Field(
        (),
        description="Lower and upper end of their scale, as 1,7, where the corpus is not known to have one; else it is "
        "taken from the training clips.",
    )
    dimension_weight: float = Field(
        1.0, gt=0.0, le=1000.0, description="Weight of the dimensions' loss, 1 - CCC, against that of the classes."
    )
    init: Path | None = Field(
        None, description="Model folder whose weights training starts from, of the same network and spectrogram."
    )
    teachers: tuple[Path, ...] = Field(
        (),
        description="Model folders whose answers are learnt beside the labels; of a cross-validation's folder those of "
        "the same fold.",
    )
    teacher_share: float = Field(
        0.7, ge=0.0, le=1.0, description="Share of each target that the teachers say; the label is the rest."
    )
    epochs: int = Field(32, ge=1, le=10000, description="Number of times that the training clips are seen.")
    batch_size: int = Field(32, ge=1, le=4096, description="Clips a step.")
    train_frames: int = Field(160, ge=0, description="Log-mels are cut or padded to this many frames; 0: the longest.")
    optimizer: Literal["adam", "adamw", "muon", "sgd"] = Field("muon", description="Optimizer.")
    learning_rate: float = Field(5e-3, gt=0.0, le=10.0, description="Highest learning rate.")
    weight_decay: float = Field(0.02, ge=0.0, le=1.0, description="Decoupled weight decay, of adamw and muon.")
    trunk_rate: float = Field(
        1.0,
        ge=0.0,
        le=1.0,
        description="Learning rate of all layers but the last, as a share of its own; 0 freezes them. Needs a model to "
        "start from.",
    )
    freeze_normalization: bool = Field(
        False,
        description="Leave batch normalisation as the model to start from has it: a few clips say little of means and "
        "variances.",
    )
    schedule: Literal["cosine", "plateau", "constant"] = Field(
        "cosine", description="Warm-up with cosine decay, ReduceLROnPlateau on validation loss, or neither."
    )
    warmup_epochs: float = Field(3.0, ge=0.0, description="Epochs of linear warm-up, of the cosine schedule.")
    plateau_factor: float = Field(0.5, gt=0.0, lt=1.0, description="What the plateau schedule multiplies by.")
    plateau_patience: int = Field(3, ge=1, description="Epochs without better validation loss before it does.")
    early_stop_patience: int = Field(0, ge=0, description="Stop after this many epochs without a better model; 0: no.")
    monitor: Literal["val_loss", "val_accuracy", "val_uar", "val_ccc"] = Field(
        "val_loss", description="What makes a model the best one so far; val_ccc is that of the dimensions."
    )
    weight_average: float = Field(
        0.0, ge=0.0, lt=1.0, description="Judge and keep a running average of the weights with this memory; 0: do not."
    )
    label_smoothing: float = Field(0.1, ge=0.0, lt=1.0, description="Share of each target spread over all labels.")
    class_weights: bool = Field(True, description="Weigh rare classes more, by their share of the training part.")
    balance: Literal["label", "corpus_label"] = Field(
        "label", description="What class weights make even: the labels, or the labels within each corpus."
    )
    also_weight: float = Field(
        1.0, gt=0.0, le=1000.0, description="Weight of clips of corpora that may but train (--also), against 1."
    )
    also_labels: Literal["shared", "own"] = Field(
        "shared",
        description="What corpora of --also call angry is the same class as here, or one of its own, which is learnt "
        "beside and left out of the model.",
    )
    also_clips: int = Field(
        0,
        ge=0,
        description="Clips of corpora that may but train (--also), drawn anew for each epoch; 0: all, every epoch. Of "
        "clips that are drawn no degraded copies are made.",
    )
    mask_missing_labels: bool = Field(
        True, description="Learn nothing about labels from clips of a corpus that has none of them."
    )
    # People who hear the voice alone miss the intended emotion of RAVDESS in 33 to 40 % of the clips (PROTOCOLS.md):
    # whoever answers should err clearly less than they do.
    target_error: float = Field(
        0.25, gt=0.0, lt=1.0, description="Share of wrong answers to reach by calling the least sure answers unsure."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Precision of the arithmetic of training; auto: bfloat16 where that is faster."
    )
    devices: int = Field(
        1, ge=0, description="Devices that share each batch, with KERAS_BACKEND=jax; 0: all that there are."
    )
    seed: int = Field(0, ge=0, description="Seed of everything random; same seed, same numbers on one machine.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        scale = self.dimension_scale
        if scale and not (len(scale) == 2 and scale[0] < scale[1]):
            raise ValueError(
                f"dimension_scale is {', '.join(f'{end:g}' for end in scale)}; expected its two ends, as 1,7"
            )
        if self.targets == "classes" and self.monitor == "val_ccc":
            raise ValueError("monitor is val_ccc, and no dimensions are learnt; set targets to dimensions or both")
        if self.targets == "dimensions" and self.monitor in ("val_accuracy", "val_uar"):
            raise ValueError(f"monitor is {self.monitor}, and no classes are learnt; set it to val_ccc or val_loss")
        if self.also_labels == "own" and not self.mask_missing_labels:
            raise ValueError("also_labels is own, which needs mask_missing_labels: a clip is none of another corpus")
        if self.targets == "dimensions" and self.teachers:
            raise ValueError(
                "teachers tell of labels, and no classes are learnt; leave teachers, or set targets to both"
            )
        return self


class SplitConfig(Settings):
    """Which clips train, which choose the model, and which judge it."""

    split: Literal["auto", "speaker", "random", "clip"] = Field(
        "auto",
        description="Part by speakers, or at random; auto: by speakers where they are known. clip: by clip within each "
        "label, the same voices in all parts.",
    )
    clips_per_label: int = Field(
        0, ge=0, description="Of split clip: so many clips of each label train and choose, all others judge; 0: shares."
    )
    protocol: str | None = Field(None, description="A named protocol: ravdess-si5 or random80.")
    fold: int = Field(0, ge=0, description="Fold of the protocol.")
    validation_speakers: tuple[str, ...] = Field((), description="Speakers that choose the model.")
    test_speakers: tuple[str, ...] = Field((), description="Speakers that judge it.")
    train_list: Path | None = Field(None, description="File that names the training clips, one path or stem a line.")
    validation_list: Path | None = Field(None, description="File that names the validation clips, likewise.")
    test_list: Path | None = Field(None, description="File that names the test clips, likewise.")
    validation_share: float = Field(0.1, gt=0.0, lt=1.0, description="Share of speakers (or clips) that choose.")
    test_share: float = Field(0.2, ge=0.0, lt=1.0, description="Share of speakers (or clips) that judge.")
    judge_on: Literal["test", "validation"] = Field(
        "test",
        description="Part that judges; 'validation' leaves the test part alone, for choosing settings without it.",
    )
    split_seed: int = Field(0, ge=0, description="Seed of the parting.")
    allow_leaks: bool = Field(
        False, description="Go on where the parts share recordings or augmented copies, and say so in the report."
    )


class RunConfig(Settings):
    """All settings of one training."""

    spectrogram: SpectrogramConfig = Field(default_factory=SpectrogramConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    network: NetworkConfig = Field(default_factory=NetworkConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    split: SplitConfig = Field(default_factory=SplitConfig)

    @model_validator(mode="after")
    def _solved_at_once(self) -> Self:
        train, name = self.train, self.network.network
        if name in SOLVED_NETWORKS and train.teachers:
            raise ValueError(f"network '{name}' is solved at once and has no teachers; take network 'emonet'")
        if not self.solves:
            return self
        if train.init and name in SOLVED_NETWORKS:
            raise ValueError(f"network '{name}' is solved at once: it starts from no model and cannot be fine-tuned")
        if train.also_labels == "own":
            raise ValueError(
                "random kernels learn no labels apart; leave also_labels out, or network 'rocket' and random_kernels"
            )
        if train.targets != "classes" or self.spectrogram.utterance_features:
            raise ValueError(
                "random kernels hear spectrograms and tell labels; they take no utterance features and learn no "
                "dimensions: leave network 'rocket' and random_kernels out"
            )
        return self

    @property
    def solves(self) -> bool:
        """Whether random kernels are solved, as the network or beside it."""
        return self.network.random_kernels or self.network.network in SOLVED_NETWORKS


# What a network was published or tuned with, where that differs from the defaults above.
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    # The origin's spectrogram CNN; PROTOCOLS.md, P2.
    "baseline": {
        "spectrogram": {"kind": "picture", "n_mels": 128, "n_fft": 1024, "win_length": 1024, "hop_length": 256},
        "augment": {
            "brightness": 0.1,
            "contrast": 0.1,
            "time_masks": 1,
            "time_mask_width": 16,
            "frequency_masks": 1,
            "frequency_mask_width": 16,
            "time_stretch": 0.0,
            "frequency_warp": 0.0,
            "frequency_shift": 0.0,
            "band_gain": 0.0,
            "hard_classes": ["happy", "sad"],
        },
        "network": {"l2": 1e-3},
        "train": {
            "epochs": 30,
            "batch_size": 32,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "schedule": "plateau",
            "monitor": "val_accuracy",
            "label_smoothing": 0.1,
        },
    },
}
RECIPES["baseline-features"] = {
    **RECIPES["baseline"],
    "spectrogram": {**RECIPES["baseline"]["spectrogram"], "utterance_features": True},
    "augment": {**RECIPES["baseline"]["augment"], "mixup_alpha": 0.2},
    "train": {**RECIPES["baseline"]["train"], "label_smoothing": 0.3},
}

# Solved at once, see `random_kernels`: one look at the clips tells how well it answers.
RECIPES["rocket"] = {"spectrogram": {"periodicity_bands": 48}, "train": {"epochs": 1, "schedule": "constant"}}

# What a training starts with that goes on from a trained model with few clips: `emogram finetune`.
FINETUNE: dict[str, dict[str, Any]] = {
    "train": {
        "epochs": 30,
        "batch_size": 16,
        "optimizer": "adamw",
        "learning_rate": 5e-3,
        "weight_decay": 0.0,
        "trunk_rate": 0.1,
        "freeze_normalization": True,
        "warmup_epochs": 1.0,
        "early_stop_patience": 8,
        "label_smoothing": 0.0,
    },
    "split": {"validation_share": 0.2},
}


def run_config(values: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    """Build all settings of a training: what is given, else the recipe of the network, else the defaults.

    Args:
        values: Section -> setting -> value, as in a run's `config.toml`; anything may be left out.

    Raises:
        SettingsError: A section or setting is unknown or out of range.
    """
    return RunConfig.from_dict(with_recipe(values))


def with_recipe(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return settings, and beside them those of the recipe of their network; not checked, and without the defaults."""
    network = values.get("network", {}).get("network", NetworkConfig.model_fields["network"].default)
    recipe = RECIPES.get(network, {})
    return {name: {**recipe.get(name, {}), **values.get(name, {})} for name in {*recipe, *values}}


def flat_settings(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return settings in sections as one dict: "train.epochs" -> 100."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= flat_settings(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return flat


def _explain(error: ValidationError, kind: type[BaseModel]) -> str:
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "settings"
        if item["type"] == "extra_forbidden":
            near = nearest(str(item["loc"][-1]), _names_of(kind))
            lines.append(f"unknown setting '{where}'" + (f", did you mean '{near}'?" if near else ""))
        else:
            message = item["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {message}" + (f", found {item['input']!r}" if item["loc"] else ""))
    return "; ".join(lines)


def _names_of(kind: type[BaseModel]) -> list[str]:
    """Return the names of all settings of a class and of those inside it."""
    names = []
    for name, field in kind.model_fields.items():
        names.append(name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += _names_of(field.annotation)
    return names


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings.

    Raises:
        SettingsError: The file is missing or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        meant = beside(path) if isinstance(error, FileNotFoundError) else ""
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}{meant}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not a TOML file: {error}") from None
