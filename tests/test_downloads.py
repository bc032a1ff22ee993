"""Downloads against a server on this machine that cuts connections, lies and moves things."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("pooch")

from sources import Source, serving

from emogram import cli, downloads
from emogram.corpora import CORPORA, find_corpus
from emogram.corpora.describe import describe
from emogram.corpora.origin import ByHand, Download, Pointers, RemoteFile
from emogram.downloads import download, pointers, resuming
from emogram.downloads.place import MARKER, working
from emogram.errors import DownloadError, MissingExtraError, OutputError, SettingsError
from emogram.progress import Progress, Task

ARCHIVE = "/Audio_Speech_Actors_01-24.zip"
N_CLIPS = 24


def clip_bytes(seed: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.random.default_rng(seed).normal(0, 0.1, 8000), 16000, format="WAV")
    return stream.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


CLIPS = {
    f"Actor_{actor:02d}/03-01-0{emotion}-01-01-01-{actor:02d}.wav": clip_bytes(10 * actor + emotion)
    for actor in (1, 2, 3)
    for emotion in range(1, 9)
}
CONTENT = zipped(CLIPS)


@pytest.fixture
def source() -> Iterator[Source]:
    with serving() as served:
        served.files[ARCHIVE] = CONTENT
        yield served


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "WAITS_S", (0.0, 0.0, 0.0))


@pytest.fixture
def offered(source: Source, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Offer the small RAVDESS of the source: with a checksum and a size, unless said otherwise."""

    def offer(
        *, checksum: str | None = f"md5:{hashlib.md5(CONTENT).hexdigest()}", size: int | None = len(CONTENT)
    ) -> None:
        archive = RemoteFile(source.url + ARCHIVE, ARCHIVE[1:], checksum, size)
        origin = Download(page="https://example.org/ravdess", archives=(archive,))
        monkeypatch.setitem(CORPORA, "ravdess", replace(CORPORA["ravdess"], n_clips=N_CLIPS, origin=origin))

    offer()
    return offer


def get(folder: Path, **options: object) -> downloads.Downloaded:
    return download("ravdess", folder, accept_licence=True, **options)


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def left_over(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}-download")


# ---------------------------------------------------------------- the whole road


def test_a_corpus_is_downloaded_unpacked_and_described(offered, tmp_path):
    done = get(tmp_path / "ravdess")
    assert (done.receipt.n_clips, done.was_there, done.warnings) == (N_CLIPS, False, ())
    assert files_below(tmp_path) == sorted([f"ravdess/{name}" for name in CLIPS] + [f"ravdess/{MARKER}"])
    description = describe(find_corpus(tmp_path / "ravdess"), workers=1)
    assert (description.n_clips, description.unreadable, len(description.by_speaker)) == (N_CLIPS, (), 3)


def test_a_second_call_asks_the_source_nothing(offered, source, tmp_path):
    get(tmp_path / "ravdess")
    source.asked.clear()
    again = get(tmp_path / "ravdess")
    assert again.was_there
    assert again.receipt.n_clips == N_CLIPS
    assert source.asked == []


def test_what_a_kill_at_the_very_end_left_is_removed_by_the_next_call(offered, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("emogram.downloads.place.clear", lambda _: None)
        get(tmp_path / "ravdess")
    assert left_over(tmp_path / "ravdess").exists()
    assert get(tmp_path / "ravdess").was_there
    assert not left_over(tmp_path / "ravdess").exists()


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_corpus_that_lost_files_since_is_told_of(offered, tmp_path, damage):
    get(tmp_path / "ravdess")
    one = tmp_path / "ravdess" / next(iter(CLIPS))
    one.unlink() if damage == "gone" else one.write_bytes(b"")
    with pytest.raises(DownloadError, match=r"holds 2[34] files .* and 24 .* were downloaded; remove it"):
        get(tmp_path / "ravdess")


def test_a_folder_of_other_things_is_left_alone(offered, source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(OutputError, match="holds other things than a download already; name another folder"):
        get(tmp_path / "mine")
    assert files_below(tmp_path) == ["mine/thesis.txt"]
    assert source.asked == []


def test_an_empty_folder_is_taken(offered, tmp_path):
    (tmp_path / "ravdess").mkdir()
    assert get(tmp_path / "ravdess").receipt.n_clips == N_CLIPS


def test_the_licence_must_be_accepted_first(offered, source, tmp_path):
    with pytest.raises(SettingsError, match=r"ravdess is under the licence: CC BY-NC-SA 4\.0 \(https://example.org"):
        download("ravdess", tmp_path / "ravdess")
    assert source.asked == []
    assert files_below(tmp_path) == []


def test_without_pooch_the_extra_is_named(offered, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[download\]'"):
        get(tmp_path / "ravdess")


def test_two_processes_do_not_work_on_one_folder(offered, tmp_path):
    with working(tmp_path / "ravdess"), pytest.raises(DownloadError, match="another process downloads into it"):
        get(tmp_path / "ravdess")
    assert get(tmp_path / "ravdess").receipt.n_clips == N_CLIPS


@pytest.mark.parametrize("name", [name for name, each in CORPORA.items() if isinstance(each.origin, ByHand)])
def test_what_needs_a_person_says_how_in_words(name, tmp_path):
    with pytest.raises(DownloadError, match=rf"^{name} \(.*\) cannot be downloaded by a program: at http") as caught:
        download(name, tmp_path / name, accept_licence=True)
    assert caught.value.code == "by_hand"


# ---------------------------------------------------------------- interruptions


def test_a_cut_connection_is_gone_on_with_from_the_last_byte(offered, source, tmp_path):
    source.cuts = [100_000, 50_000]
    get(tmp_path / "ravdess")
    assert source.spans == [None, "bytes=100000-", "bytes=150000-"]


def test_a_short_answer_that_the_library_takes_for_whole_is_gone_on_with(offered, source, tmp_path, monkeypatch):
    original = resuming._chunks

    def forgiving(response):
        with contextlib.suppress(resuming._CutError):
            yield from original(response)

    monkeypatch.setattr(resuming, "_chunks", forgiving)
    source.cuts = [100_000]
    get(tmp_path / "ravdess")
    assert source.spans == [None, "bytes=100000-"]


def test_a_killed_download_is_gone_on_with_by_the_next_process(offered, source, tmp_path):
    source.pause_s = 0.05
    folder = tmp_path / "ravdess"
    script = (
        "import dataclasses, sys; from emogram import downloads, corpora; from emogram.corpora.origin import *\n"
        "origin = Download('https://example.org', (RemoteFile(sys.argv[1], 'a.zip', 'md5:' + sys.argv[2]),))\n"
        "old = corpora.CORPORA['ravdess']\n"
        f"corpora.CORPORA['ravdess'] = dataclasses.replace(old, n_clips={N_CLIPS}, origin=origin)\n"
        "print(downloads.download('ravdess', sys.argv[3], accept_licence=True).receipt.n_clips)"
    )
    command = [sys.executable, "-c", script, source.url + ARCHIVE, hashlib.md5(CONTENT).hexdigest(), str(folder)]
    child = subprocess.Popen(command)
    part = left_over(folder) / "archives" / "a.zip.part"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 100_000):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    kept = part.stat().st_size
    assert 100_000 < kept < len(CONTENT)
    assert not folder.exists()
    source.pause_s = 0.0
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (again.stdout, again.stderr) == (f"{N_CLIPS}\n", "")
    assert source.spans == [None, f"bytes={kept}-"]
    assert files_below(tmp_path) == sorted([f"ravdess/{name}" for name in CLIPS] + [f"ravdess/{MARKER}"])


def test_a_server_without_ranges_sends_the_whole_again(offered, source, tmp_path):
    source.ranges = False
    source.cuts = [100_000]
    get(tmp_path / "ravdess")
    assert source.spans == [None, "bytes=100000-"]


def test_a_download_cut_after_its_last_byte_is_whole(offered, source, tmp_path):
    archives = left_over(tmp_path / "ravdess") / "archives"
    archives.mkdir(parents=True)
    (archives / f"{ARCHIVE[1:]}.part").write_bytes(CONTENT)
    note = {"url": source.url + ARCHIVE, "version": source.etag}
    (archives / f"{ARCHIVE[1:]}.part.json").write_text(json.dumps(note))
    get(tmp_path / "ravdess")
    assert source.spans == [f"bytes={len(CONTENT)}-"]


def test_a_file_that_changed_in_between_is_taken_anew(offered, source, tmp_path):
    offered(checksum=None, size=None)
    source.cuts = [100_000]
    source.files[ARCHIVE] = zipped({**CLIPS, "README.txt": b"an older version"})
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(resuming.time, "sleep", lambda _: change(source))
        get(tmp_path / "ravdess")
    assert source.spans == [None, "bytes=100000-", None]
    assert "ravdess/README.txt" not in files_below(tmp_path)


def change(source: Source) -> None:
    source.files[ARCHIVE], source.etag = CONTENT, '"two"'


def test_without_a_checksum_or_a_version_nothing_is_joined(offered, source, tmp_path):
    offered(checksum=None, size=None)
    source.etag = None
    source.cuts = [100_000]
    get(tmp_path / "ravdess")
    assert source.spans == [None, None], "two halves may be of two files, and nothing would tell"


def test_a_length_that_is_not_told_is_no_obstacle(offered, source, tmp_path):
    offered(size=None)
    source.length = False
    shown = Recorder()
    get(tmp_path / "ravdess", progress=shown)
    assert shown.tasks[0] == (f"Downloading {ARCHIVE[1:]}", 1, "files", 1)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(offered, source, tmp_path, status):
    source.statuses = [status, status]
    get(tmp_path / "ravdess")
    assert len(source.asked) == 3


def test_a_server_that_stays_busy_is_given_up_and_what_came_is_kept(offered, source, tmp_path):
    source.cuts = [100_000]
    source.statuses = [None, 503, 503, 503, 503]
    with pytest.raises(
        DownloadError, match="the server answers 503, 4 times in a row; the same command tries again, and "
    ):
        get(tmp_path / "ravdess")
    source.statuses = []
    get(tmp_path / "ravdess")
    assert source.spans[-1] == "bytes=100000-"


def test_nobody_at_the_address_is_told(offered, source, tmp_path, monkeypatch):
    with serving() as other:
        gone = other.url
    with pytest.raises(DownloadError, match=r"4 times in a row; the same command tries again$") as caught:
        get(tmp_path / "ravdess", places=[f"{gone}/x.zip"])
    assert caught.value.code == "unreachable"


# ---------------------------------------------------------------- moved, wrong, damaged


def test_a_moved_file_is_followed(offered, source, tmp_path):
    source.moved[ARCHIVE] = "/new/place.zip"
    source.files["/new/place.zip"] = CONTENT
    assert get(tmp_path / "ravdess").receipt.n_clips == N_CLIPS


def test_a_file_that_is_gone_says_where_to_look_and_what_to_do(offered, source, tmp_path):
    del source.files[ARCHIVE]
    with pytest.raises(
        DownloadError, match=r"no longer there \(404\); look at https://example.org/ravdess .* --from"
    ) as caught:
        get(tmp_path / "ravdess")
    assert caught.value.code == "not_found"
    assert not (tmp_path / "ravdess").exists()
    source.files["/elsewhere.zip"] = CONTENT
    assert get(tmp_path / "ravdess", places=[f"{source.url}/elsewhere.zip"]).receipt.n_clips == N_CLIPS


def test_a_circle_of_redirects_ends(offered, source, tmp_path):
    source.moved = {ARCHIVE: "/b.zip", "/b.zip": ARCHIVE}
    with pytest.raises(DownloadError, match=r"redirects; look at https://example\.org/ravdess"):
        get(tmp_path / "ravdess")


def test_encryption_is_not_given_up_on_the_way():
    with pytest.raises(DownloadError, match=r"leads to http://b/, which is not encrypted"):
        resuming._refuse_downgrade("https://a/", "http://b/")


@pytest.mark.parametrize("change", ["a byte", "the size"])
def test_a_wrong_checksum_is_refused_and_nothing_kept(offered, source, tmp_path, change):
    wrong = bytearray(CONTENT)
    wrong[len(wrong) // 2] ^= 1
    source.files[ARCHIVE] = bytes(wrong) if change == "a byte" else CONTENT + b"x"
    with pytest.raises(DownloadError) as caught:
        get(tmp_path / "ravdess")
    assert caught.value.code == "checksum"
    assert not (tmp_path / "ravdess").exists()
    assert not [name for name in files_below(tmp_path) if name.endswith((".zip", ".wav"))]
    source.files[ARCHIVE] = CONTENT
    assert get(tmp_path / "ravdess").receipt.n_clips == N_CLIPS


def test_a_damaged_part_of_an_earlier_run_is_thrown_away(offered, source, tmp_path):
    source.cuts = [100_000]
    source.statuses = [None, *[503] * 4]
    with pytest.raises(DownloadError):
        get(tmp_path / "ravdess")
    part = left_over(tmp_path / "ravdess") / "archives" / f"{ARCHIVE[1:]}.part"
    part.write_bytes(bytes(100_000))
    source.statuses = []
    assert get(tmp_path / "ravdess").receipt.n_clips == N_CLIPS
    assert source.spans[-2:] == ["bytes=100000-", None]


def test_a_web_page_in_place_of_an_archive_is_refused(offered, source, tmp_path):
    offered(checksum=None, size=None)
    source.files[ARCHIVE] = b"<!DOCTYPE html><title>Log in</title>"
    for _ in range(2):
        with pytest.raises(DownloadError, match="a web page in place of the archive"):
            get(tmp_path / "ravdess")
    source.files[ARCHIVE] = CONTENT
    assert get(tmp_path / "ravdess").receipt.n_clips == N_CLIPS, "a refused archive is not used a second time"


def test_a_part_of_a_corpus_is_not_taken_for_it(offered, source, tmp_path):
    offered(checksum=None, size=None)
    source.files[ARCHIVE] = zipped(dict(list(CLIPS.items())[:20]))
    with pytest.raises(DownloadError, match=r"holds 20 clips of 24: .* look at https://example.org/ravdess") as caught:
        get(tmp_path / "ravdess")
    assert caught.value.code == "incomplete"
    assert not (tmp_path / "ravdess").exists()
    source.files[ARCHIVE] = CONTENT
    assert get(tmp_path / "ravdess").receipt.n_clips == N_CLIPS


def test_a_clip_less_is_only_told_of(offered, source, tmp_path):
    offered(checksum=None, size=None)
    source.files[ARCHIVE] = zipped(dict(list(CLIPS.items())[:23]))
    assert get(tmp_path / "ravdess").warnings == ("23 clips, and its authors tell of 24",)


def test_an_archive_at_hand_is_checked_and_unpacked_and_stays(offered, source, tmp_path):
    mine = tmp_path / "mine.zip"
    mine.write_bytes(CONTENT)
    assert get(tmp_path / "ravdess", places=[str(mine)]).receipt.n_clips == N_CLIPS
    assert source.asked == []
    assert mine.exists()
    mine.write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match=r"mine\.zip: md5 .*, and its source publishes"):
        get(tmp_path / "other", places=[str(mine)])
    with pytest.raises(SettingsError, match="no such file, and no address; expected the archive Audio_Speech"):
        get(tmp_path / "other", places=[str(tmp_path / "none.zip")])
    with pytest.raises(SettingsError, match="2 places for 1 archives; expected one for each: Audio_Speech"):
        get(tmp_path / "other", places=["a", "b"])


# ---------------------------------------------------------------- the disk


def test_a_disk_that_is_too_small_is_seen_first(offered, source, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": len(CONTENT) - 1})
    monkeypatch.setattr("emogram.files.shutil.disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match="the download of ravdess takes 0 MB, and 0 MB are free"):
        get(tmp_path / "ravdess")
    assert source.asked == []


def test_what_is_unpacked_must_fit_too(offered, source, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": len(CONTENT) + 1000})
    monkeypatch.setattr("emogram.files.shutil.disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match="what is unpacked takes"):
        get(tmp_path / "ravdess")
    assert not [name for name in files_below(tmp_path) if name.endswith(".wav")]


@pytest.mark.parametrize("suffix", [".part", ".wav", ".json"])
def test_a_disk_that_fills_up_is_told_and_the_same_call_goes_on(offered, source, tmp_path, monkeypatch, suffix):
    opened = Path.open

    def full(path: Path, mode: str = "r", *arguments: object, **options: object):
        file = opened(path, mode, *arguments, **options)
        if path.suffix == suffix and any(letter in mode for letter in "wax"):
            return Full(file)
        return file

    class Full:
        """A file on a disk that is full after so many bytes."""

        def __init__(self, file) -> None:
            self.file, self.left = file, 150_000 if suffix == ".part" else 5

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, content) -> int:
            self.left -= len(content)
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(OutputError, match="the disk is full; free some space and run the same command again"):
            get(tmp_path / "ravdess")
    assert not (tmp_path / "ravdess").exists()
    source.asked.clear()
    assert get(tmp_path / "ravdess").receipt.n_clips == N_CLIPS
    if suffix == ".part":
        assert source.spans[0] is not None, "what had come was gone on with"


# ---------------------------------------------------------------- Git LFS


def pointer(content: bytes) -> bytes:
    return (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{hashlib.sha256(content).hexdigest()}\nsize {len(content)}\n"
    ).encode()


CREMAD_CLIPS = {
    f"AudioWAV/{actor}_DFA_{emotion}_XX.wav": clip_bytes(actor + number)
    for actor in (1001, 1002)
    for number, emotion in enumerate(("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"))
}


@pytest.fixture
def cremad(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository whose archive holds pointers, and the files at their own addresses."""
    held = {f"CREMA-D-master/{name}": pointer(content) for name, content in CREMAD_CLIPS.items()}
    held |= {"CREMA-D-master/VideoFlash/1001_DFA_ANG_XX.flv": pointer(b"video"), "CREMA-D-master/LICENSE.txt": b"ODbL"}
    source.files["/master.zip"] = zipped(held)
    source.files |= {f"/media/{name}": content for name, content in CREMAD_CLIPS.items()}
    known = CORPORA["cremad"]
    origin = replace(
        known.origin,
        archives=(RemoteFile(f"{source.url}/master.zip", "CREMA-D-master.zip"),),
        pointers=Pointers(f"{source.url}/media/", size=sum(map(len, CREMAD_CLIPS.values()))),
    )
    monkeypatch.setitem(CORPORA, "cremad", replace(known, n_clips=len(CREMAD_CLIPS), origin=origin))
    monkeypatch.setattr(pointers, "AT_ONCE", 2)


def test_pointers_are_replaced_by_their_files(cremad, tmp_path):
    download("cremad", tmp_path / "cremad", accept_licence=True)
    root = tmp_path / "cremad" / "CREMA-D-master"
    assert files_below(root) == sorted([*CREMAD_CLIPS, "LICENSE.txt"]), "no video"
    assert {name: (root / name).read_bytes() for name in CREMAD_CLIPS} == CREMAD_CLIPS
    assert find_corpus(tmp_path / "cremad").name == "cremad"


def test_files_that_came_already_are_not_asked_for_again(cremad, source, tmp_path):
    last = f"/media/{max(CREMAD_CLIPS)}"
    content = source.files.pop(last)
    with pytest.raises(DownloadError, match="no longer there"):
        download("cremad", tmp_path / "cremad", accept_licence=True)
    assert not (tmp_path / "cremad").exists()
    source.files[last] = content
    source.asked.clear()
    download("cremad", tmp_path / "cremad", accept_licence=True)
    assert [path for path, _ in source.asked] == [last]


def test_a_file_that_is_not_what_its_pointer_says_is_refused(cremad, source, tmp_path):
    name = f"/media/{max(CREMAD_CLIPS)}"
    right = source.files[name]
    source.files[name] = right[:-1] + bytes([right[-1] ^ 1])
    with pytest.raises(DownloadError, match="is not what its checksum says"):
        download("cremad", tmp_path / "cremad", accept_licence=True)
    source.files[name] = right
    assert download("cremad", tmp_path / "cremad", accept_licence=True).receipt.n_clips == len(CREMAD_CLIPS)


# ---------------------------------------------------------------- progress and the command


class Recorder(Progress):
    """Keeps what it is told: what, total, unit and steps done of each task."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int, str, int]] = []

    @contextlib.contextmanager
    def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Task]:
        done = 0

        class Counting(Task):
            def advance(self, steps: int = 1, *, note: str = "") -> None:
                nonlocal done
                done += steps

        yield Counting()
        self.tasks.append((what, total, unit, done))


def test_progress_tells_megabytes_once_over_all_attempts(offered, source, tmp_path, monkeypatch):
    monkeypatch.setattr(resuming, "MEGABYTE", 1000)
    source.cuts = [100_000, 50_000]
    shown = Recorder()
    get(tmp_path / "ravdess", progress=shown)
    total = -(-len(CONTENT) // 1000)
    assert shown.tasks == [
        (f"Downloading {ARCHIVE[1:]}", total, "MB", total),
        (f"Unpacking {ARCHIVE[1:]}", N_CLIPS, "files", N_CLIPS),
    ]


def test_the_command_tells_the_licence_and_asks_for_its_acceptance(offered, source, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["corpora", "download", "ravdess"]) == 2
    told = capfd.readouterr().err
    assert "ravdess: CC BY-NC-SA 4.0, https://example.org/ravdess" in told
    assert "Cite: S. R. Livingstone" in told
    assert "--accept-licence" in told
    assert source.asked == []
    assert cli.run(["corpora", "download", "ravdess", "--accept-licence", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told == {
        "corpus": "ravdess",
        "folder": str(tmp_path / "ravdess"),
        "clips": N_CLIPS,
        "licence": "CC BY-NC-SA 4.0",
        "was_there": False,
        "warnings": [],
    }
    assert cli.run(["corpora", "download", "ravdess"]) == 0, "what is there needs no acceptance"
    assert "24 clips of ravdess, all there already" in capfd.readouterr().err


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2)])
def test_a_person_is_asked(offered, tmp_path, monkeypatch, answer, code):
    monkeypatch.setattr("emogram.cli.data._is_a_person", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert cli.run(["corpora", "download", "ravdess", str(tmp_path / "ravdess")]) == code


def test_an_unknown_corpus_is_answered_with_the_one_that_was_meant(capfd):
    assert cli.run(["corpora", "download", "crema-d"]) == 2
    assert "unknown corpus 'crema-d' (did you mean 'cremad'?)" in capfd.readouterr().err


# ---------------------------------------------------------------- what is offered


@pytest.mark.parametrize("name", [name for name, each in CORPORA.items() if isinstance(each.origin, Download)])
def test_every_offer_is_encrypted_and_well_formed(name):
    origin = CORPORA[name].origin
    for archive in origin.archives:
        assert archive.url.startswith("https://")
        assert archive.name.endswith((".zip", ".tar", ".tar.gz"))
        kind, _, digest = (archive.checksum or "md5:" + 32 * "0").partition(":")
        assert len(digest) == 2 * hashlib.new(kind).digest_size
    assert len({archive.name for archive in origin.archives}) == len(origin.archives)


@pytest.mark.parametrize("name", CORPORA)
def test_the_page_on_corpora_tells_of_each_what_the_code_knows(name):
    page = (Path(__file__).parents[1] / "docs" / "corpora.md").read_text(encoding="utf-8")
    known = CORPORA[name]
    (row,) = [line for line in page.splitlines() if f"| `{name}` |" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert f"]({known.origin.page})" in cells[0]
    assert cells[2:4] == [f"{known.n_clips:,}", str(known.n_speakers or "-")]
    assert known.language in cells[4].split(", ")
    assert cells[5:7] == [known.speech, known.licence]
    command = f"`emogram corpora download {name}`"
    assert cells[7] == command if isinstance(known.origin, Download) else cells[7].startswith("by hand: ")
