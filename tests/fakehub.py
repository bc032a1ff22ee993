"""A Hugging Face Hub of this machine: the parts of its interface that `huggingface_hub` uses for a model, over HTTP.

Written after the calls of huggingface_hub 2.4 (`hf_api.py`, `_commit_api.py`, `lfs.py`, `file_download.py`). Commits
are hashes of their content, files are "regular" or "lfs" as the real one's defaults have it, and every commit is kept.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LFS_SUFFIXES = (".onnx", ".keras", ".npz")
TOKEN = "hf_secretsecretsecret"


class FakeHub:
    """What the server knows, for tests to look at and to spoil."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}  # repository -> commit or branch -> its files
        self.private: set[str] = set()
        self.lfs: dict[str, bytes] = {}
        self.commits: list[dict[str, str]] = []
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()  # as they were sent
        self.cards: list[str] = []
        self.card_errors: list[dict[str, str]] = []
        self.delay_s = 0.0  # before a file is sent
        self.spoil: dict[str, bytes] = {}  # name -> what is sent in place of the file
        self.url = ""

    def commit(self, repo: str, files: dict[str, bytes], branch: str = "main") -> str:
        digest = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.repos.setdefault(repo, {})[digest] = self.repos.setdefault(repo, {})[branch] = files
        return digest

    def commit_of(self, repo: str, revision: str) -> str:
        files = self.repos[repo][revision]
        return next(name for name, held in self.repos[repo].items() if held is files and len(name) == 40)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> FakeHub:
        return self.server.hub  # type: ignore[attr-defined]

    def log_message(self, *_arguments: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value: object, status: int = 200, **headers: str) -> None:
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, b'{"error": "no"}', X_Error_Code=code, X_Error_Message="no")

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def may(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def found(self, repo: str, revision: str) -> dict[str, bytes] | None:
        """Return the files of a revision, or answer that there are none."""
        if repo not in self.hub.repos or (repo in self.hub.private and not self.may()):
            self.refuse(404 if self.may() else 401, "RepoNotFound")
        elif revision not in self.hub.repos[repo]:
            self.refuse(404, "RevisionNotFound")
        else:
            return self.hub.repos[repo][revision]
        return None

    def do_GET(self) -> None:
        self.hub.tokens.add(self.headers.get("Authorization"))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            repo, revision = "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main"
            files = self.found(repo, revision)
            if files is None:
                return
            if parts[4:5] == ["tree"]:
                self.answer_json([entry(name, content) for name, content in files.items()])
            else:
                siblings = [{"rfilename": name} for name in files]
                self.answer_json({"id": repo, "sha": self.hub.commit_of(repo, revision), "siblings": siblings})
        elif parts[2:3] == ["resolve"]:
            self.send_file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self.refuse(404, "EntryNotFound")

    do_HEAD = do_GET  # noqa: N815

    def send_file(self, repo: str, revision: str, name: str) -> None:
        files = self.found(repo, revision)
        if files is None:
            return
        if name not in files:
            self.refuse(404, "EntryNotFound")
            return
        content = self.hub.spoil.get(name, files[name])
        if self.command == "GET":
            time.sleep(self.hub.delay_s)
        self.answer(200, content, ETag=f'"{etag(name, content)}"', X_Repo_Commit=self.hub.commit_of(repo, revision))

    def do_PUT(self) -> None:
        content = self.body()
        self.hub.requests.append((self.command, self.path))
        digest = self.path.rsplit("/", 1)[-1]
        if hashlib.sha256(content).hexdigest() != digest:
            self.refuse(400, "BadRequest")
            return
        self.hub.lfs[digest] = content
        self.answer(200)

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.body()
        self.hub.requests.append((self.command, path))
        parts = path.strip("/").split("/")
        if path == "/api/validate-yaml":
            self.hub.cards.append(json.loads(body)["content"])
            status = 400 if self.hub.card_errors else 200
            self.answer_json({"errors": self.hub.card_errors, "warnings": [{"message": "a word on the card"}]}, status)
        elif not self.may():
            self.refuse(401, "RepoNotFound")
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif parts[4:5] == ["preupload"]:
            asked = json.loads(body)["files"]
            self.answer_json({"files": [mode(file["path"]) for file in asked]})
        elif path.endswith(".git/info/lfs/objects/batch"):
            self.answer_json(
                {
                    "transfer": "basic",
                    "objects": [
                        {**wanted, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"}}}
                        for wanted in json.loads(body)["objects"]
                    ],
                }
            )
        elif parts[4:5] == ["commit"]:
            self.take("/".join(parts[2:4]), parts[5], [json.loads(line) for line in body.splitlines()])
        else:
            self.refuse(404, "EntryNotFound")

    def create(self, asked: dict[str, str]) -> None:
        repo = f"{asked['organization']}/{asked['name']}"
        status = 409 if repo in self.hub.repos else 200
        if status == 200:
            self.hub.commit(repo, {".gitattributes": b"*.onnx filter=lfs\n"})
            if asked.get("visibility") == "private":
                self.hub.private.add(repo)
        self.answer_json({"url": f"{self.hub.url}/{repo}", "id": repo}, status)

    def take(self, repo: str, branch: str, lines: list[dict[str, dict[str, str]]]) -> None:
        files = dict(self.hub.repos[repo][branch])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                self.hub.commits.append(value)
        commit = self.hub.commit(repo, files, branch)
        self.answer_json({"commitUrl": f"{self.hub.url}/{repo}/commit/{commit}", "commitOid": commit, "success": True})


def entry(name: str, content: bytes) -> dict[str, object]:
    found: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": blob(content)}
    if name.endswith(LFS_SUFFIXES):
        found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return found


def mode(name: str) -> dict[str, object]:
    return {"path": name, "uploadMode": "lfs" if name.endswith(LFS_SUFFIXES) else "regular", "shouldIgnore": False}


def blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def etag(name: str, content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if name.endswith(LFS_SUFFIXES) else blob(content)


@contextmanager
def running() -> Iterator[FakeHub]:
    """A hub that answers until the end of the block."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.hub = hub  # type: ignore[attr-defined]
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
