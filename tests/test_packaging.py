"""What goes out: types that others see, the version in each place, a release that is made whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import emogram

ROOT = Path(__file__).parents[1]
WHO = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org"}
WHO |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_CONFIG_GLOBAL": os.devnull}


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


# ---------------------------------------------------------------- types

CONSUMER = """
import emogram

model = emogram.load()
reveal_type(model.predict("clip.wav").label)
reveal_type(emogram.analyze("call.wav").segments)
emogram.load(3)
model.predikt("clip.wav")
"""


@pytest.mark.slow
def test_strict_mypy_of_a_program_that_uses_the_package_sees_its_types(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    shutil.copytree(Path(emogram.__file__).parent, site / "emogram", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "consumer.py").write_text(CONSUMER)

    def complaints() -> list[str]:
        command = [sys.executable, "-m", "mypy", "--strict", f"--python-executable={python}", "--config-file="]
        done = subprocess.run(
            [*command, f"--cache-dir={tmp_path / 'cache'}", "consumer.py"],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")},
            capture_output=True,
            text=True,
            check=False,
        )
        return [line.partition(" ")[2] for line in done.stdout.splitlines() if line.startswith("consumer.py")]

    assert complaints() == [
        'note: Revealed type is "str"',
        'note: Revealed type is "tuple[emogram.records.Segment, ...]"',
        'error: Argument 1 to "load" has incompatible type "int"; expected "str | Path"  [arg-type]',
        'error: "Classifier" has no attribute "predikt"; maybe "predict" or "_predict"?  [attr-defined]',
    ]
    (site / "emogram" / "py.typed").unlink()
    assert "missing library stubs or py.typed marker" in "".join(complaints())


# ---------------------------------------------------------------- one version


def test_the_version_stands_in_the_citation_too_which_has_what_its_format_asks_for():
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == emogram.__version__


def copied(folder: Path) -> Path:
    """Return a repository with what a release reads, in which all checks pass."""
    for name in ("scripts/bump", "scripts/release", "CHANGELOG.md", "CITATION.cff", "src/emogram/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".ci").mkdir()
    (folder / ".ci" / "run").write_text("#!/bin/sh\n")
    (folder / ".ci" / "run").chmod(0o755)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder)
    return folder


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, env={**os.environ, **WHO}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=as it is")


def script(folder: Path, name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, **WHO, "PYTHON": sys.executable, **variables}
    command = [sys.executable] if name == "bump" else []
    command += [str(folder / "scripts" / name), *arguments]
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)


def test_bump_writes_the_version_in_each_place_and_dates_the_changes(tmp_path):
    folder = copied(tmp_path)
    done = script(folder, "bump", "0.9.0rc1", SOURCE_DATE_EPOCH="86400")
    assert done.returncode == 0, done.stderr
    assert '__version__ = "0.9.0rc1"' in (folder / "src/emogram/__init__.py").read_text()
    citation = yaml.safe_load((folder / "CITATION.cff").read_text())
    assert (citation["version"], str(citation["date-released"])) == ("0.9.0rc1", "1970-01-02")
    assert "\n## [Unreleased]\n\n## [0.9.0rc1] - 1970-01-02\n" in (folder / "CHANGELOG.md").read_text()

    changes = (folder / "CHANGELOG.md").read_text().replace("## [Unreleased]\n", "## [Unreleased]\n\n- More.\n")
    (folder / "CHANGELOG.md").write_text(changes)
    assert script(folder, "bump", "0.9.0").returncode == 0, "0.9.0 comes after its candidate"
    assert (folder / "CITATION.cff").read_text().count("date-released") == 1


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("1.0", "expected a version such as"),
        ("v1.0.0", "expected a version such as"),
        ("0.0.9", "is not after"),
        ("0.1.0a1", "is not after"),
    ],
)
def test_bump_refuses_what_is_no_later_version_and_writes_nothing(tmp_path, version, says):
    folder = copied(tmp_path)
    done = script(folder, "bump", version)
    assert done.returncode == 1
    assert says in done.stderr
    assert git(folder, "status", "--porcelain") == ""


def test_bump_refuses_a_release_of_which_nothing_is_told(tmp_path):
    folder = copied(tmp_path)
    (folder / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-01-01\n\n- All.\n")
    commit(folder)
    done = script(folder, "bump", "0.2.0")
    assert "nothing under [Unreleased]" in done.stderr
    assert git(folder, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("arguments", "change", "says"),
    [
        ((), None, "usage: scripts/release VERSION"),
        (("1.0.0", "--force"), None, "usage: scripts/release VERSION"),
        (("1.0",), None, "expected a version such as"),
        (("1.0.0",), "dirty", "the working tree has changes"),
        (("1.0.0",), "tag", "the tag v1.0.0 is there already"),
        (("1.0.0",), "detached", "no branch is checked out"),
        (("1.0.0",), "failing", "a test failed"),
    ],
)
def test_a_release_that_cannot_be_leaves_nothing_behind(tmp_path, arguments, change, says):
    folder = copied(tmp_path)
    if change == "failing":
        (folder / ".ci" / "run").write_text("#!/bin/sh\necho a test failed >&2\nexit 1\n")
        commit(folder)
    elif change == "dirty":
        (folder / "new").touch()
    elif change == "tag":
        git(folder, "tag", "v1.0.0")
    elif change == "detached":
        git(folder, "checkout", "--quiet", "--detach")
    before = git(folder, "rev-parse", "HEAD"), git(folder, "status", "--porcelain"), git(folder, "tag")
    done = script(folder, "release", *arguments)
    assert done.returncode != 0
    assert says in done.stderr
    assert (git(folder, "rev-parse", "HEAD"), git(folder, "status", "--porcelain"), git(folder, "tag")) == before
    assert not (folder / "dist").exists()


def test_nothing_of_a_release_is_pushed():
    lines = (ROOT / "scripts" / "release").read_text().splitlines()
    assert [line for line in lines if "git push" in line] == ['echo "git push origin $branch v$version"']


# ---------------------------------------------------------------- the image


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with what stands behind them."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    pairs = [line.partition(" ") for line in lines if line.strip() and not line.startswith("#")]
    return [(word, " ".join(rest.split())) for word, _, rest in pairs]


def test_the_image_is_pinned_runs_without_rights_and_leaves_its_tools_behind():
    said = instructions()
    bases = [rest.split()[0] for word, rest in said if word == "FROM"]
    assert bases == ["${BASE_IMAGE}"] * 2, "what builds is not what runs, and a mirror's is named once"
    (base,) = (rest.partition("=")[2] for word, rest in said if word == "ARG" and rest.startswith("BASE_IMAGE"))
    assert ":" in base and not base.endswith(":latest")
    final = said[max(index for index, (word, _) in enumerate(said) if word == "FROM") :]
    words = [word for word, _ in final]
    user = final[words.index("USER")][1]
    assert user.split(":")[0].isdecimal() and user.split(":")[0] != "0", "a number, as Kubernetes can check"
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "ADD" not in words
    assert all("apt-get" not in rest and "sudo" not in rest for _, rest in said)


def test_all_that_the_image_copies_is_there_and_let_through():
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source.split("/")[0] in let_through, source


def test_what_the_image_starts_is_a_command_and_its_health_check_tells_ready_from_not(capsys):
    import http.server
    import json
    import threading

    from emogram import cli

    said = dict(instructions())
    command = json.loads(said["ENTRYPOINT"])
    assert command[0] == "emogram"
    assert cli.run([*command[1:], "--help"]) == 0
    check = json.loads(said["HEALTHCHECK"].partition("CMD ")[2])
    assert check[:2] == ["python", "-c"]

    class Answers(http.server.BaseHTTPRequestHandler):
        status = 200

        def do_GET(self) -> None:
            self.send_response(Answers.status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        surroundings = {**os.environ, "EMOGRAM_PORT": str(server.server_port)}
        for status, code in ((200, 0), (503, 1)):
            Answers.status = status
            done = subprocess.run([sys.executable, *check[1:]], env=surroundings, capture_output=True, check=False)
            assert done.returncode == code
        server.shutdown()


def test_compose_gives_the_service_no_more_than_it_needs():
    (service,) = read("compose.yaml")["services"].values()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["command"][0] == "--token-file"
    name = Path(service["command"][1]).name
    assert name in service["secrets"] and name in read("compose.yaml")["secrets"]
    volumes = [volume.split(":")[1] for volume in service["volumes"]]
    assert volumes == [dict(instructions())["VOLUME"]]


def test_the_workflow_runs_what_everybody_runs_on_all_pythons_with_the_right_to_read():
    workflow = read(".github/workflows/check.yml")
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert jobs["all"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert {"run": ".ci/run"} in jobs["all"]["steps"]
    assert all("@v" in step["uses"] for step in steps if "uses" in step), "a major version"
    assert all("timeout-minutes" in job and "permissions" not in job for job in jobs.values())
    for step in steps:
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


def test_a_bug_report_is_asked_for_the_doctor():
    form = read(".github/ISSUE_TEMPLATE/bug.yml")
    assert any("emogram doctor --json" in str(field["attributes"].get("label")) for field in form["body"])
