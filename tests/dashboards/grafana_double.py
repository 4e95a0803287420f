"""A stand-in for the part of Grafana's HTTP API that a push uses. It is not Grafana: it keeps what it is sent.

It answers as Grafana's API reference says: 401 without the token, 404 for what is not there, 412 for a name that is
taken; it adds `id` and `version` to a dashboard, and shows of a secret only that there is one.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class GrafanaDouble:
    """`with GrafanaDouble() as grafana:` → .url .token .folders .datasources .dashboards .writes"""

    token = "glsa_test"

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.folders: dict[str, dict] = {}
        self.datasources: dict[str, dict] = {}
        self.secrets: dict[str, dict] = {}
        self.dashboards: dict[str, dict] = {}
        self.folder_of: dict[str, str] = {}
        self.writes: list[tuple[str, str]] = []
        self.fail_with: tuple[int, bytes] | None = None
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer("GET")

            def do_POST(self) -> None:
                self._answer("POST")

            def do_PUT(self) -> None:
                self._answer("PUT")

            def log_message(self, *_: object) -> None:
                pass

            def _answer(self, method: str) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Authorization") != f"Bearer {double.token}":
                    status, answer = 401, b'{"message":"Invalid API key"}'
                elif double.fail_with is not None:
                    status, answer = double.fail_with
                else:
                    status, found = double.answer(method, self.path, json.loads(body) if body else {})
                    answer = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}{prefix}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, body: dict) -> tuple[int, dict]:
        head, *rest = path.removeprefix(f"{self.prefix}/api/").split("/")
        if method != "GET":
            self.writes.append((method, path))
        match method, head, rest:
            case _, "folders", _:
                return self._folders(method, rest, body)
            case _, "datasources", _:
                return self._datasources(method, rest, body)
            case "GET", "dashboards", ["uid", uid]:
                status, seen = found(self.dashboards.get(uid))
                return status, {"dashboard": seen, "meta": {"folderUid": self.folder_of.get(uid, "")}}
            case "POST", "dashboards", ["db"]:
                return self._save(body)
        return 404, {"message": f"Not found: {method} {path}"}

    def _folders(self, method: str, rest: list[str], body: dict) -> tuple[int, dict]:
        match method, rest:
            case "GET", [uid]:
                return found(self.folders.get(uid))
            case "POST", []:
                return created(self.folders, body)
            case "PUT", [uid]:
                return changed(self.folders, uid, body)
        return 404, {"message": f"Not found: {method} /folders/{rest}"}

    def _datasources(self, method: str, rest: list[str], body: dict) -> tuple[int, dict]:
        secret = body.pop("secureJsonData", {})
        match method, rest:
            case "GET", ["uid", uid]:
                status, seen = found(self.datasources.get(uid))
                return status, seen | {"secureJsonFields": dict.fromkeys(self.secrets.get(uid, {}), True)}
            case "POST", []:
                self.secrets[body["uid"]] = secret
                return created(self.datasources, body)
            case "PUT", ["uid", uid]:
                self.secrets[uid] = secret
                return changed(self.datasources, uid, body)
        return 404, {"message": f"Not found: {method} /datasources/{rest}"}

    def _save(self, body: dict) -> tuple[int, dict]:
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        uid = body["dashboard"]["uid"]
        known = self.dashboards.get(uid, {"id": len(self.dashboards) + 1, "version": 0})
        self.dashboards[uid] = body["dashboard"] | {"id": known["id"], "version": known["version"] + 1}
        self.folder_of[uid] = body["folderUid"]
        return 200, {"uid": uid, "status": "success"}


def found(thing: dict | None) -> tuple[int, dict]:
    return (404, {"message": "not found"}) if thing is None else (200, thing)


def created(things: dict[str, dict], body: dict) -> tuple[int, dict]:
    if body["uid"] in things:
        return 412, {"message": "uid is taken"}
    things[body["uid"]] = body | {"id": len(things) + 1, "orgId": 1}
    return 200, things[body["uid"]]


def changed(things: dict[str, dict], uid: str, body: dict) -> tuple[int, dict]:
    if uid not in things:
        return 404, {"message": "not found"}
    things[uid] |= body
    return 200, things[uid]
