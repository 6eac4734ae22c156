"""Keys from openssl and gpg, layers that skopeo encrypted, and what containerd would say of them."""

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

KINDS = {"rsa2048": "JWE RSA-2048", "rsa4096": "JWE RSA-4096", "p256": "JWE P-256", "p521": "JWE P-521",
         "pkcs7": "PKCS#7 RSA-2048", "pgp": "OpenPGP RSA-2048"}
# As nearly all layers in registries are.
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
# The payload's type, by which containerd names it.
PAYLOAD = b"io.containerd.ocicrypt.v1.Payload"


@dataclass
class Layer:
    """One encrypted layer."""
    image: str
    blob: Path
    payload: bytes
    media_type: str
    keys: Path
    sha256: str
    size: int


def layer(work, kind, size):
    """A layer of `size` bytes for a key of this kind. Made once."""
    keys = key(work, kind)
    image = work / f"{kind}-{size}"
    noted = image / "layer.json"
    if not noted.exists():
        shutil.rmtree(image, ignore_errors=True)
        digest = plain_image(image / "plain", size)
        sealed = image / "sealed"
        skopeo("copy", "--dest-oci-accept-uncompressed-layers", "--encryption-key", recipient(work, kind),
               f"oci:{image}/plain:layer", f"oci:{sealed}:layer", gnupg=work / "gnupg")
        shutil.rmtree(image / "plain")
        noted.write_text(json.dumps(digest))
    index = json.loads((image / "sealed/index.json").read_text())
    manifest = json.loads(blob(image / "sealed", index["manifests"][0]["digest"]).read_text())
    descriptor = manifest["layers"][0]
    return Layer(f"oci:{image}/sealed:layer", blob(image / "sealed", descriptor["digest"]),
                 payload(descriptor), descriptor["mediaType"], keys, json.loads(noted.read_text()), size)


def payload(descriptor):
    """What containerd's CRI plugin writes to descriptor 3: a protobuf `Any` around JSON."""
    text = json.dumps({"DecryptConfig": {"Parameters": None}, "Descriptor": descriptor}).encode()
    return b"\x0a" + varint(len(PAYLOAD)) + PAYLOAD + b"\x12" + varint(len(text)) + text


def varint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def plain_image(root, size):
    """An image with one layer of bytes that do not repeat. Answers the layer's SHA-256."""
    blobs = root / "blobs/sha256"
    blobs.mkdir(parents=True)
    made, digest = blobs / "layer", hashlib.sha256()
    # The keystream of a fixed key: the same bytes on every machine.
    openssl = subprocess.Popen(
        ["openssl", "enc", "-aes-256-ctr", "-K", "0" * 64, "-iv", f"{size:032x}", "-in", "/dev/zero"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with made.open("wb") as file:
        left = size
        while left:
            piece = openssl.stdout.read(min(left, 1 << 20))
            file.write(piece)
            digest.update(piece)
            left -= len(piece)
    openssl.kill()
    openssl.wait()
    openssl.stdout.close()
    name = digest.hexdigest()
    made.rename(blobs / name)
    finish(root, [f"sha256:{name}"], [{"mediaType": LAYER, "digest": f"sha256:{name}", "size": size}])
    return name


def finish(root, diffs, layers):
    """The documents of an image of which the layers lie there already."""
    config = put(root, document({"architecture": "amd64", "os": "linux", "config": {},
                                 "rootfs": {"type": "layers", "diff_ids": diffs}}))
    manifest = put(root, document({"schemaVersion": 2, "mediaType": MANIFEST,
                                   "config": {"mediaType": CONFIG, **config}, "layers": layers}))
    tagged = {"mediaType": MANIFEST, **manifest,
              "annotations": {"org.opencontainers.image.ref.name": "layer"}}
    (root / "index.json").write_bytes(document({"schemaVersion": 2, "manifests": [tagged]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def document(content):
    return json.dumps(content).encode()


def put(root, content):
    """A blob, and what a descriptor says of it."""
    name = hashlib.sha256(content).hexdigest()
    (root / "blobs/sha256" / name).write_bytes(content)
    return {"digest": f"sha256:{name}", "size": len(content)}


def blob(root, digest):
    return root / "blobs" / digest.replace(":", "/")


def key(work, kind):
    """The directory with the private key; beside it what encrypts for it."""
    keys = work / "keys" / kind
    if keys.exists():
        return keys
    made = work / "keys" / f"{kind}.new"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    pem, public = made / "key.pem", work / f"{kind}.pub"
    if kind == "pgp":
        home = work / "gnupg"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
        subprocess.run([*gpg, "--generate-key"], check=True, text=True, stderr=subprocess.DEVNULL,
                       input="%no-protection\nKey-Type: RSA\nKey-Length: 2048\nSubkey-Type: RSA\n"
                             "Subkey-Length: 2048\nName-Email: bench@example.org\nExpire-Date: 0\n")
        with (made / "key.gpg").open("wb") as file:
            subprocess.run([*gpg, "--export-secret-keys"], check=True, stdout=file)
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)
    elif kind == "pkcs7":
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bench", "-days", "3650",
                "-keyout", pem, "-out", public)
        shutil.copy(public, made / "certificate.pem")  # Go finds the key by it
    else:
        options = {"rsa2048": ("RSA", "rsa_keygen_bits:2048"), "rsa4096": ("RSA", "rsa_keygen_bits:4096"),
                   "p256": ("EC", "ec_paramgen_curve:P-256"), "p521": ("EC", "ec_paramgen_curve:P-521")}
        algorithm, option = options[kind]
        openssl("genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-out", pem)
        openssl("pkey", "-in", pem, "-pubout", "-out", public)
    made.rename(keys)
    return keys


def recipient(work, kind):
    if kind == "pgp":
        return "pgp:bench@example.org"
    return f"{'pkcs7' if kind == 'pkcs7' else 'jwe'}:{work}/{kind}.pub"


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stderr=subprocess.DEVNULL)


def skopeo(*arguments, gnupg=None):
    environment = {**os.environ, **({"GNUPGHOME": str(gnupg)} if gnupg else {})}
    subprocess.run(["skopeo", "--insecure-policy", *arguments], check=True, env=environment,
                   stdout=subprocess.DEVNULL)
