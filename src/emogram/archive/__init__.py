"""Very many recordings -> Parquet: planned once, cut into shards, and each shard committed or not done at all."""

from __future__ import annotations

from emogram.archive.running import TIME_LIMIT_S, ArchiveStatus, score, status

__all__ = ["TIME_LIMIT_S", "ArchiveStatus", "score", "status"]
