"""What the files of a simulation can be."""

from enum import StrEnum


class Format(StrEnum):
    """What the files of a simulation are."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"
