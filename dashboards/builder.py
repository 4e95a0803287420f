"""Plant → dashboards: the same plant gives the same bytes."""

import hashlib
import json
import re
from collections.abc import Mapping

from dashboards.operator_screen import operator_screen
from dashboards.panels import Json
from filiere.plant import Line, Plant

LANGUAGES = ("fr", "en")
TAG = "filiere"
UID_LENGTH_MAX = 40
"""Grafana's own limit."""


def build(plant: Plant) -> Mapping[str, Json]:
    """Every dashboard of a plant by file name (`caux-textile-t1-fr.json`): two a line, French and English."""
    return {
        f"{slug(line)}-{language}.json": operator_screen(
            plant, line, language=language, uid=dashboard_uid(line, language), tags=(f"{TAG}-{language}", TAG)
        ).to_json()
        for line in plant.lines
        for language in LANGUAGES
    }


def file_bytes(document: Json) -> bytes:
    """The bytes that are committed: sorted keys, two spaces, one newline at the end."""
    return (json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def slug(line: Line) -> str:
    """`caux/textile/t1` → `caux-textile-t1`."""
    return re.sub(r"[^a-z0-9]+", "-", line.path.lower())


def dashboard_uid(line: Line, language: str) -> str:
    """The address of a line's dashboard, the same on every server: `filiere-caux-textile-t1-fr`.

    A path too long for Grafana is cut and ends with a digest of the whole.
    """
    uid = f"{TAG}-{slug(line)}-{language}"
    if len(uid) <= UID_LENGTH_MAX:
        return uid
    digest = hashlib.sha256(f"{line.path} {language}".encode()).hexdigest()[:12]
    return f"{uid[: UID_LENGTH_MAX - len(digest) - 1]}-{digest}"
