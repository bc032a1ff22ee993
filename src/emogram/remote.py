"""Folders of files in repositories of the Hugging Face Hub: up in one commit, down whole or not at all.

The work is done by `huggingface_hub`, extra `hub`; which server it is says HF_ENDPOINT, and who asks HF_TOKEN. Nothing
that comes from there is executed or unpickled.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from emogram.errors import MissingExtraError, ModelError, OutputError, ServerError, SettingsError
from emogram.files import default_cache, output_error
from emogram.silenced import silence

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SCHEME = "hf:"
MAIN = "main"
# Far above any model of this package.
MAX_BYTES = 2 << 30

_ADDRESS = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w.][\w./-]{0,200}))?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Address:
    """A repository at a revision.

    Attributes:
        repo: "owner/name".
        revision: A branch, a tag or a commit.
    """

    repo: str
    revision: str = MAIN

    @classmethod
    def parse(cls, text: str, *, revision: str | None = None) -> Self:
        """Read owner/name, owner/name@revision, or either behind "hf://".

        Raises:
            SettingsError: It is none of these.
        """
        # A path has one slash where an address has two: `Path("hf://owner/name")`.
        match = _ADDRESS.fullmatch(re.sub(rf"^{SCHEME}//?", "", text))
        if match is None or ".." in text or (revision is not None and match["revision"] is not None):
            raise SettingsError(f"{text}: expected owner/name, or owner/name@revision, of a repository on the Hub")
        return cls(match["repo"], revision or match["revision"] or MAIN)

    def __str__(self) -> str:
        return f"hf://{self.repo}" + ("" if self.revision == MAIN else f"@{self.revision}")


def is_address(path: str | Path) -> bool:
    """Tell whether a model's name means a repository: "hf://owner/name", or what `Path` makes of it."""
    return str(path).startswith(f"{SCHEME}/")


def download(address: Address, out: Path, *, names: Collection[str], check: Callable[[Path], object]) -> Address:
    """Fetch files into a new folder, which gets its name when all are there and were found good.

    Args:
        address: Where from.
        out: The folder; missing or empty.
        names: The files to fetch where the repository has them; all else stays where it is.
        check: Is given the folder under another name, and raises what is to be raised where it is not good.

    Returns:
        The address with the commit that was fetched.

    Raises:
        SettingsError: `out` holds something.
        ServerError: The Hub does not answer, or has no such repository, revision or right to it.
        ModelError: The repository holds none of the files, or too much; or `check` raised it.
        OutputError: The folder cannot be written.
        MissingExtraError: The extra `hub` is not installed.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out}: is there already; choose another folder")
    with _speaking(address) as api:
        commit = str(api.repo_info(address.repo, revision=address.revision).sha)
        fetched = replace(address, revision=commit)
        sizes = _sizes(api, fetched, names)
        if not sizes or sum(sizes.values()) > MAX_BYTES:
            found = f"{sum(sizes.values()):,} bytes" if sizes else "none of its files"
            raise ModelError(f"{address}: holds {found}; expected a model of emogram, at most {MAX_BYTES:,} bytes")
        work = out.parent / f".{out.name}-{secrets.token_hex(4)}"
        try:
            work.mkdir(parents=True)
            for name in sizes:
                api.hf_hub_download(address.repo, name, revision=commit, local_dir=work)
            shutil.rmtree(work / ".cache", ignore_errors=True)  # what huggingface_hub notes for itself
            _flush(work, sizes)
            check(work)
            work.replace(out)
        except OSError as error:
            if isinstance(error, _hub_errors()):
                raise
            raise output_error(out, error) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return fetched


def cached(address: Address, *, names: Collection[str], check: Callable[[Path], object]) -> Path:
    """Return the folder of a repository in the user's cache, fetched if it is not there; raises as `download`.

    A commit that is there is not asked for again, so that a model named by its commit needs no network.
    """
    if not _COMMIT.fullmatch(address.revision):
        with _speaking(address) as api:
            address = replace(address, revision=str(api.repo_info(address.repo, revision=address.revision).sha))
    folder = default_cache() / "hub" / address.repo.replace("/", "--") / address.revision
    if not folder.is_dir():
        try:
            download(address, folder, names=names, check=check)
        except (OutputError, SettingsError):
            if not folder.is_dir():  # another process was faster
                raise
    return folder


def upload(
    folder: Path, address: Address, *, names: Collection[str], known: Collection[str], message: str, private: bool
) -> tuple[str, list[str]]:
    """Make a repository hold files, in one commit, and make the repository where there is none.

    Args:
        folder: Holds the files.
        address: Where to; its revision is a branch that exists.
        names: The files.
        known: Names that belong to such a folder; those that the repository has and the folder has not are deleted.
        message: What the commit says.
        private: Whether a repository that is made is for its owner only; one that is there stays as it is.

    Returns:
        The commit, and what the Hub warned of.

    Raises:
        SettingsError: HF_TOKEN is not set.
        ServerError: The Hub does not answer, or does not let this token write.
        MissingExtraError: The extra `hub` is not installed.
    """
    if not os.environ.get("HF_TOKEN"):
        raise SettingsError(
            "writing to the Hub needs a token: make one under Settings, Access Tokens there, and put it into the "
            "environment as HF_TOKEN"
        )
    with _speaking(address) as api, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        api.create_repo(address.repo, private=private, exist_ok=True)
        there = _sizes(api, address, known)
        done = api.create_commit(
            address.repo,
            [
                *(CommitOperationAdd(name, folder / name) for name in names),
                *(CommitOperationDelete(name) for name in there if name not in names),
            ],
            commit_message=message,
            revision=address.revision,
        )
    said = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
    return str(done.oid), said


def _sizes(api: HfApi, address: Address, names: Collection[str]) -> Mapping[str, int]:
    """Return the size of each of some files that the repository has at its top."""
    entries: Iterator[Any] = iter(api.list_repo_tree(address.repo, revision=address.revision))
    return {entry.path: entry.size for entry in entries if entry.path in names and hasattr(entry, "size")}


def _flush(folder: Path, names: Collection[str]) -> None:
    for name in names:
        with (folder / name).open("rb+") as file:
            os.fsync(file.fileno())


def _hub_errors() -> tuple[type[Exception], ...]:
    """Return what `huggingface_hub` raises when the Hub does not do as asked."""
    import httpx2
    from huggingface_hub import errors

    return (httpx2.HTTPError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, errors.FileMetadataError)


@contextlib.contextmanager
def _speaking(address: Address) -> Iterator[HfApi]:
    """Give the client, and say in our words what goes wrong with it."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingExtraError("the Hugging Face Hub", "hub")
    silence("huggingface_hub")
    from huggingface_hub import HfApi, errors, utils

    token = os.environ.get("HF_TOKEN")
    # False, or a token that another program left on the disk would be taken.
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token or False, library_name="emogram")
    shown = not utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield api
    except _hub_errors() as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        who = "HF_TOKEN" if token else "nobody, for HF_TOKEN is not set"
        if isinstance(error, errors.RevisionNotFoundError):
            said = f"has no revision {address.revision}"
        elif isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403):
            said = f"not found, or not open to {who}; see that the name is right and that the token may do this"
        elif status is not None:
            said = f"the Hub answered with status {status}; try again later"
        else:
            said = f"{api.endpoint} does not answer ({type(error).__name__}); see that it can be reached"
        # Without the words of the error, which may hold an address that is signed.
        code = "failed" if status is not None else "unreachable"
        raise ServerError(f"{address}: {said}", code=code, status=status) from None
    except (ValueError, RuntimeError) as error:  # what huggingface_hub says of a card, and of an upload that broke
        text = " ".join(str(error).split())[:300]
        raise ServerError(f"{address}: {text.replace(token, '...') if token else text}") from None
    finally:
        if shown:
            utils.enable_progress_bars()
