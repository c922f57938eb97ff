"""A wandb server for tests: takes what unmodified wandb 0.31 writes in mode online, and shows it over HTTP.

Started as a program (`Stub`), so that a test can freeze it, kill it, and fork without inheriting its threads.
Requests are told apart by the name of their GraphQL operation: a new release of wandb may need one more.
Not imitated: reading back with `wandb.Api`, missed heartbeats, rate limits, permissions.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "k" * 40
SILENT = 0

RUNS: dict[str, dict[str, Any]] = {}  # by "entity/project/run"
LOCK = threading.Lock()


class Stub:
    """A running server; `url` is its address."""

    def __init__(self, status: int = 200) -> None:
        """Starts it; a `status` other than 200 is its answer to everything, `SILENT` is none but to a HEAD."""
        self._process = subprocess.Popen([sys.executable, __file__, str(status)], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def runs(self) -> dict[str, dict[str, Any]]:
        """Everything stored, by run id."""
        with urllib.request.urlopen(f"{self.url}/stub/runs") as answer:
            return {name.rsplit("/", 1)[1]: run for name, run in json.load(answer).items()}

    def freeze(self) -> None:
        """From now on connections are accepted and never answered."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def die(self) -> None:
        """From now on connections are refused; may be said by a forked child too."""
        os.kill(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Leaves nothing behind."""
        self.die()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def answer(operation: str, variables: dict[str, Any], host: str) -> dict[str, Any]:
    """The `data` of the answer to one GraphQL operation."""
    if operation == "Viewer":
        return {"viewer": {"id": "1", "entity": "stub", "username": "stub", "flags": "{}", "teams": {"edges": []}}}
    if operation == "ServerFeaturesQuery":
        return {"serverInfo": {"features": []}}
    if operation == "UpsertBucket":
        return upsert(variables)
    if operation == "RunResumeStatus":
        return resume_status(variables)
    if operation == "CreateRunFiles":
        place = f"http://{host}/storage/{path_of(variables)}"
        files = [{"name": name, "uploadUrl": f"{place}/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": run_of(variables)["id"], "uploadHeaders": [], "files": files}}
    raise KeyError(operation)


def upsert(variables: dict[str, Any]) -> dict[str, Any]:
    """Creates or changes a run."""
    run = run_of(variables)
    names = {"displayName": "name", "groupName": "group", "jobType": "job_type", "tags": "tags", "state": "state"}
    run.update({names[name]: value for name, value in variables.items() if name in names and value is not None})
    if variables.get("config"):
        run["config"] = {name: item["value"] for name, item in json.loads(variables["config"]).items()}
        run["raw_config"] = variables["config"]
    project = {"id": "1", "name": run["project"], "entity": {"id": "1", "name": run["entity"]}}
    bucket = {"id": run["id"], "name": run["run_id"], "displayName": run["name"], "config": run["raw_config"]}
    lines = {"historyLineCount": len(run["history"]), "project": project}
    return {"upsertBucket": {"bucket": {**bucket, **lines}, "inserted": False}}


def resume_status(variables: dict[str, Any]) -> dict[str, Any]:
    """What a run that continues has to know."""
    model = {"id": "1", "name": variables.get("project"), "entity": {"id": "1", "name": "stub"}, "bucket": None}
    if path_of(variables) in RUNS:
        run = run_of(variables)
        model["bucket"] = {
            "id": run["id"],
            "name": run["run_id"],
            "displayName": run["name"],
            "config": run["raw_config"],
            "summaryMetrics": json.dumps(run["summary"]),
            "historyLineCount": len(run["history"]),
            "historyTail": json.dumps([json.dumps(row) for row in run["history"][-1:]]),
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "tags": run["tags"],
            "wandbConfig": json.dumps({"t": 1}),
        }
    return {"model": model}


def path_of(variables: dict[str, Any]) -> str:
    """entity/project/run, whatever the operation calls them."""
    name = variables.get("name") or variables.get("run") or variables.get("runName") or variables.get("runId")
    return f"{variables.get('entity') or 'stub'}/{variables.get('project') or variables.get('projectName')}/{name}"


def run_of(variables: dict[str, Any]) -> dict[str, Any]:
    """The run, created when it is new."""
    path = path_of(variables)
    entity, project, name = path.split("/")
    fresh: dict[str, Any] = {"entity": entity, "project": project, "run_id": name, "name": name, "state": "running"}
    fresh |= {"id": base64.b64encode(path.encode()).decode(), "history": [], "summary": {}, "exit_code": None}
    fresh |= {"config": {}, "raw_config": "{}", "tags": [], "group": None, "job_type": None, "is_preempted": False}
    return RUNS.setdefault(path, fresh)


def take_stream(run: dict[str, Any], message: dict[str, Any]) -> None:
    """Stores the rows and the end of a run; rows carry their offset, so that a repetition does no harm."""
    for name, chunk in (message.get("files") or {}).items():
        lines = [json.loads(line) for line in chunk["content"]] if name.endswith((".json", ".jsonl")) else []
        if name == "wandb-summary.json":
            run["summary"] = lines[-1]
        elif name == "wandb-history.jsonl":
            run["history"][chunk["offset"] : chunk["offset"] + len(lines)] = lines
    run["is_preempted"] |= bool(message.get("preempting"))
    if message.get("complete"):
        run["exit_code"] = message.get("exitcode", 0)
        run["state"] = "failed" if run["exit_code"] else "finished"


class Handler(BaseHTTPRequestHandler):
    """GraphQL, the stream of rows, and the storage of files (which takes them and keeps nothing)."""

    protocol_version = "HTTP/1.1"
    status = 200

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def reply(self, status: int, form: Any) -> None:
        """Sends JSON."""
        content = json.dumps(form).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def is_known(self) -> bool:
        """Whether the request carries the one key that this server knows."""
        code = (self.headers.get("authorization") or "").rpartition(" ")[2]
        return base64.b64decode(code).decode().endswith(f":{KEY}")

    def handle_any(self) -> None:
        """Answers a request of any method."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        parts = self.path.partition("?")[0].strip("/").split("/")
        with contextlib.nullcontext() if self.status == SILENT else LOCK:
            if parts == ["stub", "runs"]:
                self.reply(200, RUNS)
            elif self.status == SILENT and self.command != "HEAD":
                threading.Event().wait()
            elif self.status not in (200, SILENT):
                self.reply(self.status, {"errors": [{"message": "out of order"}]})
            elif parts[0] == "storage" or self.command == "HEAD":
                self.reply(200, {})
            elif not self.is_known():
                self.reply(401, {"errors": [{"message": "user is not logged in"}], "data": None})
            elif parts[-1] == "file_stream":
                take_stream(RUNS["/".join(parts[1:4])], json.loads(body))
                self.reply(200, {"limits": {}})
            else:
                self.reply_to_query(json.loads(body) if body else {})

    def reply_to_query(self, form: dict[str, Any]) -> None:
        """Answers one GraphQL operation; wandb tolerates that some are unknown here."""
        found = re.search(r"(?:query|mutation)\s+(\w+)", form.get("query", ""))
        operation = found.group(1) if found else ""
        try:
            self.reply(200, {"data": answer(operation, form.get("variables") or {}, self.headers["host"])})
        except KeyError as error:
            self.reply(200, {"errors": [{"message": f"unknown here: {error}"}], "data": None})

    do_GET = do_POST = do_PUT = do_HEAD = handle_any  # noqa: N815 - the names that http.server calls


class Server(ThreadingHTTPServer):
    """One thread per connection."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may leave whenever they like."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main() -> None:
    """Serves on a free port of this machine, which is printed, until it is killed."""
    Handler.status = int(sys.argv[1])
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
