#!/usr/bin/env python3
"""Makes the fixtures of this directory anew, with GnuPG 2.2, umoci and skopeo. See README.md."""

import base64, hashlib, json, os, subprocess, tempfile

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "keys"))
home = tempfile.TemporaryDirectory(prefix="gnupg")
os.environ["GNUPGHOME"] = home.name
PASSWORD = "secret"
# What the Go implementation wraps for; the version in skopeo 1.9 knows no elliptic curves.
GO = ["rsa-2048", "rsa-3072", "rsa-2048.locked"]
with open(f"{home.name}/gpg-agent.conf", "w") as file:
    # The least that the format can say; one key is exported with the most.
    file.write("s2k-count 1024\n")


def gpg(*args, stdin=None, password=""):
    always = ["gpg", "--batch", "--yes", "--quiet", "--no-armor", "--trust-model", "always",
              "--pinentry-mode", "loopback", "--passphrase", password]
    return subprocess.run([*always, *args], input=stdin, check=True, stdout=subprocess.PIPE).stdout


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)


def user(name):
    return f"{name} <{name}@example.org>"


def fingerprints(name):
    """Of the primary key and its subkeys, in their order."""
    lines = gpg("--with-colons", "--list-keys", "=" + user(name)).decode().splitlines()
    return [line.split(":")[9] for line in lines if line.startswith("fpr:")]


def generate(name, primary, subkeys, password=""):
    gpg("--quick-gen-key", user(name), primary, "cert,sign", "never", password=password)
    for subkey in subkeys:
        gpg("--quick-add-key", fingerprints(name)[0], subkey, "encr", "never", password=password)


def export(name, file, *options, password="", secret="--export-secret-keys"):
    write(file, gpg(*options, secret, "=" + user(name), password=password))


# NAME: the primary key, and the subkeys that decrypt.
KEYS = {
    "rsa-2048": ("rsa2048", ["rsa2048"]),
    "rsa-3072": ("rsa3072", ["rsa3072"]),
    "rsa-4096": ("rsa2048", ["rsa4096"]),
    "p-256": ("nistp256", ["nistp256"]),
    "p-384": ("nistp384", ["nistp384"]),
    "p-521": ("nistp521", ["nistp521"]),
    "cv25519": ("ed25519", ["cv25519"]),
    "several": ("ed25519", ["cv25519", "rsa2048", "nistp256", "cv25519"]),
}
known = {}
for name, (primary, subkeys) in KEYS.items():
    generate(name, primary, subkeys)
    known[name] = fingerprints(name)
    export(name, f"{name}.gpg")
    export(name, f"{name}.asc", "--armor")
for name in ("rsa-2048", "p-384", "cv25519"):
    locked = f"{name}.locked"
    generate(locked, *KEYS[name], password=PASSWORD)
    known[locked] = fingerprints(locked)
    export(locked, f"{locked}.gpg", password=PASSWORD)
    export(locked, f"{locked}.asc", "--armor", password=PASSWORD)
# The primary key is a stub.
export("rsa-2048.locked", "stub.locked.gpg", password=PASSWORD, secret="--export-secret-subkeys")
generate("elgamal", "ed25519", [])
gpg("--quick-add-key", fingerprints("elgamal")[0], "elg1024", "encr", "never")
export("elgamal", "elgamal.gpg")
generate("signs", "rsa2048", [])
gpg("--quick-gen-key", user("ed25519"), "ed25519", "sign", "never")
export("ed25519", "ed25519.gpg")
write("public.gpg", gpg("--export", "=" + user("rsa-2048")))
write("public.asc", gpg("--armor", "--export", "=" + user("cv25519")))


def packets(binary):
    """The packets of a key file, as GnuPG writes them: old headers, with one or two bytes of length."""
    while binary:
        size = 1 + (1 << (binary[0] & 3))
        length = int.from_bytes(binary[1:size])
        yield binary[0] >> 2 & 15, binary[size:size + length]
        binary = binary[size + length:]


def old(name, usage, specifier, salt=b"", count=0):
    """A key that is locked in a way that GnuPG reads, but does not write any more. OpenSSL encrypts."""
    with open("cv25519.gpg", "rb") as file:
        body = next(body for tag, body in packets(file.read()) if tag == 7)
    # Version, date and algorithm; the curve; the point; the derivation. Then usage 0, numbers, sum.
    oid = 6 + 1 + body[6]
    public = oid + 2 + (int.from_bytes(body[oid:oid + 2]) + 7) // 8 + 4
    numbers, total = body[public + 1:-2], body[-2:]
    if usage == 254:
        total = hashlib.sha1(numbers).digest()
    salted = salt + PASSWORD.encode()
    key = hashlib.sha1((salted * (count // len(salted) + 1))[:max(count, len(salted))]).digest()[:16]
    iv = bytes(range(16))
    locked = subprocess.run(["openssl", "enc", "-aes-128-cfb", "-K", key.hex(), "-iv", iv.hex()],
                            input=numbers + total, check=True, stdout=subprocess.PIPE).stdout
    body = body[:public] + bytes([usage, 7]) + specifier + iv + locked
    write(f"{name}.gpg", bytes([0xc7, len(body)]) + body)
    known[name] = known["cv25519"]


old("old.locked.simple-sum", 255, bytes([0, 2]))
old("old.locked.simple-sha1", 254, bytes([0, 2]))
old("old.locked.salted-sum", 255, bytes([1, 2]) + b"saltsalt", b"saltsalt")
old("old.locked.iterated-sha1", 254, bytes([3, 2]) + b"saltsalt" + bytes([0x13]), b"saltsalt", (16 + 3) << 7)
with open("fingerprints.json", "w") as file:
    json.dump(known, file, indent=1)
    file.write("\n")

# Messages. The content is the private options of no real layer.
with open("../../jwe.json") as file:
    plaintext = json.load(file)["plaintext"].encode()
cases = []


def case(name, key, *options, content=plaintext, recipients=None, file=True):
    args = [arg for recipient in recipients or [key] for arg in ("-r", "=" + user(recipient))]
    with tempfile.NamedTemporaryFile() as plain:
        plain.write(content)
        plain.flush()
        # From a file, so that lengths are known; from a pipe, they are partial or indeterminate.
        source = [plain.name] if file else []
        message = gpg(*options, *args, "--output", "-", "--encrypt", *source, stdin=None if file else content)
    message = base64.b64encode(message).decode()
    cases.append({"name": name, "key": key, "message": message})
    return message


for key in [*KEYS, "rsa-2048.locked", "p-384.locked", "cv25519.locked"]:
    case(f"key {key}", key)
for cipher in ("3DES", "CAST5", "AES", "AES192", "AES256"):
    for key in ("rsa-2048", "p-256", "cv25519"):
        case(f"cipher {cipher} {key}", key, "--cipher-algo", cipher)
for algorithm in ("none", "zip", "zlib"):
    for file in (True, False):
        case(f"compression {algorithm} {'file' if file else 'pipe'}", "cv25519", "--compress-algo", algorithm, file=file)
case("rfc4880", "rsa-2048", "--rfc4880")
case("rfc4880 pipe", "rsa-2048", "--rfc4880", file=False)
case("hidden recipient", "rsa-2048", "--throw-keyids")
case("hidden recipient cv25519", "cv25519", "--throw-keyids")
three = ["rsa-3072", "p-521", "cv25519"]
for key in three:
    case(f"three recipients, with {key}", key, recipients=three)
    case(f"three hidden recipients, with {key}", key, "--throw-keyids", recipients=three)
case("signed", "cv25519", "-s", "-u", "=" + user("signs"))
case("text", "cv25519", "--textmode")
case("ElGamal", "elgamal")
subkeys = {}
for number, fingerprint in enumerate(known["several"][1:]):
    message = gpg("-r", f"{fingerprint}!", "--encrypt", stdin=plaintext)
    cases.append({"name": f"subkey {number + 1} of several", "key": "several", "message": base64.b64encode(message).decode()})
message = case("old", "cv25519")
cases.pop()
for name in known:
    if name.startswith("old"):
        cases.append({"name": f"key {name}", "key": name, "message": message})
good, cases = cases, []
for cipher in ("IDEA", "BLOWFISH", "TWOFISH", "CAMELLIA256"):
    case(cipher, "cv25519", "--cipher-algo", cipher)
case("bzip2", "cv25519", "--compress-algo", "bzip2")
case("bomb", "cv25519", "--compress-algo", "zlib", content=b"\0" * 5_000_000)
case("nothing", "cv25519", content=b"")
# Without integrity protection.
case("rfc2440", "rsa-2048", "--rfc2440")
refused, cases = {c["name"]: c["message"] for c in cases}, []
large = case("large", "cv25519", "--compress-algo", "zlib", content=b" " * 200_000 + plaintext)
unencrypted = {
    "literal": gpg("--compress-algo", "none", "--store", stdin=plaintext),
    "compressed": gpg("--compress-algo", "zip", "--store", stdin=plaintext),
    "signed": gpg("-u", "=" + user("signs"), "--sign", stdin=plaintext),
}
password = gpg("--symmetric", stdin=plaintext, password=PASSWORD)
unencrypted = {name: base64.b64encode(message).decode() for name, message in unencrypted.items()}
with open("../gnupg.json", "w") as file:
    json.dump({"cases": good, "refused": refused, "large": large, "unencrypted": unencrypted,
               "password": base64.b64encode(password).decode()}, file, indent=1)
    file.write("\n")

# Layers that the Go implementation encrypted: their descriptors.
layers = {}
with tempfile.TemporaryDirectory() as work:
    def run(*args):
        subprocess.run(args, check=True, stdout=subprocess.PIPE, cwd=work)
    run("umoci", "init", "--layout", "plain")
    run("umoci", "new", "--image", "plain:test")
    with open(f"{work}/file", "w") as file:
        file.write("content\n")
    run("umoci", "insert", "--rootless", "--image", "plain:test", "file", "/file")
    for names in [[name] for name in GO] + [GO]:
        run("rm", "-rf", "encrypted")
        args = [arg for name in names for arg in ("--encryption-key", f"pgp:{name}@example.org")]
        run("skopeo", "copy", *args, "oci:plain:test", "oci:encrypted:test")

        def blob(digest):
            with open(f"{work}/encrypted/blobs/" + digest.replace(":", "/")) as file:
                return json.load(file)
        with open(f"{work}/encrypted/index.json") as file:
            layer = blob(json.load(file)["manifests"][0]["digest"])["layers"][0]
        layers[" ".join(names)] = layer
with open("../layers.json", "w") as file:
    json.dump(layers, file, indent=1)
    file.write("\n")
subprocess.run(["gpgconf", "--kill", "all"], check=True)
