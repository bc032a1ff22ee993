"""Several corpora -> one, whose clips still say which they are of."""

from __future__ import annotations

from collections.abc import Sequence

from emogram.corpora.corpus import Corpus
from emogram.corpora.labels import order_labels
from emogram.errors import CorpusError


def join_corpora(corpora: Sequence[Corpus], *, also: Sequence[Corpus] = ()) -> Corpus:
    """Join corpora of sound: their clips one after the other, their labels in canonical order.

    Args:
        corpora: At least one, whose clips are parted as any corpus's.
        also: Corpora whose clips may train and never choose or judge (`Corpus.training_only`).

    Raises:
        CorpusError: A corpus is of pictures, or two have the same name.
    """
    everything = [*corpora, *also]
    if len(everything) == 1:
        return everything[0]
    taken: dict[str, Corpus] = {}
    for corpus in everything:
        if corpus.kind == "picture":
            # Pictures may be drawn differently in each folder, and nothing would tell.
            raise CorpusError(
                f"{corpus.root}: holds pictures, and only corpora of sound can be joined; give the sound, or put the "
                "pictures of all corpora into one folder"
            )
        for name in {clip.corpus for clip in corpus.clips}:
            if name in taken:
                raise CorpusError(
                    f"{taken[name].root} and {corpus.root} are both called '{name}', so their speakers could not be "
                    "told apart; give each corpus once, the folder that holds both, or manifests with a column corpus"
                )
            taken[name] = corpus
    return Corpus(
        name="+".join(corpus.name for corpus in everything),
        kind="audio",
        root=everything[0].root,
        clips=tuple(clip for corpus in everything for clip in corpus.clips),
        labels=order_labels(label for corpus in everything for label in corpus.labels),
        licences={name: licence for corpus in everything for name, licence in corpus.licences.items()},
        warnings=tuple(f"{corpus.name}: {warning}" for corpus in everything for warning in corpus.warnings),
        training_only=frozenset(clip.corpus for corpus in also for clip in corpus.clips),
    )
