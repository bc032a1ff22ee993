"""The tools that measure the tests and look for advisories say so when something is missed, or not known."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from torture import audit, covered, mutation

# ---------------------------------------------------------------- advisories


class Advisories(http.server.BaseHTTPRequestHandler):
    """A service as osv.dev, which knows of one vulnerability in one version of one package."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        told = {}
        if (asked["package"]["name"], asked["version"]) == ("leaky", "1.0"):
            ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}]
            affected = {"package": {"name": "leaky", "ecosystem": "PyPI"}, "ranges": ranges}
            told = {"vulns": [{"id": "TEST-2026-1", "summary": "it leaks", "affected": [affected]}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def asked(pins: Path, address: str) -> int:
    return audit.main(["--osv-url", address, "--timeout", "5"], pins=pins)


def test_a_vulnerable_pin_is_reported_and_fails_and_its_mended_version_passes(service, tmp_path, capsys):
    pytest.importorskip("pip_audit")
    (tmp_path / "core.txt").write_text("# Made by scripts/pin.\nsound==2.0\n")
    pins = tmp_path / "dev.txt"
    pins.write_text("-r core.txt\nleaky==1.0\n")
    assert asked(tmp_path, service) == audit.VULNERABLE
    told = capsys.readouterr()
    assert told.out == "leaky 1.0: TEST-2026-1, mended in 1.1\n"
    assert told.err == "2 pins, 1 with known vulnerabilities\n"
    pins.write_text("-r core.txt\nleaky==1.1\n")
    assert asked(tmp_path, service) == 0
    assert capsys.readouterr().err == "2 pins, 0 with known vulnerabilities\n"


def test_where_nobody_answers_that_is_no_success(tmp_path, capsys):
    pytest.importorskip("pip_audit")
    (tmp_path / "dev.txt").write_text("leaky==1.0\n")
    assert asked(tmp_path, "http://127.0.0.1:9/") == audit.UNKNOWN
    assert capsys.readouterr().err.startswith("the service of advisories was not reached, so that nothing is known: ")


def test_what_the_service_cannot_tell_of_is_no_success(capsys):
    known = {"name": "sound", "version": "2.0", "vulns": []}
    skipped = {"name": "odd", "skip_reason": "Dependency not found on PyPI and could not be audited"}
    assert audit.judge({"dependencies": [known]}) == 0
    assert audit.judge({"dependencies": [known, skipped]}) == audit.UNKNOWN
    assert "nothing is known of odd" in capsys.readouterr().err
    assert audit.judge({"dependencies": []}) == audit.UNKNOWN


# ---------------------------------------------------------------- branches, and changes that no test notices


def test_one_file_below_the_bar_fails_and_files_that_do_not_count_do_not(capsys):
    def told(percent: float, *missing: int) -> dict:
        return {"summary": {"percent_covered": percent}, "missing_lines": list(missing)}

    files = {
        "src/emogram/audio.py": told(95.0, 7),
        "src/emogram/archive/plan.py": told(99.0),
        "src/emogram/cli.py": told(1),
    }
    assert covered.judge(files) == 0
    assert capsys.readouterr().out.splitlines() == [
        "met      99.0 %  archive/plan.py",
        "met      95.0 %  audio.py  lines 7",
        "          2 files; asked: 95 % of the lines and branches of each",
    ]
    assert covered.judge({**files, "src/emogram/bundle.py": told(94.9)}) == 1
    assert covered.judge({}) == 1, "nothing measured is nothing met"


def test_all_files_and_tests_that_are_named_are_there():
    root = covered.ROOT
    assert all(list((root / "src" / "emogram").glob(pattern)) for pattern in covered.FILES)
    assert all((root / "tests" / f"test_{name}.py").is_file() for name in covered.TESTS)
    for part in mutation.PARTS.values():
        assert all((root / name).is_file() for name in part.tests)
        assert all(list(root.glob(pattern)) for pattern in part.sources)


def test_changes_that_a_test_notices_are_told_from_those_that_none_does(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mutmut")
    root = tmp_path / "repository"
    for folder in ("src/counted", "tests", "torture"):
        (root / folder).mkdir(parents=True)
    (root / "pyproject.toml").write_text("[project]\nname = 'counted'\n")
    (root / "src/counted/__init__.py").touch()
    (root / "src/counted/sums.py").write_text("def add(a, b):\n    return a + b\n\ndef unseen(a):\n    return a + 1\n")
    (root / "tests/test_sums.py").write_text(
        "from counted.sums import add\n\ndef test_add():\n    assert add(1, 2) == 3\n"
    )
    monkeypatch.setattr(mutation, "ROOT", root)
    part = mutation.Part(("src/counted/*",), ("tests/test_sums.py",))
    monkeypatch.setattr(mutation, "PARTS", {"sums": part})
    assert mutation.main(["--work", str(tmp_path / "work")]) == 1
    first, *survivors = capsys.readouterr().out.splitlines()
    assert first == "sums: 1 of 3 changes noticed, 33.3% (MISSED; asked: 85%); 0 by never ending"
    assert all("unseen" in name for name in survivors) and len(survivors) == 2
    monkeypatch.setattr(mutation, "BAR", 0.3)
    assert mutation.main(["--work", str(tmp_path / "work")]) == 0, "what was done is not done again"
