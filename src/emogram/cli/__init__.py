"""The command `emogram`: parse, call one function, show.

Each command returns an exit code: 0 fine, 1 failed, 2 wrong usage, 3 some inputs failed (each named, the others done),
4 an input could not be read, 5 a model was refused, 130 and 143 on Ctrl-C and SIGTERM. What can go wrong becomes one
line on stderr. Heavy modules are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

from emogram.cli.analysing import analyze, listen
from emogram.cli.converting import convert_corpus
from emogram.cli.data import describe_corpus, download_corpus, list_corpora, spectrograms
from emogram.cli.entry import add_command, app, corpora_app, main, run
from emogram.cli.explaining import explain
from emogram.cli.exporting import export
from emogram.cli.finetuning import finetune
from emogram.cli.installation import doctor
from emogram.cli.judging import adapt, compare, evaluate, robustness
from emogram.cli.predicting import predict
from emogram.cli.scoring import score
from emogram.cli.serving import serve
from emogram.cli.sharing import pull, push
from emogram.cli.shipping import ship
from emogram.cli.training import crosscorpus, crossval, demo, train
from emogram.cli.tuning import tune

__all__ = ["app", "main", "run"]

# In the order of --help.
for _command in (
    demo,
    train,
    crossval,
    crosscorpus,
    tune,
    finetune,
    evaluate,
    compare,
    robustness,
    adapt,
    ship,
    spectrograms,
    predict,
    analyze,
    listen,
    explain,
    export,
    push,
    pull,
    score,
    serve,
    doctor,
):
    add_command(app, _command)
add_command(corpora_app, describe_corpus, "describe")
add_command(corpora_app, list_corpora, "list")
add_command(corpora_app, download_corpus, "download")
add_command(corpora_app, convert_corpus, "convert")
