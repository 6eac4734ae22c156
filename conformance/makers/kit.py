"""What every family of cases is made with: files, layers, payloads, and the programs of others."""

import base64, gzip, hashlib, hmac, io, json, os, subprocess, tarfile

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.join(HERE, "../ocicrypt/tests/data")
JWE, PKCS7, PGP = (f"org.opencontainers.image.enc.keys.{scheme}" for scheme in ("jwe", "pkcs7", "pgp"))
PUBLIC = "org.opencontainers.image.enc.pubopts"
TAR = "application/vnd.oci.image.layer.v1.tar"


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def run(*command, stdin=None, env=None, cwd=None):
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(command, input=stdin, capture_output=True, env=environment, cwd=cwd)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def openssl(*args, stdin=None):
    return run("openssl", *args, stdin=stdin)


def data(path):
    """A key, or whatever else others made for the tests of the library."""
    with open(os.path.join(DATA, path), "rb") as file:
        return file.read()


def version(*command):
    return run(*command, "--version").decode().splitlines()[0]


class Family:
    """One file of cases."""

    def __init__(self, name, about):
        self.name, self.about, self.files, self.cases = name, about, {}, []

    def file(self, name, content):
        """Names a content, which cases then share."""
        try:
            text = content.decode("utf-8")
            entry = {"text": text} if all(c.isprintable() or c in "\n\r\t" for c in text) else None
        except UnicodeDecodeError:
            entry = None
        entry = entry or {"base64": b64(content)}
        assert self.files.setdefault(name, entry) == entry, f"{self.name}: two files {name}"
        return name

    def repeat(self, name, unit, times):
        """A long content, described in few bytes."""
        self.files[name] = {"repeat": {"base64": b64(unit), "times": times}}
        return name

    def case(self, name, why, rule, level, expect, layer, payload, keys=None, origin=None, call=None):
        case = {"name": f"{self.name}/{name}", "level": level, "why": why, "rule": rule}
        if origin:
            case["origin"] = origin
        assert case["name"] not in [c["name"] for c in self.cases], case["name"]
        if call:
            case["call"] = call
        case.update(expect=expect, layer=layer, payload=payload, keys=keys)
        self.cases.append(case)

    def write(self):
        document = {"family": self.name, "about": self.about, "cases": self.cases, "files": self.files}
        with open(os.path.join(HERE, "cases", f"{self.name}.json"), "w") as file:
            json.dump(document, file, indent=1, ensure_ascii=False)
            file.write("\n")
        return len(self.cases)


class Layer:
    """An encrypted layer: OpenSSL's AES-256-CTR, and HMAC-SHA256 over the result."""

    def __init__(self, plain=None, encrypted=None, key=None, nonce=None, media_type=f"{TAR}+gzip"):
        self.key, self.nonce = key or bytes(range(1, 33)), nonce or bytes(range(64, 80))
        crypt = ("enc", "-aes-256-ctr", "-K", self.key.hex(), "-iv", self.nonce.hex())
        # CTR decrypts as it encrypts: a long layer is chosen so that its ciphertext can be described
        # in few bytes.
        self.plain = openssl(*crypt, stdin=encrypted) if plain is None else plain
        self.encrypted = openssl(*crypt, stdin=plain) if encrypted is None else encrypted
        self.media_type = media_type
        self.private = {
            "symkey": b64(self.key),
            "digest": f"sha256:{sha256(self.plain)}",
            "cipheroptions": {"nonce": b64(self.nonce)},
        }
        self.public = {
            "cipher": "AES_256_CTR_HMAC_SHA256",
            "hmac": b64(self.mac(self.encrypted)),
            "cipheroptions": {},
        }

    def mac(self, data):
        return hmac.new(self.key, data, hashlib.sha256).digest()

    def options(self, **changes):
        """The private options, as Go writes them; a member that is None is left out."""
        members = {**self.private, **changes}
        return compact({name: value for name, value in members.items() if value is not None}).encode()

    def descriptor(self, scheme, items, public=None, **changes):
        annotations = {PUBLIC: b64(compact(self.public if public is None else public))}
        value = ",".join(item if isinstance(item, str) else b64(item) for item in items)
        annotations = {scheme: value, **annotations} if scheme else annotations
        descriptor = {
            "mediaType": f"{self.media_type}+encrypted",
            "digest": f"sha256:{sha256(self.encrypted)}",
            "size": len(self.encrypted),
            "annotations": annotations,
        }
        return {**descriptor, **changes}

    def plainly(self):
        return {"plain": {"sha256": sha256(self.plain), "size": len(self.plain)}}

    def refused(self, most=None):
        """Nothing complete may come out. What can be refused before the layer is read lets nothing out."""
        return {"refused": {"most": max(len(self.plain) - 1, 0) if most is None else most}}


def payload(descriptor, parameters=None):
    return {"parameters": parameters, "descriptor": descriptor}


def archive():
    """A small layer as images have them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        text = b"The keys of this layer are in good hands.\n"
        entry = tarfile.TarInfo("etc/motd")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return gzip.compress(packed.getvalue(), mtime=0)


def key(name):
    """The PKCS#8 PEM of one of the library's test keys."""
    return data(f"keys/{name}.pkcs8.pem")


def public(name):
    return openssl("pkey", "-pubout", stdin=key(name))


LAYER = Layer(archive())
NOTHING = {"refused": {"most": 0}}


def skopeo(work, recipients, kind="gzip", env=None):
    """A layer that skopeo, and so the Go implementation, encrypted for these recipients."""
    at = lambda *names: os.path.join(work, *names)
    copy = ("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-oci-accept-uncompressed-layers")
    if not os.path.exists(at("gzip")):
        with open(at("motd"), "w") as file:
            file.write("From a layer that skopeo encrypted.\n")
        run("umoci", "init", "--layout", "gzip", cwd=work)
        run("umoci", "new", "--image", "gzip:test", cwd=work)
        run("umoci", "insert", "--rootless", "--image", "gzip:test", "motd", "/etc/motd", cwd=work)
        run(*copy, "--dest-compress-format", "zstd", "oci:gzip:test", "oci:zstd:test", cwd=work)
        run("skopeo", "--insecure-policy", "copy", "--dest-decompress", "oci:gzip:test", "dir:unpacked", cwd=work)
        run(*copy, "dir:unpacked", "oci:tar:test", cwd=work)
    run("rm", "-rf", at("encrypted"))
    options = [option for recipient in recipients for option in ("--encryption-key", recipient)]
    run(*copy, *options, f"oci:{kind}:test", "oci:encrypted:test", env=env, cwd=work)

    def blob(layout, digest):
        with open(at(layout, "blobs", digest.replace(":", "/")), "rb") as file:
            return file.read()

    def first(layout):
        with open(at(layout, "index.json")) as file:
            return json.loads(blob(layout, json.load(file)["manifests"][0]["digest"]))["layers"][0]

    descriptor = first("encrypted")
    plain = blob(kind, first(kind)["digest"])
    expect = {"plain": {"sha256": sha256(plain), "size": len(plain)}}
    return descriptor, blob("encrypted", descriptor["digest"]), expect
