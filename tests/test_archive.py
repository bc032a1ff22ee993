"""Archives: the rows are those of predict and analyze, each exactly once, whatever dies on the way."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

import emogram
from emogram import cli, voices
from emogram.archive import score, status
from emogram.archive.inputs import list_inputs, names_of
from emogram.archive.places import open_place
from emogram.archive.plan import cut, read_plan
from emogram.audio import AUDIO_SUFFIXES
from emogram.config import ArchiveConfig, TimelineConfig
from emogram.errors import InputError, ModelError, OutputError, SettingsError
from emogram.testing import tiny_bundle
from emogram.timeline import analyze
from emogram.writers.rows import segment_rows

SMALL = ArchiveConfig(shard_files=4)


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("model"), abstain_threshold=0.2)


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """Eighteen clips in three folders."""
    root = tmp_path_factory.mktemp("tree")
    for number in range(18):
        sound(root / f"day{number % 3}" / f"clip{number:02d}.wav", 0.3 + 0.02 * number, seed=number)
    return root


def sound(path: Path, seconds: float = 0.5, *, seed: int = 0, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).normal(0.0, 0.1, round(seconds * rate)), rate)
    return path


def talk(path: Path) -> Path:
    """Three sentences of a synthetic voice, with pauses, on two channels."""
    voice = voices.voices(1)[0]
    parts = [voices.speak(label, speaker=voice, seed=1) for label in ("angry", "calm", "happy")]
    pause = np.zeros(16000, np.float32)
    mono = np.concatenate([piece for part in parts for piece in (part, pause)])
    soundfile.write(path, np.stack([mono, 0.5 * mono], axis=1), 16000)
    return path


def rows_in(out: Path) -> list[dict]:
    """All rows that whoever asks now sees, in order."""
    rows = [row for part in sorted(out.glob("*.parquet")) for row in pq.read_table(part).to_pylist()]
    return sorted(rows, key=lambda row: (row["file"], row["start_s"] or 0.0, row["channel"] or 0))


def files_in(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.parquet"))}


@pytest.fixture(scope="session")
def whole(tree, model, tmp_path_factory) -> Path:
    """The tree, scored without any trouble."""
    out = tmp_path_factory.mktemp("whole") / "out"
    reached = score(tree, out, model=model, config=SMALL, workers=2)
    assert (reached.complete, reached.n_shards, reached.n_rows, reached.n_failed) == (True, 5, 18, 0)
    return out


# ---------------------------------------------------------------- the rows


def test_rows_of_clips_are_those_of_predict(tree, model, whole, capsys):
    assert cli.run(["predict", str(tree), "--model", str(model), "--json"]) == 0
    said = {line["file"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    rows = rows_in(whole)
    assert [row["file"] for row in rows] == sorted(said)
    for row in rows:
        one = said[row["file"]]
        (segment,) = one["segments"]
        assert {label: row[label] for label in one["model"]["labels"]} == {
            each["label"]: each["score"] for each in segment["scores"]
        }
        for name in ("label", "confidence", "abstained", "speech_ratio", "channel"):
            assert row[name] == segment[name]
        assert (row["start_s"], row["end_s"]) == (segment["start_ms"] / 1000, segment["end_ms"] / 1000)
        about = one["audio"]
        assert (row["duration_s"], row["sample_rate"], row["channels"]) == (
            about["duration_ms"] / 1000, about["sample_rate"], about["channels"],
        )  # fmt: skip
        assert row["warnings"] == one["warnings"]
        assert (row["error"], row["message"], row["partial"]) == (None, None, False)


@pytest.mark.parametrize("channels", ["mix", "split"])
def test_rows_of_segments_are_those_of_analyze(tmp_path, model, channels):
    path = talk(tmp_path / "talk.wav")
    config = TimelineConfig(smooth=False)
    wanted = segment_rows(analyze(path, model=model, channels=channels, config=config))
    assert len(wanted) > 2
    score(
        path, tmp_path / "out", model=model, workers=1,
        config=ArchiveConfig(rows="segments", channels=channels, timeline=config),
    )  # fmt: skip
    rows = rows_in(tmp_path / "out")
    assert [{name: row[name] for name in wanted[0]} for row in rows] == sorted(
        wanted, key=lambda row: (row["start_s"], row["channel"] or 0)
    )
    assert {(row["file"], row["channels"], row["partial"], row["error"]) for row in rows} == {
        (str(path), 2, False, None)
    }


def test_a_recording_in_which_nobody_speaks_has_one_row_without_a_label(tmp_path, model):
    path = sound(tmp_path / "noise.wav", 3.0)
    reached = score(path, tmp_path / "out", model=model, config=ArchiveConfig(rows="segments"), workers=1)
    (row,) = rows_in(tmp_path / "out")
    assert (row["label"], row["error"], row["start_s"], row["end_s"], row["speech_ratio"]) == (None, None, 0, 3, 0)
    assert row["warnings"] == ["no speech found"]
    assert (reached.n_failed, reached.sound_s) == (0, 3.0)


def test_a_recording_that_is_cut_off_is_scored_as_far_as_it_goes(tmp_path, model):
    path = talk(tmp_path / "talk.wav")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    reached = score(path, tmp_path / "out", model=model, config=ArchiveConfig(rows="segments"), workers=1)
    rows = rows_in(tmp_path / "out")
    assert (reached.n_partial, reached.n_failed) == (1, 0)
    assert {(row["partial"], row["error"]) for row in rows} == {(True, None)}
    assert any("cut off" in warning for warning in rows[0]["warnings"])
    assert rows[0]["label"] is not None


def test_a_manifest_names_stretches_speakers_and_files_elsewhere(tmp_path, model):
    sound(tmp_path / "sounds" / "a.wav", 2.0)
    lines = ["path,start,end,speaker", "sounds/a.wav,0.5,1.25,anna", "sounds/a.wav,,,", "sounds/a.wav,1.5,,ben"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    score(tmp_path / "list.csv", tmp_path / "out", model=model, workers=1)
    rows = rows_in(tmp_path / "out")
    assert [(row["start_s"], row["end_s"], row["speaker"]) for row in rows] == [
        (0.0, 2.0, None), (0.5, 1.25, "anna"), (1.5, 2.0, "ben"),
    ]  # fmt: skip
    samples, rate = soundfile.read(tmp_path / "sounds" / "a.wav")
    for row in rows:
        piece = samples[round(rate * row["start_s"]) : round(rate * row["end_s"])]
        said = emogram.load(model).predict(piece, sample_rate=rate)
        assert row["label"] == said.label
        assert row["confidence"] == pytest.approx(said.confidence, rel=1e-4)


def test_duckdb_counts_labels_in_one_line(whole):
    found = duckdb.sql(f"select label, count(*) from '{whole}/*.parquet' group by 1").fetchall()
    assert dict(found) == Counter(row["label"] for row in rows_in(whole))


# ---------------------------------------------------------------- the plan


def test_the_plan_depends_on_names_alone(tree, model, tmp_path, monkeypatch):
    """Whatever the order, the folder one stands in, and how often something is named."""
    plans = []
    for number, (where, given) in enumerate(
        [(tree, ["."]), (tree.parent, [tree / "day2", tree / "day1", tree]), (tmp_path, [f"{tree}/*/*.wav"])]
    ):
        monkeypatch.chdir(where)
        out = tmp_path / f"out{number}"
        score(given, out, model=model, config=SMALL, should_stop=lambda: True)
        plan, content = read_plan(open_place(str(out)))
        assert content["inputs"]["n"] == 18
        plans.append((content["inputs"]["sha256"], content["shards"], [plan.shard(i) for i in range(plan.n_shards)]))
    assert plans[0] == plans[1] == plans[2]
    paths = [each.path for shard in plans[0][2] for each in shard.inputs]
    assert paths == sorted(str(path) for path in tree.rglob("*.wav"))


def test_shards_hold_every_input_once_and_are_full_but_not_overfull():
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = (rng.pareto(1.0, rng.integers(1, 300)) * 1000).astype(np.int64)
        firsts = cut(sizes, most_files=20, most_bytes=20_000)
        assert firsts[0] == 0 and firsts[-1] == len(sizes)
        shards = [sizes[a:b] for a, b in itertools.pairwise(firsts)]
        assert all(1 <= len(shard) <= 20 for shard in shards)
        assert all(shard.sum() <= 20_000 or len(shard) == 1 or shard[:-1].sum() == 0 for shard in shards)
        for shard, after in itertools.pairwise(shards):  # none ends before it must
            assert len(shard) == 20 or shard.sum() + after[0] > 20_000


def test_an_archive_of_any_size_has_shards_that_are_worth_a_file_and_many_enough():
    for n, wanted in ((1, 1), (64, 1), (65, 2), (1440, 23), (10_000, 64), (1_000_000, 500)):
        assert len(cut(np.ones(n, np.int64), most_files=None, most_bytes=1e9)) - 1 == wanted


@pytest.mark.parametrize(("rows", "wanted"), [("clips", 1), ("segments", 4)])
def test_files_of_unknown_size_are_not_heaped_into_one_shard(tmp_path, model, rows, wanted):
    (tmp_path / "list.txt").write_text("\n".join(f"s3://bucket/{number}.wav" for number in range(64)))
    reached = score(
        tmp_path / "list.txt", tmp_path / "out", model=model, config=ArchiveConfig(rows=rows), should_stop=lambda: True
    )
    assert (reached.n_shards, reached.n_inputs, reached.n_committed) == (wanted, 64, 0)


def test_names_of_any_bytes_and_links_in_a_circle(tmp_path):
    sound(tmp_path / "tree" / "a.wav")
    strange = os.fsencode(tmp_path / "tree") + b"/b\xff.wav"
    with open(strange, "wb") as file:  # noqa: PTH123
        file.write((tmp_path / "tree" / "a.wav").read_bytes())
    (tmp_path / "tree" / "again").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "notes.txt").write_text("no sound")
    (tmp_path / "tree" / ".hidden.wav").touch()
    listing = list_inputs(names_of([tmp_path / "tree"]), suffixes=AUDIO_SUFFIXES)
    assert listing.table["path"].to_pylist() == [os.fsencode(tmp_path / "tree" / "a.wav"), strange]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nowhere.wav"], r"nowhere\.wav: no such file or folder"),
        (["*.flac"], r"\*\.flac: no sound file in it or of that name"),
        ([], "nothing to score"),
        (["empty.txt"], r"empty\.txt: nothing in it to score"),
        (["list.csv"], r"list\.csv: no column for the path; expected one of path, file"),
        (["missing.csv"], r"missing\.csv: no such manifest"),
    ],
)
def test_what_stands_for_nothing_is_refused_before_any_work(tmp_path, model, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "list.csv").write_text("name,label\na.wav,happy\n")
    with pytest.raises(InputError, match=message):
        score(given, tmp_path / "out", model=model)
    assert not list(tmp_path.glob("out/*"))


# ---------------------------------------------------------------- going on


def test_a_second_run_does_nothing_and_says_the_same(tree, model, whole):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    reached = score(tree, whole, model=model, config=SMALL)
    assert (reached.complete, reached.n_now, reached.n_rows) == (True, 0, 18)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*.parquet")}.items() <= before.items()
    assert status(whole).to_dict() == {**reached.to_dict(), "seconds": 0.0}
    assert (whole / "_SUCCESS").is_file()


def test_a_damaged_or_unmarked_shard_is_done_again_and_no_other(tree, model, whole, tmp_path):
    import shutil

    out = tmp_path / "out"
    shutil.copytree(whole, out)
    content = bytearray((out / "part-00001.parquet").read_bytes())
    content[len(content) // 2] ^= 1  # of the same size
    (out / "part-00001.parquet").write_bytes(content)
    (out / "_emogram" / "committed" / "00003.json").write_text("{")
    (out / "part-00004.parquet").unlink()
    assert status(out).n_committed == 2
    assert status(out, verify=False).n_committed == 3
    reached = score(tree, out, model=model, config=SMALL, workers=1)
    assert (reached.complete, reached.n_now) == (True, 4 + 4 + 2)
    assert files_in(out) == files_in(whole)


def test_other_work_in_the_same_folder_is_refused_by_name(tree, model, tmp_path):
    sound(tmp_path / "more.wav")
    (tmp_path / "list.txt").write_text("more.wav\n")
    other = tiny_bundle(tmp_path / "other", seed=1)
    out = tmp_path / "out"
    given = [tree, tmp_path / "list.txt"]
    score(given, out, model=model, should_stop=lambda: True)
    advice = "name another folder with --out, or give what this one was begun with"
    with pytest.raises(SettingsError, match=f"holds results of another model .* {advice}"):
        score(given, out, model=other)
    with pytest.raises(SettingsError, match=r"other settings \(check true there, false given\)"):
        score(given, out, model=model, config=ArchiveConfig(check=False))
    with pytest.raises(SettingsError, match=r"other settings \(switch_cost 6.0 there, 4.0 given\)"):
        score(given, out, model=model, config=ArchiveConfig(timeline=TimelineConfig(switch_cost=4)))
    with pytest.raises(SettingsError, match=rf"other inputs \({tmp_path}/list.txt only there\)"):
        score([tree], out, model=model)
    with pytest.raises(SettingsError, match=r"other inputs \(.*/more.wav only given\)"):
        score([*given, tmp_path / "more.wav"], out, model=model)
    (tmp_path / "list.txt").write_text("more.wav\nmore.wav\n")
    with pytest.raises(SettingsError, match=r"the manifest .*list.txt has changed since"):
        score(given, out, model=model)
    (out / "_emogram" / "plan.json").write_text("{}")
    with pytest.raises(OutputError, match=r"plan.json: no plan of emogram, or damaged .* score anew"):
        score(given, out, model=model)


@pytest.mark.slow
def test_jobs_of_a_scheduler_share_the_shards(tree, model, whole, tmp_path):
    """Two at the same moment, neither knowing of the other, in a folder that neither has planned."""
    out = tmp_path / "out"
    jobs = [
        subprocess.Popen(
            command("score", tree, "--out", out, "--model", model, "--shard-files", 4, "--workers", 1,
                    "--shard", f"{number}/2", "--json"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in (1, 2)
    ]  # fmt: skip
    said = [json.loads(job.communicate(timeout=120)[0]) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0]
    assert [(each["n_shards"], each["n_now"], each["complete"]) for each in said] == [(3, 10, True), (2, 8, True)]
    assert files_in(out) == files_in(whole)
    assert (out / "_SUCCESS").is_file()
    assert status(out).complete


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "emogram", *map(str, arguments)]


@pytest.mark.parametrize("part", [(0, 2), (3, 2)])
def test_parts_count_from_one(tree, model, tmp_path, part):
    with pytest.raises(SettingsError, match="parts count from 1"):
        score(tree, tmp_path / "out", model=model, part=part)


# ---------------------------------------------------------------- what goes wrong


@pytest.fixture
def trouble(tmp_path) -> Path:
    """A manifest of one good file among bad ones of every kind."""
    folder = tmp_path / "trouble"
    sound(folder / "good.wav")
    (folder / "empty.wav").touch()
    (folder / "corrupt.flac").write_bytes(b"fLaC" + bytes(1000))
    sound(folder / "short.wav", 0.05)
    soundfile.write(folder / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(folder / "nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    sound(folder / "vanishes.wav")
    (folder / "folder.wav").mkdir()
    names = ["good.wav", "empty.wav", "corrupt.flac", "short.wav", "silent.wav", "nan.wav", "vanishes.wav"]
    (folder / "list.txt").write_text("\n".join([*names, "folder.wav", "never-there.wav"]))
    return folder / "list.txt"


def test_a_bad_file_is_a_row_with_its_error_and_harms_no_other(trouble, model, tmp_path):
    out = tmp_path / "out"
    score(trouble, out, model=model, should_stop=lambda: True)  # plans, and does nothing
    (trouble.parent / "vanishes.wav").unlink()
    reached = score(trouble, out, model=model, workers=1)
    found = {Path(row["file"]).name: row for row in rows_in(out)}
    assert {name: row["error"] for name, row in found.items()} == {
        "good.wav": None, "empty.wav": "empty", "corrupt.flac": "unreadable", "short.wav": "too_short",
        "silent.wav": "silent", "nan.wav": "not_finite", "vanishes.wav": "missing", "folder.wav": "unreadable",
        "never-there.wav": "missing",
    }  # fmt: skip
    assert found["good.wav"]["label"] is not None
    for name, row in found.items():
        if name != "good.wav":
            assert row["label"] is None and row["message"].startswith(str(trouble.parent / name))
    assert reached.failed == {"missing": 2, "unreadable": 2, "empty": 1, "too_short": 1, "silent": 1, "not_finite": 1}
    # What was mended since is scored, when asked to.
    sound(trouble.parent / "never-there.wav")
    assert score(trouble, out, model=model, workers=1).n_now == 0
    assert score(trouble, out, model=model, workers=1, retry_failed=True).failed["missing"] == 1
    assert len(rows_in(out)) == 9


SABOTAGE = """
import os, signal, sys, time
import soundfile

first = os.path.join(os.path.dirname(__file__), "first")
if "worker" in " ".join(sys.orig_argv) and not os.path.exists(first):
    open(first, "w").close()
    os.kill(os.getpid(), signal.SIGKILL)  # while it starts

opened = soundfile.SoundFile.__init__

def __init__(self, file, *arguments, **options):
    path = os.fsdecode(file) if isinstance(file, (str, bytes, os.PathLike)) else ""
    name = os.path.basename(path)
    if "once" in name and not os.path.exists(path + ".died"):
        open(path + ".died", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    if "kills" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hangs" in name:
        time.sleep(1000)
    opened(self, file, *arguments, **options)

soundfile.SoundFile.__init__ = __init__
"""


@pytest.fixture
def sabotage(tmp_path, monkeypatch):
    """Let the decoder of every new process die or hang at files of certain names."""
    folder = tmp_path / "sabotage"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.slow
def test_a_file_that_kills_or_hangs_its_process_takes_no_other_with_it(tmp_path, model, sabotage):
    names = ["a.wav", "b-kills.wav", "c.wav", "d-once.wav", "e-hangs.wav", "f.wav"]
    for number, name in enumerate(names):
        sound(tmp_path / "in" / name, seed=number)
    reached = score(tmp_path / "in", tmp_path / "out", model=model, workers=1, time_limit_s=4.0)
    found = {Path(row["file"]).name: row for row in rows_in(tmp_path / "out")}
    assert {name: row["error"] for name, row in found.items()} == {
        **dict.fromkeys(names), "b-kills.wav": "crashed", "e-hangs.wav": "timeout",
    }  # fmt: skip
    assert "died 2 times (SIGSEGV" in found["b-kills.wav"]["message"]
    assert "took longer than 4 s" in found["e-hangs.wav"]["message"]
    assert reached.failed == {"crashed": 1, "timeout": 1}
    assert (tmp_path / "in" / "d-once.wav.died").exists() and (tmp_path / "sabotage" / "first").exists()
    for name in ("a.wav", "c.wav", "d-once.wav", "f.wav"):
        said = emogram.load(model).predict(tmp_path / "in" / name)
        assert found[name]["confidence"] == pytest.approx(said.confidence, rel=1e-5)


def test_a_model_that_changed_since_the_plan_is_refused_where_it_is_loaded(tree, tmp_path, model, monkeypatch):
    from emogram.archive import running

    other = tiny_bundle(tmp_path / "other", seed=1)
    job = running.Job
    monkeypatch.setattr(running, "Job", lambda **values: job(**{**values, "model": str(other)}))
    with pytest.raises(ModelError, match="give every machine the same model"):
        score(tree, tmp_path / "out", model=model, workers=1)


def test_a_folder_that_cannot_be_written_ends_the_run_with_one_line(tree, tmp_path, model):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file stands where a folder should be"):
        score(tree, tmp_path / "file" / "out", model=model)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills of POSIX")
def test_killed_again_and_again_the_rows_are_there_exactly_once(tree, model, whole, tmp_path):
    """kill -9 of the command at random moments; what others see meanwhile is whole at each of them."""
    out = tmp_path / "out"
    arguments = command("score", tree, "--out", out, "--model", model, "--shard-files", 4, "--workers", 1, "--json")
    rng = random.Random(0)
    for parts in (0, 1, 3):
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 60.0
            while len(list(out.glob("*.parquet"))) < parts and time.monotonic() < until and process.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.uniform(0.0, 0.4) if parts else 1.5)
        finally:
            process.kill()
            process.wait()
        seen = files_in(out)
        assert seen.items() <= files_in(whole).items(), "only whole shards are seen"
        if seen:
            count = duckdb.sql(f"select count(*), count(distinct file) from '{out}/*.parquet'").fetchall()[0]
            assert count == (sum(pq.read_metadata(path).num_rows for path in out.glob("*.parquet")),) * 2
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["n_rows"] == 18
    assert files_in(out) == files_in(whole)
    assert sorted(path.name for path in out.iterdir()) == ["_SUCCESS", "_emogram", *files_in(whole)]


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_committed_and_ends_all_processes(tree, model, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        command("score", tree, "--out", out, "--model", model, "--shard-files", 1, "--workers", 2),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        while not list(out.glob("*.parquet")) and process.poll() is None:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGINT)
        # Ends only when every process has closed its output.
        said, err = process.communicate(timeout=30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, err
    assert "the same command goes on from there" in said
    assert 1 <= status(out).n_committed < 18


@pytest.mark.slow
def test_memory_is_bounded_by_the_window_and_not_by_the_file(tmp_path, model):
    """Ten minutes take no more of it than one, though their samples are 35 MB more."""
    code = (
        "import resource, sys; from emogram.archive import score; from emogram.config import ArchiveConfig\n"
        "_, path, out, model = sys.argv\n"
        "reached = score(path, out, model=model, config=ArchiveConfig(rows='segments'), workers=1)\n"
        "assert reached.n_failed == 0\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    )
    peaks = {}
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 16000, 1) as file:
            for minute in range(minutes):
                file.write(np.random.default_rng(minute).normal(0.0, 0.1, 60 * 16000))
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), str(tmp_path / str(minutes)), str(model)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks[minutes] = int(done.stdout)
    assert peaks[10] < peaks[1] + 20


# ---------------------------------------------------------------- the command


def test_the_command_tells_what_failed_and_how_far_it_is(trouble, model, tmp_path, capsys):
    arguments = ["score", str(trouble), "--out", str(tmp_path / "out"), "--model", str(model)]
    assert cli.run([*arguments, "--workers", "1"]) == 3
    said = capsys.readouterr()
    assert "1 of 1 committed" in said.out
    assert "7: unreadable 2, " in said.out
    assert "empty.wav: the file is empty (0 bytes)" in said.out
    assert "scoring: 9 files in" in said.err
    assert cli.run(["score", "--status", "--out", str(tmp_path / "out"), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["n_inputs"], told["n_committed"], told["complete"]) == (9, 1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.wav"], 2, "say with --out where the results go"),
        (["--out", "o"], 2, "nothing to score"),
        (["a.wav", "--out", "o", "--shard", "two"], 2, "--shard two: expected I/N"),
        (["a.wav", "--out", "o", "--shard", "0/4"], 2, "parts count from 1"),
        (["a.wav", "--out", "o", "--raw"], 2, "--raw is about segments"),
        (["a.wav", "--out", "o", "--channels", "split"], 2, "channels are split into segments only"),
        (["a.wav", "--out", "o", "--address", "auto"], 2, "an address is that of a Ray cluster"),
        (["none.wav", "--out", "o"], 4, "none.wav: no such file or folder"),
        (["a.wav", "--out", "o", "--model", "none"], 5, "none: no such model folder"),
        (["--status", "--out", "o"], 4, "nothing was scored into this folder"),
        (["a.wav", "--out", "ftpx://x/y"], 2, "ftpx://x/y"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    sound(tmp_path / "a.wav")
    assert cli.run(["score", *arguments]) == code
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1 and said.out == ""
