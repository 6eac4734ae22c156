#!/usr/bin/env python3
"""Serves one Lease and Nodes as a Kubernetes API server does: api_server.py DIRECTORY

DIRECTORY has `tls.crt`, `tls.key`, `token`, and `meet`: how many first reads of the Lease wait for each other, so
that all of them see the same version. The port is written to `port`, each object after each change to `NAME.json`,
and the answers to `requests`, one a line. Ends when standard input does.

What it keeps of the API: versions that conflict (409), an update without a version (422), the rules for a
LeaseSpec, and rights (401, 403, 404).
"""

import json
import os
import re
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[1])
LEASE = "/apis/coordination.k8s.io/v1/namespaces/keycell/leases/keycell-restart"
NODE = "/api/v1/nodes/node-1"
MICRO_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"

lock = threading.Lock()
meeting = threading.Barrier(max(1, int((FOLDER / "meet").read_text())), timeout=20)
still_to_meet = meeting.parties
versions = iter(range(1, 1 << 30))


def stored(path, **members):
    name = path.rsplit("/", 1)[-1]
    return {"metadata": {"name": name, "resourceVersion": str(next(versions)), **members.pop("metadata", {})}, **members}


objects = {
    LEASE: stored(LEASE, kind="Lease", spec={}),
    NODE: stored(NODE, kind="Node", spec={"taints": [{"key": "keycell.dev/not-ready", "effect": "NoSchedule"},
                                                     {"key": "example.org/gpu", "effect": "NoSchedule"}]}),
}


def faults(lease):
    spec = lease.get("spec") or {}
    if spec.get("holderIdentity") == "":
        yield "spec.holderIdentity: must not be empty"
    if spec.get("leaseDurationSeconds", 1) <= 0:
        yield "spec.leaseDurationSeconds: must be greater than 0"
    if spec.get("leaseTransitions", 0) < 0:
        yield "spec.leaseTransitions: must be greater than or equal to 0"
    for name in ("acquireTime", "renewTime"):
        if name in spec and not re.fullmatch(MICRO_TIME, spec[name]):
            yield f"spec.{name}: not a MicroTime"
    if not set(spec) <= {"holderIdentity", "leaseDurationSeconds", "leaseTransitions", "acquireTime", "renewTime"}:
        yield "spec: unknown member"


def merged(old, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def write(path, changed):
    """Answers an update: the code and the object, or what is wrong."""
    old = objects[path]
    version = changed["metadata"].get("resourceVersion")
    if not version:
        return 422, {"message": "metadata.resourceVersion: must be specified for an update"}
    if version != old["metadata"]["resourceVersion"]:
        return 409, {"message": "the object has been modified"}
    wrong = list(faults(changed)) if path == LEASE else []
    if wrong:
        return 422, {"message": "; ".join(wrong)}
    changed["metadata"]["resourceVersion"] = str(next(versions))
    objects[path] = changed
    save(path)
    return 200, changed


def save(path):
    name = path.rsplit("/", 1)[-1]
    (FOLDER / f"{name}.new").write_text(json.dumps(objects[path]))
    os.replace(FOLDER / f"{name}.new", FOLDER / f"{name}.json")


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        global still_to_meet
        with lock:
            waits = self.path == LEASE and still_to_meet > 0
            still_to_meet -= waits
            code, answer = self.read()
        if waits:
            meeting.wait()
        self.answer(code, answer)

    def do_PUT(self):
        with lock:
            code, answer = self.read()
            if code == 200:
                code, answer = write(self.path, self.content())
        self.answer(code, answer)

    def do_PATCH(self):
        with lock:
            code, answer = self.read()
            if code == 200 and self.headers["Content-Type"] != "application/merge-patch+json":
                code, answer = 415, {"message": "unsupported media type"}
            if code == 200:
                code, answer = write(self.path, merged(objects[self.path], self.content()))
        self.answer(code, answer)

    def read(self):
        if self.headers["Authorization"] != "Bearer " + (FOLDER / "token").read_text().strip():
            return 401, {"message": "Unauthorized"}
        if self.path not in objects:
            return 404, {"message": "not found"}
        return 200, objects[self.path]

    def content(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, code, answer):
        with lock, open(FOLDER / "requests", "a") as log:
            log.write(f"{self.command} {self.path} {code}\n")
        body = json.dumps(answer, indent=2).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "tls.crt", FOLDER / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for path in objects:
        save(path)
    (FOLDER / "port.new").write_text(str(server.server_port))
    os.replace(FOLDER / "port.new", FOLDER / "port")
    sys.stdin.read()


main()
