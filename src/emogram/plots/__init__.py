"""Reports, histories and spectrograms -> pictures fit for a paper (PNG, 200 dots per inch).

Each `draw_*` function returns a matplotlib `Figure`; the function without `draw_` writes it to a file. Figures are made
without pyplot, so that nothing here changes global state and threads do not meet. Colours are those of M. Okabe and
K. Ito, "Color Universal Design" (2008), and the maps cividis and magma: all can be told apart by colour-blind
readers and in grey print.
"""

from __future__ import annotations

from emogram.plots.clips import (
    class_balance,
    draw_class_balance,
    draw_prediction,
    draw_spectrogram_sheet,
    prediction,
    spectrogram_sheet,
)
from emogram.plots.comparisons import (
    conditions,
    corpus_pairs,
    differences,
    draw_conditions,
    draw_corpus_pairs,
    draw_differences,
    draw_speaker_scatter,
    speaker_scatter,
)
from emogram.plots.confidence import draw_reliability, draw_risk_coverage, reliability, risk_coverage
from emogram.plots.dimensions import dimensions, draw_dimensions, draw_train_val_ccc, train_val_ccc
from emogram.plots.explanations import draw_explanation, explanation
from emogram.plots.recordings import draw_timeline, timeline
from emogram.plots.reports import (
    before_after,
    confusion_matrix,
    draw_before_after,
    draw_confusion_matrix,
    draw_per_class_accuracy,
    draw_per_group,
    per_class_accuracy,
    per_group,
    save_all,
)
from emogram.plots.style import BLUE, GREEN, GREY, GROUP_COLOURS, INK, PALE, PURPLE, VERMILION, text_colour
from emogram.plots.training import History, best_epoch, draw_loss, draw_train_val_accuracy, loss, train_val_accuracy
from emogram.plots.tuning import (
    draw_tuning_curves,
    draw_tuning_history,
    draw_tuning_importances,
    draw_tuning_parallel,
    draw_tuning_slices,
    tuning_curves,
    tuning_history,
    tuning_importances,
    tuning_parallel,
    tuning_slices,
)

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "GROUP_COLOURS",
    "INK",
    "PALE",
    "PURPLE",
    "VERMILION",
    "History",
    "before_after",
    "best_epoch",
    "class_balance",
    "conditions",
    "confusion_matrix",
    "corpus_pairs",
    "differences",
    "dimensions",
    "draw_before_after",
    "draw_class_balance",
    "draw_conditions",
    "draw_confusion_matrix",
    "draw_corpus_pairs",
    "draw_differences",
    "draw_dimensions",
    "draw_explanation",
    "draw_loss",
    "draw_per_class_accuracy",
    "draw_per_group",
    "draw_prediction",
    "draw_reliability",
    "draw_risk_coverage",
    "draw_speaker_scatter",
    "draw_spectrogram_sheet",
    "draw_timeline",
    "draw_train_val_accuracy",
    "draw_train_val_ccc",
    "draw_tuning_curves",
    "draw_tuning_history",
    "draw_tuning_importances",
    "draw_tuning_parallel",
    "draw_tuning_slices",
    "explanation",
    "loss",
    "per_class_accuracy",
    "per_group",
    "prediction",
    "reliability",
    "risk_coverage",
    "save_all",
    "speaker_scatter",
    "spectrogram_sheet",
    "text_colour",
    "timeline",
    "train_val_accuracy",
    "train_val_ccc",
    "tuning_curves",
    "tuning_history",
    "tuning_importances",
    "tuning_parallel",
    "tuning_slices",
]
