"""Live sound: a microphone, a pipe, or a file at the pace at which it would be heard -> chunks as they come."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from emogram.classifier import Classifier
from emogram.config import TimelineConfig
from emogram.errors import AudioError, EmogramError, InputError, MissingExtraError
from emogram.live import Engine, Event, WindowScore
from emogram.recordings import open_recording
from emogram.records import Timeline
from emogram.timeline import STOPPED, Collector, rate_warnings

CHUNK_S = 0.02  # of sound at once; whatever waits for a whole chunk adds as much to the delay
QUEUE_CHUNKS = 500  # ten seconds; a machine that falls further behind must not fill its memory
SILENT_DEVICE_S = 3.0  # a microphone that gives nothing for so long, not even silence, is gone
MICROPHONE_RATE = 16000

Chunk = npt.NDArray[np.float32]


@dataclass
class Source:
    """Where live sound comes from.

    Attributes:
        name: What it is called in results.
        sample_rate: In Hz.
        channels: Channels of the chunks.
        chunks: Yields shape (n, channels), float32; None while there is nothing new, so that whoever waits can stop.
        problem: Why it ended before its time; None where it did not.
    """

    name: str
    sample_rate: int
    channels: int
    chunks: Iterator[Chunk | None]
    problem: str | None = None


@dataclass(frozen=True)
class Heard:
    """What listening came to.

    Attributes:
        timeline: All that was heard.
        delays_s: From the moment when each window was wholly heard (`WindowScore.known_s`) to that when it was told, in
            seconds.
    """

    timeline: Timeline
    delays_s: npt.NDArray[np.float64]

    def delay_ms(self, percentile: float) -> float | None:
        """Return a percentile of the delays in milliseconds; None where there was no window."""
        return 1000.0 * float(np.percentile(self.delays_s, percentile)) if len(self.delays_s) else None


def listen(
    source: Source,
    classifier: Classifier,
    tell: Callable[[Event], None],
    *,
    split: bool = False,
    config: TimelineConfig | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    watch: Callable[[Engine], None] = lambda engine: None,
) -> Heard:
    """Listen until the source ends.

    Args:
        source: Where the sound comes from.
        classifier: A model of sound.
        tell: Is given each event as soon as it is known.
        split: Listen to each channel by itself.
        config: The settings.
        should_stop: Is asked after each chunk, and ten times a second while none comes.
        watch: Is given the engine after each chunk.

    Raises:
        AudioError: The source's rate is out of range.
        ModelError: The model takes no sound.
    """
    engine = Engine(
        classifier, sample_rate=source.sample_rate, channels=source.channels, split=split, config=config, batch_size=1
    )
    collector = Collector(classifier.labels, classifier.dimensions)
    arrivals: deque[tuple[float, float]] = deque(maxlen=1000)  # end of a chunk in the stream, and when it came
    delays: list[float] = []
    stopped = None

    def take(events: list[Event]) -> None:
        collector.add(events)
        for event in events:
            tell(event)
            if isinstance(event, WindowScore):
                delays.append(_delay_s(event.known_s, arrivals))

    try:
        for chunk in source.chunks:
            if chunk is not None:
                arrivals.append((engine.duration_s + len(chunk) / source.sample_rate, time.monotonic()))
                take(engine.feed(chunk))
                watch(engine)
            if should_stop():
                stopped = f"{STOPPED} after {engine.duration_s:.1f} s"
                break
    except AudioError as error:  # found in the samples
        stopped = str(error)
    take(engine.finish())
    problems = list(filter(None, [stopped, source.problem]))
    timeline = collector.timeline(
        duration_s=engine.duration_s,
        sample_rate=source.sample_rate,
        channels=source.channels,
        warnings=[*problems, *rate_warnings(source.sample_rate, classifier)],
        partial=bool(problems),
    )
    return Heard(timeline, np.array(delays))


def _delay_s(moment_s: float, arrivals: deque[tuple[float, float]]) -> float:
    """Return how long ago a moment of the stream was, by the chunk that held it; it came as long before its end."""
    holding = (each for each in arrivals if each[0] >= moment_s - 1e-9)
    chunk_end_s, came = next(holding, arrivals[-1])
    return time.monotonic() - came + max(0.0, chunk_end_s - moment_s)


@contextlib.contextmanager
def from_file(path: Path, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Source]:
    """Give a sound file at the pace at which it would be heard.

    Raises:
        AudioError: The file is missing or unreadable.
        MissingExtraError: The format needs the extra `media`.
    """
    with open_recording(path) as recording:
        source = Source(str(path), recording.sample_rate, recording.channels, iter(()))

        def chunks() -> Iterator[Chunk | None]:
            begun, heard_s = clock(), 0.0
            n_chunk = max(1, round(CHUNK_S * recording.sample_rate))
            for block in recording.blocks():
                for first in range(0, len(block), n_chunk):
                    chunk = block[first : first + n_chunk]
                    heard_s += len(chunk) / recording.sample_rate
                    time.sleep(max(0.0, begun + heard_s - clock()))
                    yield chunk
            source.problem = recording.problem

        source.chunks = chunks()
        yield source


@contextlib.contextmanager
def from_pipe(pipe: BinaryIO | None = None, *, sample_rate: int) -> Iterator[Source]:
    """Give what comes through a pipe, by default stdin: samples of 16 bits, little-endian, one channel, no header."""
    stream = sys.stdin.buffer if pipe is None else pipe
    waiting: queue.Queue[bytes | None] = queue.Queue(QUEUE_CHUNKS)
    n_bytes = 2 * max(1, round(CHUNK_S * sample_rate))

    def read() -> None:
        # In a thread, since a read that waits for a silent pipe cannot be told to stop.
        with contextlib.suppress(OSError, ValueError):
            while data := _read_some(stream, n_bytes):
                waiting.put(data)
        waiting.put(None)

    def chunks() -> Iterator[Chunk | None]:
        threading.Thread(target=read, name="emogram-pipe", daemon=True).start()
        rest = b""
        while True:
            try:
                data = waiting.get(timeout=0.1)
            except queue.Empty:
                yield None
                continue
            if data is None:
                return
            data = rest + data
            whole = len(data) // 2 * 2
            rest = data[whole:]
            yield (np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32768))[:, np.newaxis]

    yield Source("-", sample_rate, 1, chunks())


def _read_some(stream: BinaryIO, n_bytes: int) -> bytes:
    """Return what is there, up to `n_bytes`, without waiting for all of it."""
    read1 = getattr(stream, "read1", None)
    data: bytes = stream.read(n_bytes) if read1 is None else read1(n_bytes)
    return data


@contextlib.contextmanager
def from_microphone(device: str | int | None = None) -> Iterator[Source]:
    """Give what a microphone hears, through PortAudio.

    Args:
        device: Its number or a part of its name; by default the system's own choice.

    Raises:
        MissingExtraError: The extra `mic` is not installed.
        EmogramError: PortAudio is missing.
        InputError: There is no such device, or it cannot be opened.
    """
    try:
        import sounddevice
    except ImportError:
        raise MissingExtraError("listening to the microphone", "mic") from None
    except OSError:  # the package is there and finds no library
        raise EmogramError(
            "listening to the microphone needs the library PortAudio, which is not there: apt install libportaudio2, "
            "dnf install portaudio, or brew install portaudio"
        ) from None
    waiting: queue.Queue[Chunk] = queue.Queue(QUEUE_CHUNKS)
    lost = 0

    def take(data: npt.NDArray[np.float32], n_frames: int, times: Any, status: Any) -> None:
        nonlocal lost
        try:
            waiting.put_nowait(data.copy())
        except queue.Full:
            lost += 1

    try:
        info = sounddevice.query_devices(device, "input")
        stream = _opened(sounddevice, device, info, take)
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise InputError(
            f"no microphone to listen to ({' '.join(str(error).split())}); plug one in, name one with --device, or "
            "give a file with --from or samples on stdin"
        ) from None
    source = Source(str(info["name"]), round(stream.samplerate), 1, iter(()))

    def chunks() -> Iterator[Chunk | None]:
        quiet_since = time.monotonic()
        while True:
            try:
                chunk = waiting.get(timeout=0.1)
            except queue.Empty:
                if not stream.active or time.monotonic() - quiet_since > SILENT_DEVICE_S:
                    source.problem = f"the microphone '{source.name}' stopped giving sound; was it unplugged?"
                    return
                yield None
                continue
            quiet_since = time.monotonic()
            if lost and source.problem is None:
                source.problem = "this machine does not keep up; some sound was lost"
            yield chunk

    source.chunks = chunks()
    try:
        yield source
    finally:
        with contextlib.suppress(sounddevice.PortAudioError):  # of a device that is gone
            stream.close()


def _opened(sounddevice: Any, device: str | int | None, info: Any, take: Callable[..., None]) -> Any:
    """Open a device at the rate of speech, which needs no resampling, else at its own."""
    own_rate = float(info["default_samplerate"])
    for rate in (MICROPHONE_RATE, own_rate):
        try:
            return sounddevice.InputStream(
                device=device,
                samplerate=rate,
                channels=1,
                dtype="float32",
                blocksize=round(CHUNK_S * rate),
                latency="low",
                callback=take,
            )
        except sounddevice.PortAudioError:
            if rate == own_rate:
                raise
    raise AssertionError("one of the two was returned or raised")
