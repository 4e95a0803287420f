"""The readings store on InfluxDB 2. The only module that knows its client.

Written synchronously as joined line protocol: the client's batching mode loses what it holds when the server is down,
and says nothing. Read by InfluxQL, which gives ns times and shortest exact floats as JSON numbers.
"""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from filiere.errors import FiliereError, StoreRefused, StoreUnavailable
from filiere.line_protocol import account_line, block_lines, mark_line, tags_of
from filiere.readings import (
    GOOD,
    MEASUREMENT,
    QUALITY_PREFIX,
    TAG_DEVICE,
    AccountMark,
    Block,
    Latest,
    RunMark,
    Series,
    quality_index,
    refuse_not_finite,
    split_key,
)

CONNECT_TIMEOUT_MS = 5_000
READ_TIMEOUT_MS = 30_000
NEAR = ("localhost", "127.0.0.1", "::1")
"""Hosts to which lines go as they are. Elsewhere they go compressed: a tenth of the bytes for 0.3 µs a line."""
CHUNK_LINES = 5_000
"""Lines of one write request: some MB, far below what the server takes in one."""
WORDS_LENGTH_MAX = 500
"""Characters of the server's own words in a message."""

_QUERY_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n"})
_NEXT_STEP = {
    400: "correct the line that it names",
    401: "check FILIERE_INFLUX_TOKEN",
    403: "give the token of FILIERE_INFLUX_TOKEN leave to read and write the bucket",
    404: "check FILIERE_INFLUX_URL, FILIERE_INFLUX_ORG and FILIERE_INFLUX_BUCKET",
    413: "raise the server's limit on the size of a request",
    422: "correct the line that it names: the other lines were written",
}
_TRY_AGAIN, _SERVER_ERROR = (408, 425, 429), 500
"""Took too long, too early, too many: said by proxies too, and of no line."""


class InfluxStore:
    """ReadingsStore on InfluxDB 2: one line a row, one float field a signal, `q_…` only where it is not good."""

    def __init__(self, *, url: str, token: str, org: str, bucket: str) -> None:
        self.name = f"InfluxDB {url}/{bucket}"
        self._bucket = bucket
        self._place = {"org": org, "bucket": bucket, "precision": "ns"}
        self._compresses = urlsplit(url).hostname not in NEAR
        self._client = InfluxDBClient(url=url, token=token, org=org, timeout=(CONNECT_TIMEOUT_MS, READ_TIMEOUT_MS))

    def write(
        self, blocks: Sequence[Block], marks: Sequence[RunMark] = (), accounts: Sequence[AccountMark] = ()
    ) -> None:
        """See ReadingsStore."""
        refuse_not_finite(blocks)
        lines = chain(
            chain.from_iterable(map(block_lines, blocks)),
            map(mark_line, marks),
            (account_line(mark) for mark in accounts if mark.values),
        )
        while chunk := "\n".join(islice(lines, CHUNK_LINES)):
            self._send(chunk)

    def _send(self, lines: str) -> None:
        try:
            record = lines.encode()
        except UnicodeEncodeError as error:
            raise StoreRefused(f"{self.name}: got text that is not Unicode ({error}); expected UTF-8") from None
        encoding = "gzip" if self._compresses else "identity"
        if self._compresses:
            record = gzip.compress(record, compresslevel=1)
        self._call("POST", "/api/v2/write", "text/plain; charset=utf-8", encoding, query=self._place, body=record)

    def window(self, line: str, keys: Sequence[str], start_ns: int, stop_ns: int) -> tuple[Series, ...]:
        """See ReadingsStore."""
        devices: dict[str, list[str]] = {}
        for key in dict.fromkeys(keys):
            device, signal = split_key(key)
            devices.setdefault(device, []).append(signal)
        found: dict[str, Series] = {}
        if start_ns < stop_ns and devices:
            queries = [_window_query(line, device, devices[device], start_ns, stop_ns) for device in devices]
            for device, result in zip(devices, self._query(queries), strict=True):
                found |= _series_by_key(device, devices[device], result)
        return tuple(found.get(key) or _series(key, (), (), ()) for key in keys)

    def latest(self, line: str) -> tuple[Latest, ...]:
        """See ReadingsStore."""
        (shown,) = self._query([f"SHOW FIELD KEYS FROM {_identifier(MEASUREMENT)}"])
        signals = [name for table in shown for name, kind in table["values"] if kind == "float"]
        if not signals:
            return ()
        where = _line_condition(line)
        results = self._query([_latest_query(signal, where) for signal in signals])
        latest = [
            Latest(
                key=f"{table['tags'][TAG_DEVICE]}.{signal}",
                time_ns=time_ns,
                value=float(value),
                quality=quality or GOOD,
            )
            for signal, result in zip(signals, results, strict=True)
            for table in result
            for time_ns, value, quality in table["values"]
        ]
        return tuple(sorted(latest, key=lambda reading: reading.key))

    def check(self) -> None:
        """See ReadingsStore."""
        self._send("")  # the server checks token, organisation and bucket even when there is nothing to write
        answer = self._call("GET", "/api/v2/buckets", query={"name": self._bucket})
        found = self._decoded(answer, "buckets")
        if not found:  # InfluxQL answers an empty window to a token that may not read
            raise StoreRefused(f"{self.name}: the token may write and not read this bucket; {_NEXT_STEP[403]}")

    def close(self) -> None:
        """See ReadingsStore."""
        self._client.close()  # type: ignore[no-untyped-call]  # half of the client has no types

    def _query(self, statements: Sequence[str]) -> list[list[dict[str, Any]]]:
        """The tables of each InfluxQL statement, in order."""
        form = {"db": self._bucket, "epoch": "ns", "q": ";".join(statements)}
        answer = self._call("POST", "/query", "application/x-www-form-urlencoded", form=form)
        results = self._decoded(answer, "results")
        for result in results:
            if "error" in result:
                raise self._query_refused(result["error"])
        if len(results) != len(statements):
            raise StoreUnavailable(f"{self.name}: got {len(results)} answers; expected {len(statements)}; try again")
        return [result.get("series", []) for result in results]

    def _query_refused(self, words: str) -> FiliereError:
        """The server's errors inside an answer have no code; what a person must correct is known by its words."""
        text = f"{self.name}: the server said {words[:WORDS_LENGTH_MAX]!r}"
        if "not found" in words:
            return StoreRefused(f"{text}; {_NEXT_STEP[404]}")
        return StoreUnavailable(f"{text}; trying again may help")

    def _call(
        self,
        method: str,
        path: str,
        content_type: str = "application/json",
        encoding: str = "identity",
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> str:
        """One request; the body of its answer."""
        api = self._client.api_client
        with self._translated():
            answer = api.request(  # type: ignore[no-untyped-call]  # half of the client has no types
                method,
                api.configuration.host + path,
                query_params=query and list(query.items()),
                headers={
                    **api.default_headers,
                    "Content-Type": content_type,
                    "Content-Encoding": encoding,
                    "Accept": "application/json",
                },
                post_params=form and list(form.items()),
                body=body,
            )
        return str(answer.data)

    def _decoded(self, answer: str, name: str) -> Any:
        """The list called `name` in a JSON answer."""
        try:
            found = msgspec.json.decode(answer)[name]
        except (msgspec.DecodeError, KeyError, TypeError):
            raise StoreUnavailable(
                f"{self.name}: got {answer[:80]!r}; expected JSON with {name!r}: is an InfluxDB 2 there?"
            ) from None
        return found or []

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The client's and urllib3's errors → StoreUnavailable (wait) or StoreRefused (hold)."""
        try:
            yield
        except ApiException as error:
            raise self._meaning(error) from error
        except HTTPError as error:
            raise StoreUnavailable(f"{self.name}: got no answer ({error}); is InfluxDB running there?") from error
        except UnicodeDecodeError as error:
            raise StoreUnavailable(f"{self.name}: got an answer that is no text; is an InfluxDB 2 there?") from error

    def _meaning(self, error: ApiException) -> FiliereError:
        status = error.status or 0
        text = f"{self.name}: the server said {status} {_words(error)}"
        if status in _TRY_AGAIN or status >= _SERVER_ERROR or status == 0:
            wait_s = _retry_after_s(error)
            again = "try again" if wait_s is None else f"try again in {wait_s:g} s"
            return StoreUnavailable(f"{text}; {again}", retry_after_s=wait_s)
        return StoreRefused(f"{text}; {_NEXT_STEP.get(status, 'check FILIERE_INFLUX_URL')}")


def _retry_after_s(error: ApiException) -> float | None:
    """What the server asks for, s; None where it does not, or gives a date (InfluxDB never does)."""
    text = str(error.headers.get("Retry-After")) if error.headers else ""
    return float(text) if text.isascii() and text.isdigit() else None


def _words(error: ApiException) -> str:
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body or ""
    try:
        words = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        words = body.strip() or error.reason
    return str(words)[:WORDS_LENGTH_MAX]


def _line_condition(line: str) -> str:
    return " AND ".join(f"{_identifier(tag)} = {_text(value)}" for tag, value in tags_of(line).items())


def _window_query(line: str, device: str, signals: Sequence[str], start_ns: int, stop_ns: int) -> str:
    fields = ", ".join(f"{_identifier(signal)}, {_identifier(QUALITY_PREFIX + signal)}" for signal in signals)
    return (
        f"SELECT {fields} FROM {_identifier(MEASUREMENT)} WHERE {_line_condition(line)}"  # noqa: S608  # all are escaped
        f" AND {_identifier(TAG_DEVICE)} = {_text(device)} AND time >= {start_ns} AND time < {stop_ns}"
    )


def _latest_query(signal: str, where: str) -> str:
    """A selector's companion field comes from the same point: its quality, null when it was good."""
    return (
        f"SELECT last({_identifier(signal)}), {_identifier(QUALITY_PREFIX + signal)}"  # noqa: S608  # all are escaped
        f" FROM {_identifier(MEASUREMENT)} WHERE {where} GROUP BY {_identifier(TAG_DEVICE)}"
    )


def _identifier(name: str) -> str:
    return f'"{name.translate(_QUERY_ESCAPES)}"'


def _text(value: str) -> str:
    return f"'{value.translate(_QUERY_ESCAPES)}'"


def _series_by_key(device: str, signals: Sequence[str], tables: Sequence[Mapping[str, Any]]) -> Mapping[str, Series]:
    """Columns of a device's answer (time, then value and quality a signal) → a Series a key."""
    if not tables:
        return {}
    times, *columns = zip(*tables[0]["values"], strict=True)
    found = {}
    for index, signal in enumerate(signals):
        values, qualities = columns[2 * index], columns[2 * index + 1]
        key = f"{device}.{signal}"
        if None in values:
            kept = [place for place, value in enumerate(values) if value is not None]
            found[key] = _series(key, [times[n] for n in kept], [values[n] for n in kept], [qualities[n] for n in kept])
        else:
            found[key] = _series(key, times, values, qualities)
    return found


def _series(key: str, times: Sequence[int], values: Sequence[float], qualities: Sequence[str | None]) -> Series:
    quality = np.zeros(len(times), np.uint8)
    for place, word in enumerate(qualities):
        if word:
            quality[place] = quality_index(word)
    return Series(key=key, time_ns=np.array(times, np.int64), value=np.array(values, np.float64), quality=quality)
