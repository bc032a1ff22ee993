"""What is said of one input -> rows, and rows -> Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emogram.errors import ModelError
from emogram.writers.rows import SEGMENT_COLUMNS, segment_fields
from emogram.writers.text import one_line

if TYPE_CHECKING:
    import pyarrow

FILE_COLUMNS = ("file",)
ABOUT_COLUMNS = ("duration_s", "sample_rate", "channels", "partial", "warnings", "error", "message")


def archive_schema(told: Sequence[str], metadata: Mapping[str, str] | None = None) -> pyarrow.Schema:
    """Return the columns of the Parquet files.

    "file", then those of the house for a segment (`SEGMENT_COLUMNS`, and `told`: the probability of each label and the
    value of each dimension under its name), then what holds for the whole input: "duration_s", "sample_rate" and
    "channels" of the file; "partial", true where it was damaged or cut off; "warnings"; and where nothing could be
    said, "error" (a word, such as "missing") and "message" (for people), all before being null.

    Raises:
        ModelError: A label or dimension of the model is the name of a column.
    """
    import pyarrow

    taken = {*FILE_COLUMNS, *SEGMENT_COLUMNS, *ABOUT_COLUMNS}.intersection(told)
    if taken:
        raise ModelError(
            f"the label '{min(taken)}' of this model is the name of a column; train with another name for it"
        )
    return pyarrow.schema(
        [
            pyarrow.field("file", pyarrow.string(), nullable=False),
            *segment_fields(told),
            ("duration_s", pyarrow.float64()),
            ("sample_rate", pyarrow.int32()),
            ("channels", pyarrow.int32()),
            ("partial", pyarrow.bool_()),
            ("warnings", pyarrow.list_(pyarrow.string())),
            ("error", pyarrow.string()),
            ("message", pyarrow.string()),
        ],
        metadata=metadata,
    )


def error_row(file: str, code: str, message: str) -> dict[str, Any]:
    """Return the row of an input of which nothing can be said."""
    return {"file": file, "error": code, "message": one_line(message)}


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], schema: pyarrow.Schema) -> None:
    """Write rows as Parquet; what a row does not hold is null."""
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), path, compression="zstd")
