"""How good a set of predictions is: numbers from arrays, and the `Report` made of them.

Targets are class indices, shape (n_clips,), in [0, n_labels). Probabilities have shape (n_clips, n_labels), rows sum
to 1. Where a function takes `predictions`, either the predicted class indices, shape (n_clips,), or the probabilities
may be given; of probabilities the largest counts. Every result is a fraction, never percent.
"""

from __future__ import annotations

from emogram.metrics.dimensions import (
    DimensionValues,
    ccc,
    dimension_metrics,
    dimension_scores,
    pearson,
    resample_dimensions,
    rmse,
)
from emogram.metrics.reports import judge, over_seeds, speaker_genders
from emogram.metrics.resampling import (
    N_RESAMPLES,
    describe_resampling,
    interval,
    mean_of,
    resample_gap,
    resample_speakers,
    speaker_bootstrap,
)
from emogram.metrics.scores import (
    MIN_PROBABILITY,
    N_RELIABILITY_BINS,
    SUM_TOLERANCE,
    FloatArray,
    IntArray,
    ReliabilityBins,
    RiskCoverage,
    accuracy,
    brier,
    checked,
    confusion_matrix,
    ece,
    macro_f1,
    nll,
    per_class_scores,
    reliability_bins,
    risk_coverage,
    uar,
)
from emogram.metrics.timelines import (
    TimelineRules,
    TimelineScores,
    events_of,
    pooled,
    score_speakers,
    score_timeline,
    timeline_interval,
)

__all__ = [
    "MIN_PROBABILITY",
    "N_RELIABILITY_BINS",
    "N_RESAMPLES",
    "SUM_TOLERANCE",
    "DimensionValues",
    "FloatArray",
    "IntArray",
    "ReliabilityBins",
    "RiskCoverage",
    "TimelineRules",
    "TimelineScores",
    "accuracy",
    "brier",
    "ccc",
    "checked",
    "confusion_matrix",
    "describe_resampling",
    "dimension_metrics",
    "dimension_scores",
    "ece",
    "events_of",
    "interval",
    "judge",
    "macro_f1",
    "mean_of",
    "nll",
    "over_seeds",
    "pearson",
    "per_class_scores",
    "pooled",
    "reliability_bins",
    "resample_dimensions",
    "resample_gap",
    "resample_speakers",
    "risk_coverage",
    "rmse",
    "score_speakers",
    "score_timeline",
    "speaker_bootstrap",
    "speaker_genders",
    "timeline_interval",
    "uar",
]
