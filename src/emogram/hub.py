"""Models on the Hugging Face Hub: a bundle is a repository, as it stands; its card is the page of the repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emogram import __version__
from emogram.bundle import CARD_FILE, FILES, SUMS_FILE, Bundle, open_bundle
from emogram.errors import ModelError
from emogram.remote import Address, download, upload


@dataclass(frozen=True)
class Pushed:
    """A model that was put on the Hub.

    Attributes:
        address: Where; its revision is the commit.
        bundle: The model.
        warnings: What the Hub had to say about the card.
    """

    address: Address
    bundle: Bundle
    warnings: tuple[str, ...]


def push(model: str | Path, repository: str, *, private: bool = False) -> Pushed:
    """Put a model on the Hub, in one commit.

    Args:
        model: As `open_bundle` takes it.
        repository: "owner/name", or "owner/name@branch" of a branch that exists.
        private: For a repository that is made.

    Raises:
        ModelError: The model was refused, or its card is none that the Hub reads.
        SettingsError: The name is none, or HF_TOKEN is not set.
        ServerError: The Hub does not answer, or does not let this token write.
        MissingExtraError: The extra `hub` is not installed.
    """
    address = Address.parse(repository)
    bundle = open_bundle(model)
    if not bundle.read(CARD_FILE).startswith(b"---\n"):
        raise ModelError(f"{bundle.folder / CARD_FILE}: says nothing that the Hub reads; train or ship the model again")
    commit, warnings = upload(
        bundle.folder,
        address,
        names=(*bundle.hashes, SUMS_FILE),
        known=FILES,
        message=f"{bundle.info.model_id} {bundle.sha256[:12]}, by emogram {__version__}",
        private=private,
    )
    return Pushed(Address(address.repo, commit), bundle, tuple(warnings))


def pull(repository: str, out: Path, *, revision: str | None = None) -> tuple[Address, Bundle]:
    """Fetch a model from the Hub into a new folder, which is there once its hashes were found right.

    Args:
        repository: "owner/name", or "owner/name@revision".
        out: The folder; missing or empty.
        revision: A branch, a tag or a commit; by default the newest state.

    Returns:
        Where it came from, with the commit; and the model.

    Raises:
        ModelError: The repository holds no model, or a damaged one.
        SettingsError: The name is none, or `out` holds something.
        ServerError: The Hub does not answer, or has no such repository or revision.
        OutputError: The folder cannot be written.
        MissingExtraError: The extra `hub` is not installed.
    """
    fetched = download(Address.parse(repository, revision=revision), out, names=FILES, check=open_bundle)
    return fetched, open_bundle(out)
