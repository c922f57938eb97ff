"""A wandb server for tests: takes what unmodified wandb 0.31 writes in mode online and by `wandb
sync`, and reads back.

Started as a program (`Stub`), so that a test can freeze it, kill it, and fork without inheriting
its threads.
Requests are told apart by the name of their GraphQL operation: a new release of wandb may need one
more.
Not imitated: filters other than by group, exported histories, missed heartbeats, permissions.
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
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "k" * 40
SILENT = 0

RUNS: dict[str, dict[str, Any]] = {}  # by "entity/project/run"
COUNTS: dict[str, int] = {}  # answered requests by operation
FAULTS: list[dict[str, Any]] = []  # {"operation", "status", "times"}: how the next requests fail
LOCK = threading.Lock()


class Stub:
    """A running server; `url` is its address."""

    def __init__(self, status: int = 200, latency_s: float = 0.0) -> None:
        """Starts it; a `status` other than 200 is its answer to everything, `SILENT` is none but to
        a HEAD.
        """
        argv = [sys.executable, __file__, str(status), str(latency_s)]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def runs(self) -> dict[str, dict[str, Any]]:
        """Everything stored, by run id."""
        with urllib.request.urlopen(f"{self.url}/stub/runs") as answer:
            return {name.rsplit("/", 1)[1]: run for name, run in json.load(answer).items()}

    def counts(self) -> dict[str, int]:
        """How many requests of each operation were answered so far."""
        with urllib.request.urlopen(f"{self.url}/stub/counts") as answer:
            return dict(json.load(answer))

    def put(self, runs: dict[str, dict[str, Any]]) -> None:
        """Adds runs as `runs` shows them, by "entity/project/run"."""
        self._send("runs", runs)

    def fail(self, operation: str, status: int, times: int) -> None:
        """From now on the next `times` requests of an operation are answered with this status."""
        self._send("faults", {"operation": operation, "status": status, "times": times})

    def _send(self, what: str, form: Any) -> None:
        request = urllib.request.Request(
            f"{self.url}/stub/{what}", json.dumps(form).encode(), method="PUT"
        )
        with urllib.request.urlopen(request) as answer:
            answer.read()

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
    if operation in ("Viewer", "GetDefaultEntity"):
        return {
            "viewer": {
                "id": "1",
                "entity": "stub",
                "username": "stub",
                "flags": "{}",
                "teams": {"edges": []},
            }
        }
    if operation == "ServerFeaturesQuery":
        return {"serverInfo": {"features": []}}
    if operation == "UpsertBucket":
        return upsert(variables)
    if operation == "RunResumeStatus":
        return resume_status(variables)
    if operation == "CreateRunFiles":
        place = f"http://{host}/storage/{path_of(variables)}"
        files = [{"name": name, "uploadUrl": f"{place}/{name}"} for name in variables["files"]]
        return {
            "createRunFiles": {
                "runID": run_of(variables)["id"],
                "uploadHeaders": [],
                "files": files,
            }
        }
    return answer_reader(operation, variables)


def answer_reader(operation: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The same for what `wandb.Api` asks."""
    if operation == "Runs":
        return {"project": page_of_runs(variables)}
    if operation not in ("Run", "RunHistoryKeys", "RunParquetHistory", "HistoryPage"):
        raise KeyError(operation)
    run = RUNS.get(path_of(variables))
    if run is None:
        return {"project": {"run": None}}
    if operation == "RunParquetHistory":  # nothing exported: the client asks for pages
        return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}}
    if operation == "HistoryPage":
        first, end = variables["minStep"], variables["maxStep"]
        return {
            "project": {
                "run": {
                    "history": [
                        json.dumps(row) for row in run["history"] if first <= row["_step"] < end
                    ]
                }
            }
        }
    return {"project": {"run": node_of(run)}}


def page_of_runs(variables: dict[str, Any]) -> dict[str, Any] | None:
    """A page of the runs of a project, oldest first; None where there is no such project."""
    place = (variables.get("entity"), variables.get("project"))
    found = [run for run in RUNS.values() if (run["entity"], run["project"]) == place]
    if not found:
        return None
    wanted = json.loads(variables.get("filters") or "{}")
    found = [run for run in found if wanted.get("group") in (None, run["group"])]
    start = int(variables.get("cursor") or 0)
    end = start + (variables.get("perPage") or 50)
    edges = [
        {"node": node_of(run), "cursor": str(start + place + 1)}
        for place, run in enumerate(found[start:end])
    ]
    page = {"endCursor": str(end), "hasNextPage": end < len(found)}
    return {
        "internalId": "1",
        "runCount": len(found),
        "readOnly": False,
        "runs": {"edges": edges, "pageInfo": page},
    }


def node_of(run: dict[str, Any]) -> dict[str, Any]:
    """A run as the public API sees it."""
    last = run["history"][-1]["_step"] if run["history"] else -1
    names = {name for row in run["history"] for name in row}
    kinds = {
        name: {"typeCounts": [{"count": 1, "type": "number"}], "monotonic": False} for name in names
    }
    started = "2026-01-01T00:00:00Z"
    return {
        "id": run["id"],
        "projectId": "1",
        "name": run["run_id"],
        "displayName": run["name"],
        "state": run["state"],
        "tags": run["tags"],
        "group": run["group"],
        "jobType": run["job_type"],
        "config": run["raw_config"],
        "summaryMetrics": json.dumps(run["summary"]),
        "systemMetrics": "{}",
        "historyLineCount": len(run["history"]),
        "historyKeys": {"lastStep": last, "sets": [], "keys": kinds},
        "user": {"name": "stub", "username": "stub"},
        "createdAt": started,
        "heartbeatAt": started,
        "readOnly": False,
        "stopped": False,
        **dict.fromkeys(("sweepName", "commit", "description", "notes")),
    }


def upsert(variables: dict[str, Any]) -> dict[str, Any]:
    """Creates or changes a run."""
    run = run_of(variables)
    names = {
        "displayName": "name",
        "groupName": "group",
        "jobType": "job_type",
        "tags": "tags",
        "state": "state",
    }
    run.update(
        {
            names[name]: value
            for name, value in variables.items()
            if name in names and value is not None
        }
    )
    if variables.get("config"):
        run["config"] = {
            name: item["value"] for name, item in json.loads(variables["config"]).items()
        }
        run["raw_config"] = variables["config"]
    project = {"id": "1", "name": run["project"], "entity": {"id": "1", "name": run["entity"]}}
    bucket = {
        "id": run["id"],
        "name": run["run_id"],
        "displayName": run["name"],
        "config": run["raw_config"],
    }
    lines = {"historyLineCount": len(run["history"]), "project": project}
    return {"upsertBucket": {"bucket": {**bucket, **lines}, "inserted": False}}


def resume_status(variables: dict[str, Any]) -> dict[str, Any]:
    """What a run that continues has to know."""
    model = {
        "id": "1",
        "name": variables.get("project"),
        "entity": {"id": "1", "name": "stub"},
        "bucket": None,
    }
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
    """entity/project/run, under the names that the operation gives them."""
    name = (
        variables.get("name")
        or variables.get("run")
        or variables.get("runName")
        or variables.get("runId")
    )
    project = variables.get("project") or variables.get("projectName")
    return f"{variables.get('entity') or 'stub'}/{project}/{name}"


def run_of(variables: dict[str, Any]) -> dict[str, Any]:
    """The run, created when it is new."""
    path = path_of(variables)
    entity, project, name = path.split("/")
    fresh: dict[str, Any] = {
        "entity": entity,
        "project": project,
        "run_id": name,
        "name": name,
        "state": "running",
    }
    fresh |= {
        "id": base64.b64encode(path.encode()).decode(),
        "history": [],
        "summary": {},
        "exit_code": None,
    }
    fresh |= {
        "config": {},
        "raw_config": "{}",
        "tags": [],
        "group": None,
        "job_type": None,
        "is_preempted": False,
    }
    return RUNS.setdefault(path, fresh)


def take_stream(run: dict[str, Any], message: dict[str, Any]) -> None:
    """Stores the rows and the end of a run; rows carry their offset, so that a repetition does no
    harm.
    """
    for name, chunk in (message.get("files") or {}).items():
        lines = (
            [json.loads(line) for line in chunk["content"]]
            if name.endswith((".json", ".jsonl"))
            else []
        )
        if name == "wandb-summary.json":
            run["summary"] = lines[-1]
        elif name == "wandb-history.jsonl":
            run["history"][chunk["offset"] : chunk["offset"] + len(lines)] = lines
    run["is_preempted"] |= bool(message.get("preempting"))
    if message.get("complete"):
        run["exit_code"] = message.get("exitcode", 0)
        run["state"] = "failed" if run["exit_code"] else "finished"


def watch(what: str, form: Any) -> Any:
    """What a test sees or changes beside the protocol."""
    if what == "counts":
        return COUNTS
    if what == "faults":
        FAULTS.append(form)
    elif form is not None:
        RUNS.update(form)
    return RUNS


def next_fault(operation: str) -> int:
    """The status that this request is to be answered with."""
    for fault in FAULTS:
        if fault["operation"] == operation and fault["times"] > 0:
            fault["times"] -= 1
            COUNTS[str(fault["status"])] = COUNTS.get(str(fault["status"]), 0) + 1
            return int(fault["status"])
    return 200


def operation_of(body: bytes) -> str:
    """The name of the GraphQL operation, empty where there is none."""
    found = (
        re.search(r"(?:query|mutation)\s+(\w+)", json.loads(body).get("query", ""))
        if body
        else None
    )
    return found.group(1) if found else ""


class Handler(BaseHTTPRequestHandler):
    """GraphQL, the stream of rows, and the storage of files (which takes them and keeps
    nothing).
    """

    protocol_version = "HTTP/1.1"
    status = 200
    latency_s = 0.0

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
        time.sleep(self.latency_s)
        with contextlib.nullcontext() if self.status == SILENT else LOCK:
            if parts[0] == "stub":
                self.reply(200, watch(parts[1], json.loads(body) if body else None))
            elif self.status == SILENT and self.command != "HEAD":
                threading.Event().wait()
            elif self.status not in (200, SILENT):
                self.reply(self.status, {"errors": [{"message": "out of order"}]})
            elif parts[0] == "storage" or self.command == "HEAD":
                self.reply(200, {})
            elif not self.is_known():
                self.reply(401, {"errors": [{"message": "user is not logged in"}], "data": None})
            elif (
                status := next_fault(
                    "file_stream" if parts[-1] == "file_stream" else operation_of(body)
                )
            ) != 200:
                self.reply(status, {"errors": [{"message": "not now"}]})
            elif parts[-1] == "file_stream":
                take_stream(RUNS["/".join(parts[1:4])], json.loads(body))
                self.reply(200, {"limits": {}})
            else:
                self.reply_to_query(operation_of(body), json.loads(body) if body else {})

    def reply_to_query(self, operation: str, form: dict[str, Any]) -> None:
        """Answers one GraphQL operation; wandb tolerates that some are unknown here."""
        COUNTS[operation] = COUNTS.get(operation, 0) + 1
        try:
            self.reply(
                200, {"data": answer(operation, form.get("variables") or {}, self.headers["host"])}
            )
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
    Handler.status, Handler.latency_s = int(sys.argv[1]), float(sys.argv[2])
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
