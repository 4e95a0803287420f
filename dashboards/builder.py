"""Plant → dashboards: the same plant gives the same bytes."""

import hashlib
import json
import re
from collections.abc import Mapping

from dashboards.collector_screen import collector_screen
from dashboards.operator_screen import operator_screen
from dashboards.panels import Json
from filiere.plant import Line, Plant

LANGUAGES = ("fr", "en")
TAG = "filiere"
COLLECTOR = "collector"
UID_LENGTH_MAX = 40
"""Grafana's own limit."""


def build(plant: Plant) -> Mapping[str, Json]:
    """Every dashboard of a plant by file name, each in French and English: one a line (`caux-textile-t1-fr.json`), and
    one of the collection (`caux-collector-fr.json`).
    """
    screens = {
        f"{slug(line)}-{language}.json": operator_screen(
            plant, line, language=language, uid=dashboard_uid(line, language), tags=(f"{TAG}-{language}", TAG)
        ).to_json()
        for line in plant.lines
        for language in LANGUAGES
    }
    return screens | {
        f"{_slug(plant.site)}-{COLLECTOR}-{language}.json": collector_screen(
            plant,
            language=language,
            uid=_uid(f"{plant.site}/{COLLECTOR}", language),
            tags=(f"{TAG}-{language}", TAG),
        ).to_json()
        for language in LANGUAGES
    }


def file_bytes(document: Json) -> bytes:
    """The bytes that are committed: sorted keys, two spaces, one newline at the end."""
    return (json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def slug(line: Line) -> str:
    """`caux/textile/t1` → `caux-textile-t1`."""
    return _slug(line.path)


def dashboard_uid(line: Line, language: str) -> str:
    """The address of a line's dashboard, the same on every server: `filiere-caux-textile-t1-fr`.

    A path too long for Grafana is cut and ends with a digest of the whole.
    """
    return _uid(line.path, language)


def _slug(path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", path.lower())


def _uid(path: str, language: str) -> str:
    uid = f"{TAG}-{_slug(path)}-{language}"
    if len(uid) <= UID_LENGTH_MAX:
        return uid
    digest = hashlib.sha256(f"{path} {language}".encode()).hexdigest()[:12]
    return f"{uid[: UID_LENGTH_MAX - len(digest) - 1]}-{digest}"
