"""A Grafana server: look at what is there, say what would change, change it. The only module that knows grafana_api.

Written for Grafana 11 to 13. grafana_api's own datasource calls go by number, which Grafana 13 no longer answers, so
everything here goes by uid. A dashboard that Grafana reads from a file cannot be pushed over: use one way or the other.
"""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self
from urllib.parse import quote, urlsplit

from grafana_api.grafana_api import GrafanaClientError, GrafanaServerError
from grafana_api.grafana_face import GrafanaFace

from dashboards.panels import DATASOURCE_UID, Json
from filiere.errors import SettingsError, StoreRefused, StoreUnavailable

TIMEOUT_S = 10.0
FOLDER_UID = "filiere"
TITLE = "Filière"
"""Of the folder and of the datasource."""
ANSWER_LENGTH_MAX = 300
TOKEN_HEADER = "httpHeaderValue1"  # noqa: S105 - the name of a field, not a secret
_SERVER_OWN = ("id", "version")
"""What Grafana writes into a dashboard by itself."""
_NOT_FOUND, _TOO_MANY_REQUESTS = 404, 429
_NEXT_STEP = {
    401: "check FILIERE_GRAFANA_TOKEN",
    403: "give the service account of FILIERE_GRAFANA_TOKEN the role Admin",
    412: "somebody saved in the meantime: look at the plan again",
}


class Kind(StrEnum):
    """What is kept in Grafana, in the order in which it has to be made."""

    FOLDER = "folder"
    DATASOURCE = "datasource"
    DASHBOARD = "dashboard"


class Action(StrEnum):
    """What a push does about one thing."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One thing as it should be."""

    kind: Kind
    uid: str
    title: str
    document: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a push would do about one thing."""

    wanted: Wanted
    action: Action
    diff: str
    """Unified diff of the JSON, from what Grafana has to what it should have; empty when unchanged."""


def wanted(dashboards: Mapping[str, Json], *, influx_url: str, bucket: str) -> tuple[Wanted, ...]:
    """Folder, datasource and dashboards, in the order in which they have to be made. No secret is in them."""
    return (
        Wanted(kind=Kind.FOLDER, uid=FOLDER_UID, title=TITLE, document={"uid": FOLDER_UID, "title": TITLE}),
        Wanted(kind=Kind.DATASOURCE, uid=DATASOURCE_UID, title=TITLE, document=datasource(influx_url, bucket)),
        *(
            Wanted(kind=Kind.DASHBOARD, uid=document["uid"], title=document["title"], document=dict(document))
            for document in dashboards.values()
        ),
    )


def datasource(influx_url: str, bucket: str) -> Json:
    """InfluxDB 2 asked in InfluxQL: the bucket is the database, the token goes into a header."""
    return {
        "uid": DATASOURCE_UID,
        "name": TITLE,
        "type": "influxdb",
        "access": "proxy",
        "url": influx_url,
        "isDefault": False,
        "jsonData": {
            "version": "InfluxQL",
            "dbName": bucket,
            "httpMode": "GET",
            "httpHeaderName1": "Authorization",
            "timeInterval": "1s",
        },
    }


def compare(want: Wanted, current: Json | None) -> Change:
    """What is there against what should be there; None = nothing is there."""
    if current == want.document:
        return Change(wanted=want, action=Action.UNCHANGED, diff="")
    action = Action.CREATE if current is None else Action.UPDATE
    name = f"{want.kind}/{want.uid}"
    lines = difflib.unified_diff(
        _lines(current), _lines(want.document), fromfile=f"grafana/{name}", tofile=f"build/{name}", lineterm=""
    )
    return Change(wanted=want, action=action, diff="\n".join(lines))


def _lines(document: Json | None) -> list[str]:
    return [] if document is None else json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True).splitlines()


class Grafana:
    """One server. Calls raise StoreUnavailable (try again) or StoreRefused (it says what to do)."""

    def __init__(self, *, url: str, token: str) -> None:
        if not url or not token:
            raise SettingsError(
                "got no Grafana to push to; set FILIERE_GRAFANA_URL (http://host:3000) and FILIERE_GRAFANA_TOKEN (the"
                " token of a service account with the role Admin)"
            )
        parts = urlsplit(url)
        path = parts.path.strip("/")
        self._url = url
        self._face = GrafanaFace(
            auth=token,
            host=f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname,
            port=parts.port,
            url_path_prefix=f"{path}/" if path else "",
            protocol=parts.scheme,
            timeout=TIMEOUT_S,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._face.api.s.close()

    def plan(self, things: Sequence[Wanted]) -> tuple[Change, ...]:
        """Read what is there and compare; writes nothing."""
        return tuple(compare(want, self._current(want)) for want in things)

    def apply(self, changes: Sequence[Change], *, influx_token: str, send_token: bool = False) -> None:
        """Make what is missing, put right what differs, leave the rest alone: a second time does nothing.

        Grafana never shows a secret again, so a changed InfluxDB token is not seen as a difference: `send_token`
        writes the datasource once more.
        """
        for change in changes:
            renew = send_token and change.wanted.kind is Kind.DATASOURCE and change.action is Action.UNCHANGED
            if change.action is not Action.UNCHANGED or renew:
                self._write(change, influx_token)

    def _current(self, want: Wanted) -> Json | None:
        match want.kind:
            case Kind.FOLDER:
                found = self._get(f"/folders/{quote(want.uid)}")
                return None if found is None else {name: found.get(name) for name in want.document}
            case Kind.DATASOURCE:
                found = self._get(f"/datasources/uid/{quote(want.uid)}")
                return None if found is None else _datasource_seen(want, found)
            case Kind.DASHBOARD:
                found = self._get(f"/dashboards/uid/{quote(want.uid)}")
                return None if found is None else _dashboard_seen(found)

    def _write(self, change: Change, influx_token: str) -> None:
        want, new = change.wanted, change.action is Action.CREATE
        match want.kind:
            case Kind.FOLDER if new:
                self._send("POST", "/folders", want.document)
            case Kind.FOLDER:
                self._send("PUT", f"/folders/{quote(want.uid)}", {"title": want.title, "overwrite": True})
            case Kind.DATASOURCE:
                document = want.document | {"secureJsonData": {TOKEN_HEADER: f"Token {influx_token}"}}
                path = "/datasources" if new else f"/datasources/uid/{quote(want.uid)}"
                self._send("POST" if new else "PUT", path, document)
            case Kind.DASHBOARD:
                body = {
                    "dashboard": want.document,
                    "folderUid": FOLDER_UID,
                    "overwrite": True,
                    "message": "filiere dashboards push",
                }
                self._send("POST", "/dashboards/db", body)

    def _get(self, path: str) -> Json | None:
        with self._translated():
            try:
                found: Json = self._face.api.GET(path)
            except GrafanaClientError as error:
                if error.status_code == _NOT_FOUND:
                    return None
                raise
            return found

    def _send(self, method: str, path: str, body: Json) -> None:
        with self._translated():
            getattr(self._face.api, method)(path, json=body)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of grafana_api, and those of requests below it (they are OSErrors), in our own words."""
        try:
            yield
        except GrafanaServerError as error:
            raise StoreUnavailable(f"Grafana {self._url}: {_words(error)}; try again when it is well") from None
        except GrafanaClientError as error:
            if error.status_code == _TOO_MANY_REQUESTS:
                raise StoreUnavailable(f"Grafana {self._url}: {_words(error)}; try again later") from None
            step = _NEXT_STEP.get(error.status_code, "correct what it names")
            raise StoreRefused(f"Grafana {self._url}: {_words(error)}; {step}") from None
        except (OSError, TypeError) as error:  # TypeError: grafana_api trips over an error page that is not JSON
            raise StoreUnavailable(
                f"Grafana {self._url}: no answer of a Grafana ({type(error).__name__}); check FILIERE_GRAFANA_URL, and"
                " that it runs"
            ) from None


def _words(error: Any) -> str:
    """What the server said: the library's message has no status for 400 and 401."""
    message = error.response.get("message") if isinstance(error.response, dict) else error.response
    return f"HTTP {error.status_code}, {str(message)[:ANSWER_LENGTH_MAX]}"


def _datasource_seen(want: Wanted, found: Json) -> Json:
    """The fields that we set, and a note when Grafana holds no token."""
    seen = {name: found.get(name) for name in want.document}
    if not found.get("secureJsonFields", {}).get(TOKEN_HEADER):
        seen["secureJsonFields"] = {TOKEN_HEADER: False}
    return seen


def _dashboard_seen(found: Json) -> Json:
    """The whole document, so that a field added by hand is seen, and the folder when it was moved out of ours."""
    seen = {name: value for name, value in found["dashboard"].items() if name not in _SERVER_OWN}
    folder = found.get("meta", {}).get("folderUid", "")
    return seen if folder == FOLDER_UID else seen | {"folderUid": folder}
