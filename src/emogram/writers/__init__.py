"""Records -> files that programs and people open: JSON, tables, annotations, and a page to look at."""

from __future__ import annotations

from emogram.writers.arrays import write_explanation
from emogram.writers.results import RESULT_SCHEMA, clip_dict, event_dict, result_dict, segment_dict, timeline_dict
from emogram.writers.rows import SEGMENT_COLUMNS, to_dataframe
from emogram.writers.tables import (
    EXTRA_COLUMNS,
    METRICS_FILE,
    PREDICTION_COLUMNS,
    PREDICTIONS_FILE,
    TIME_COLUMNS,
    TRUE,
    read_history,
    write_conditions,
    write_corpus_pairs,
    write_differences,
    write_groups,
    write_history,
    write_metrics,
    write_predictions_csv,
    write_trials,
)
from emogram.writers.timelines import FORMATS, Format, check_format, format_of, save_timeline

__all__ = [
    "EXTRA_COLUMNS",
    "FORMATS",
    "METRICS_FILE",
    "PREDICTIONS_FILE",
    "PREDICTION_COLUMNS",
    "RESULT_SCHEMA",
    "SEGMENT_COLUMNS",
    "TIME_COLUMNS",
    "TRUE",
    "Format",
    "check_format",
    "clip_dict",
    "event_dict",
    "format_of",
    "read_history",
    "result_dict",
    "save_timeline",
    "segment_dict",
    "timeline_dict",
    "to_dataframe",
    "write_conditions",
    "write_corpus_pairs",
    "write_differences",
    "write_explanation",
    "write_groups",
    "write_history",
    "write_metrics",
    "write_predictions_csv",
    "write_trials",
]
