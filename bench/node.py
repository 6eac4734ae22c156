"""An image with a hundred layers, pulled by a containerd of our own as a kubelet pulls it."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import fixtures

LAYERS, SIZE = 100, 1 << 20
CONTAINERD = os.environ.get("CONTAINERD") or shutil.which("containerd")
# The pull that asks a decoder with a payload: the Go original knows no other.
CONFIG = {1: """version = 2
[plugins."io.containerd.grpc.v1.cri".cni]
  conf_dir = "{dir}/cni"
[plugins."io.containerd.grpc.v1.cri".image_decryption]
  key_model = "node"
""", 2: """version = 3
[plugins."io.containerd.cri.v1.runtime".cni]
  conf_dir = "{dir}/cni"
[plugins."io.containerd.cri.v1.images"]
  use_local_image_pull = true
[plugins."io.containerd.cri.v1.images".image_decryption]
  key_model = "node"
"""}
PROCESSOR = """[stream_processors."io.containerd.ocicrypt.decoder.v1.tar.gzip"]
  accepts = ["application/vnd.oci.image.layer.v1.tar+gzip+encrypted"]
  returns = "application/vnd.oci.image.layer.v1.tar+gzip"
  path = "{program}"
  args = ["--decryption-keys-path", "{keys}"]
"""
# What containerd makes outside of its directories stays in its mount namespace.
START = 'mount -t tmpfs none /run; mount -t tmpfs none /opt; exec "$@"'


def missing():
    """Why there can be no such pull on this machine."""
    if os.geteuid():
        return "it takes root"
    for program in (CONTAINERD or "containerd", "docker-registry", "unshare"):
        if not shutil.which(program):
            return f"there is no `{program}`"
    try:
        import grpc  # noqa: F401
    except ImportError:
        return "there is no python3-grpcio"
    return None


class Pulls:
    """A registry with the image, encrypted and plain; use it in a `with`."""

    def __init__(self, work):
        self.keys = fixtures.key(work, "rsa2048")
        self.dir = Path(tempfile.mkdtemp(prefix="keycell-bench-"))
        told = self.dir / "registry.yml"
        told.write_text(f"version: 0.1\nlog: {{level: info, formatter: json}}\n"
                        f"storage: {{filesystem: {{rootdirectory: {self.dir}/registry}}}}\n"
                        "http: {addr: '127.0.0.1:0'}\n")
        self.registry = started(["docker-registry", "serve", told], self.dir / "registry.log")
        log = waited(lambda: re.search(r"listening on ([^\"]+)\"", (self.dir / "registry.log").read_text()),
                     "docker-registry does not listen")
        self.address = log[1]
        image(self.dir / "image")
        for name, options in (("plain", []), ("sealed", ["--encryption-key", fixtures.recipient(work, "rsa2048")])):
            fixtures.skopeo("copy", "--dest-tls-verify=false", *options, f"oci:{self.dir}/image:layer",
                            f"docker://{self.address}/{name}:1")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        ended(self.registry)
        shutil.rmtree(self.dir)

    def run(self, decoder, name="sealed"):
        """Seconds of one pull by a containerd that has nothing yet."""
        with tempfile.TemporaryDirectory(prefix="keycell-bench-") as place:
            place = Path(place)
            config = CONFIG[2 if version().startswith("containerd 2.") else 1].format(dir=place)
            config += PROCESSOR.format(program=decoder.program.resolve(), keys=self.keys)
            (place / "config.toml").write_text(config)
            containerd = containerd_in(place, CONTAINERD)
            try:
                import grpc
                with grpc.insecure_channel(f"unix://{place}/socket") as channel:
                    waited(lambda: answered(channel, grpc), "containerd does not answer")
                    image = field(field(f"{self.address}/{name}:1".encode()))
                    start = time.perf_counter()
                    call(channel, "PullImage")(image, timeout=600)
                    return time.perf_counter() - start
            except grpc.RpcError as error:
                sys.exit(f"bench: {decoder.name}: the image was not pulled: {error.details()}")
            finally:
                ended(containerd)


def containerd_in(place, program, before=()):
    """A containerd with all that it has in a directory, where its configuration lies already."""
    return started([*before, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", START,
                    "sh", program, "--config", place / "config.toml", "--root", place / "root",
                    "--state", place / "state", "--address", place / "socket"], place / "log")


def version():
    told = subprocess.run([CONTAINERD, "--version"], check=True, capture_output=True, text=True).stdout
    return f"containerd {told.split()[2].lstrip('v')}"


def call(channel, method):
    """A call of CRI whose messages are bytes."""
    return channel.unary_unary(f"/runtime.v1.ImageService/{method}", lambda it: it, lambda it: it)


def answered(channel, grpc):
    try:
        call(channel, "ListImages")(b"", timeout=5)
        return True
    except grpc.RpcError:
        return False


def field(content):
    """The first field of a protobuf message: bytes, a string or a message."""
    return b"\x0a" + fixtures.varint(len(content)) + content


def image(root):
    """An image with a file of a megabyte in each of its layers."""
    (root / "blobs/sha256").mkdir(parents=True)
    bytes_ = subprocess.Popen(
        ["openssl", "enc", "-aes-256-ctr", "-K", "1" * 64, "-iv", "0" * 32, "-in", "/dev/zero"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    layers, diffs = [], []
    for number in range(LAYERS):
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            entry = tarfile.TarInfo(f"file-{number}")
            entry.size = SIZE
            archive.addfile(entry, io.BytesIO(bytes_.stdout.read(SIZE)))
        diffs.append("sha256:" + hashlib.sha256(tar.getvalue()).hexdigest())
        layers.append({"mediaType": fixtures.LAYER, **fixtures.put(root, gzip.compress(tar.getvalue(), 1, mtime=0))})
    bytes_.kill()
    bytes_.wait()
    bytes_.stdout.close()
    fixtures.finish(root, diffs, layers)


def started(command, log):
    with log.open("wb") as file:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)


def ended(process):
    process.send_signal(signal.SIGKILL)  # `unshare --kill-child` takes containerd along
    process.wait()


def waited(condition, otherwise):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    sys.exit(f"bench: {otherwise}")
