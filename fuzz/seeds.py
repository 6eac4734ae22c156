#!/usr/bin/env python3
"""Collects the seeds of the fuzz targets from the test data: seeds.py DIRECTORY

One directory for each target, a file for each seed. Nothing here is made up but the frames that
targets read around what the test data holds.
"""

import base64
import json
import struct
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "ocicrypt/tests/data"
PAYLOADS = ROOT / "tests/cmd/fixtures/payloads"
COMMITTED = ROOT / "fuzz/seeds"
out = Path(sys.argv[1])
KEYS = "org.opencontainers.image.enc.keys."
OPTIONS = "org.opencontainers.image.enc.pubopts"


def seed(target, name, content):
    directory = out / target
    directory.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() or c in "-." else "_" for c in str(name))
    (directory / name).write_bytes(content)


def load(name):
    return json.loads((DATA / name).read_text())


def files(*patterns):
    return sorted(path for pattern in patterns for path in DATA.glob(pattern) if path.is_file())


def sized(content):
    return struct.pack(">H", len(content)) + content


jwe, pkcs7 = load("jwe.json"), load("pkcs7/messages.json")
pgp = [load("pgp/gnupg.json"), load("pgp/rpgp.json")]
layers = [(name, layer) for file in ("", "pkcs7/", "pgp/") for name, layer in load(f"{file}layers.json").items()]

# Messages, and what is in them.
messages = {"jwe": [], "pkcs7": [], "pgp": []}
for case in jwe["cases"]:
    messages["jwe"].append((case["name"], case["jwe"].encode()))
for case in pkcs7["cases"]:
    messages["pkcs7"].append((case["name"], base64.b64decode(case["cms"])))
for name, cms in pkcs7["negative"].items():
    messages["pkcs7"].append((name, base64.b64decode(cms)))
for group in pgp:
    for case in group["cases"]:
        messages["pgp"].append((case["name"], base64.b64decode(case["message"])))
    for kind in ("refused", "unencrypted"):
        for name, message in group.get(kind, {}).items():
            messages["pgp"].append((f"{kind} {name}", base64.b64decode(message)))
for target, scheme in (("jwe", "jwe"), ("pkcs7", "pkcs7"), ("pgp_message", "pgp")):
    for name, message in messages[scheme]:
        if len(message) <= 4096:
            seed(target, name, message)
plaintext = jwe["plaintext"].encode()
seed("jwe_content", "plain", b"\0" + plaintext)
deflated = __import__("zlib").compressobj(9, 8, -15)
deflated = deflated.compress(plaintext) + deflated.flush()
seed("jwe_content", "deflated", b"\1" + deflated)
literal = b"b\0\0\0\0\0" + plaintext
literal = b"\xcb\xff" + struct.pack(">I", len(literal)) + literal
seed("pgp_content", "literal", literal)
for number, packed in ((0, literal), (1, None), (2, __import__("zlib").compress(literal))):
    if packed is None:
        packed = __import__("zlib").compressobj(9, 8, -15)
        packed = packed.compress(literal) + packed.flush()
    body = bytes([number]) + packed
    seed("pgp_content", f"compressed-{number}", b"\xc8\xff" + struct.pack(">I", len(body)) + body)
for name, message in pgp[0]["unencrypted"].items():
    seed("pgp_content", name, base64.b64decode(message))

# Payloads and their parts.
for path in sorted(PAYLOADS.iterdir()):
    seed("payload", path.name, path.read_bytes())
for name, layer in layers:
    parameters = {"privkeys": ["AQI="], "privkeys-passwords": [None], "x509s": None}
    whole = {"DecryptConfig": {"Parameters": parameters}, "Descriptor": layer}
    seed("payload", f"layer {name}", json.dumps(whole).encode())
    seed("manifest", name, json.dumps({"schemaVersion": 2, "layers": [layer]}).encode())
    lines = [
        f"{key.removeprefix(KEYS)} {value}" for key, value in layer["annotations"].items()
    ]
    if sum(map(len, lines)) < 4096:
        seed("annotations", name, "\n".join(lines).encode())
    public = base64.b64decode(layer["annotations"][OPTIONS])
    seed("options", name, plaintext + b"\0" + public)
seed("annotations", "list", b"jwe ,aGk=,%%%,,aG8=\nprovider.a aGk=\npkcs11 aGk=\nprovider. aGk=")
nonce = base64.b64encode(bytes(range(16))).decode()
old = {"cipher": "AES_256_CTR_HMAC_SHA256", "hmac": base64.b64encode(bytes(32)).decode(),
       "cipheroptions": {"nonce": nonce}}
seed("options", "public-nonce", json.dumps({"symkey": base64.b64encode(bytes(32)).decode()}).encode()
     + b"\0" + json.dumps(old).encode())

# Key files.
for path in files("keys/*", "encrypted-keys/*", "pkcs7/*.pem", "pkcs7/*.der"):
    content = path.read_bytes()
    # Costly derivations and the largest keys would take all of the time.
    slow = ("600000", "64-mib", "scrypt.", "scrypt-parallel", "rsa-8192", "rsa-4096", ".json", ".py", ".md")
    if len(content) > 4096 or any(part in path.name for part in slow):
        continue
    if "pkcs7" not in path.parts:
        seed("keys", f"{path.parent.name}-{path.name}", content)
    if "cert" in path.name or "bundle" in path.name or "request" in path.name:
        seed("certificates", path.name, content)
    if "public" in path.name:
        seed("public_keys", path.name, content)
for path in files("pgp/keys/*.gpg", "pgp/keys/*.asc"):
    if "most" not in path.name and path.stat().st_size <= 8192:
        seed("pgp_keys", path.name, path.read_bytes())
for path in files("pgp/keys/public.*"):
    seed("public_keys", f"pgp-{path.name}", path.read_bytes())
blob = base64.b64encode(bytes(256)).decode()
recipient = {"version": 0, "blob": blob, "hash": "sha256"}
pkcs11 = json.dumps({"version": 0, "recipients": [recipient, {"blob": "AQI="}]}).encode()
seed("pkcs11", "blob", pkcs11)

# Directories: the number of a name, and a content, see the target.
def directory(name, *entries):
    seed("key_directory", name, b"".join(
        bytes([number]) + sized((DATA / content).read_bytes() if isinstance(content, str) else content)
        for number, content in entries))

directory("plain", (0, "keys/p-256.sec1.pem"), (7, "keys/several.pem"), (9, "keys/p-384.pkcs8.der"))
directory("password", (0, "encrypted-keys/p-256.pbkdf2-sha256-aes256.pem"), (1, b"secret\n"))
directory("dek-info", (0, "encrypted-keys/p-256.dek-info-aes128.pem"), (2, b"secret"), (7, "keys/public.pem"))
directory("pgp", (4, "pgp/keys/cv25519.locked.gpg"), (5, b"secret\r\n"), (0, "pgp/keys/p-256.asc"))
directory("mixed", (4, "pgp/keys/cv25519.asc"), (7, "keys/p-256.jwk"), (9, "keys/p-256.sec1.der"), (1, b"x"))
directory("certificates", (0, "pkcs7/bundle.pem"), (7, "keys/certificate.der"))

# Whole layers: public options, then the number of a scheme, and a wrapped key.
SCHEMES = ["jwe", "pkcs7", "pgp", "pkcs11", "provider.one", "provider.two"]
public = json.dumps({**old, "cipheroptions": {}}).encode()
for name, layer in layers:
    content = sized(base64.b64decode(layer["annotations"][OPTIONS]))
    for number, scheme in enumerate(SCHEMES):
        for item in filter(None, layer["annotations"].get(KEYS + scheme, "").split(",")):
            content += bytes([number]) + sized(base64.b64decode(item))
    seed("unwrap", name, content)
seed("unwrap", "others", sized(public) + b"\3" + sized(pkcs11) + b"\4" + sized(b"x") + b"\5" + sized(plaintext))
answer = base64.b64encode(plaintext).decode()
pkcs11 = json.dumps({"recipients": [{"blob": answer}]}).encode()
seed("unwrap", "token", sized(public) + b"\3" + sized(pkcs11))

# The layer cipher: harm, whether the length is known, length, place, eight sizes, content.
for harm in range(8):
    for length in (0, 1000, 65536, 65537, 200_000):
        sizes = [0, 1, 15, 16, 17, 4096, 10240, 65535]
        seed("layer", f"{harm}-{length}", struct.pack(">BBII8H", harm, harm % 2, length, 70_000, *sizes) + b"layer")

# Frames.
def number(value):
    return struct.pack(">I", value)

def field(content):
    return number(len(content)) + content

frames = {
    "keys": number(0) + field(b"/keys"),
    "token": number(1) + number(0) + number(3) + number(1) + field(bytes(16)) + number(5000),
    "given": number(1) + number(1) + field(b"pkcs11:") + number(0) + field(bytes(16)) + number(5000),
    "provider": number(2) + field(b"name") + field(b"x") + number(2) + field(b"a") + field(b"") + number(9),
    "not-configured": number(0),
    "failed": number(1) + field(b"why"),
    "opened": number(2) + field(plaintext),
    "found": number(3) + number(3) + number(0) + field(b"pkcs11:token=t") + number(1) + field(b"n")
    + field(b"c") + number(2) + field(b"n") + field(b"r"),
}
for name, frame in frames.items():
    seed("broker_frames", name, frame)
    seed("broker_frames", f"framed-{name}", field(frame))

# The accounting: a side, what breaks, and then what the guest does.
def u16(value):
    return struct.pack(">H", value)

release, opened, splice, copied = (lambda n: b"\0" + u16(n)), b"\2\0", b"\3", (lambda n: b"\5" + u16(n))
for side in (0, 1):
    for breaks in (b"\0", b"\1" + number(100_000)):
        start = bytes([side]) + breaks
        seed("accounting", f"spliced-{side}-{len(breaks)}", start + (release(13108) + splice) * 6 + opened)
        seed("accounting", f"copied-{side}-{len(breaks)}", start + release(30000) + copied(40000) + copied(10000) + opened)
        seed("accounting", f"altered-{side}-{len(breaks)}",
             start + release(60000) + copied(50000) + b"\6" + number(70_000) + u16(900) + b"\7" + sized(b"x") + splice)
        seed("accounting", f"inside-{side}-{len(breaks)}", start + (b"\0" + u16(60000) + b"\2" + u16(60000)) * 5 + b"\1")

# What a guest answers: a record, or a failure.
for shape in (0b1111, 0b11111, 0b101111, 0b111111, 0b1001111, 0):
    seed("guest_answers", f"record-{shape:b}", bytes([0, shape]) + b"\1\2\3" + sized(b"256") + b"\x20" + number(9))
digest = b"0123456789abcdef" * 4
seed("guest_answers", "digest", bytes([0, 0b101111]) + b"\1\2\3" + sized(digest))
for how in range(4):
    told = "no wrapped key could be opened: jwe: 1 key was tried: `/keys/node.pem`\x1b[2J\u200b".encode()
    seed("guest_answers", f"failure-{how}", b"\1" + sized(told) + bytes([how, how]) + sized(b" and more") + u16(50))
for path in sorted((ROOT / "tests/cmd").glob("*.trycmd"))[::6]:
    seed("text", path.name, b"\x40" + path.read_bytes()[:1000])
seed("text", "pem", b"\x10" + (DATA / "keys/p-256.pkcs8.pem").read_bytes())
seed("text", "hexadecimal", b"\x10symkey=" + digest)

# What the broker reads.
uri = "pkcs11:model=SoftHSM%20v2;token=node;id=%2B%74;object=mykey;type=private;slot-id=7"
seed("token_files", "value", f"pkcs11:\n  uri: {uri}?pin-value=Pin-1234&module-name=softhsm2\n".encode())
seed("token_files", "source", f"pkcs11:\n  uri: '{uri}?pin-source=file:/etc/pin&module-path=/usr/lib/m.so'\n"
     "module:\n  env:\n    SOFTHSM2_CONF: /conf # Pin-1234\n".encode())
seed("token_files", "json", json.dumps({"pkcs11": {"uri": "pkcs11:pin-value=Pin-1234"}, "module": {"env": {"A": "b"}}}).encode())
seed("token_files", "policy", b"pkcs11: {module-directories: [/usr/lib/softhsm/],\n  allowed-module-paths: [/usr/lib/m.so]}\n")
provider = {"one": {"cmd": {"path": "/usr/bin/p", "args": ["a"], "env": ["B"]}},
            "two": {"grpc": "localhost:50051", "grpc-tls": {"root-ca-file": "/ca", "insecure-skip-verify": True}},
            "three": {"ttrpc": "unix:///run/p.sock"}, "four": {"path": "old"}}
seed("provider_files", "all", json.dumps({"key-providers": provider}).encode())
for name, value in (("base64", answer), ("numbers", list(plaintext)), ("null", None)):
    seed("provider_answers", name, json.dumps({"keyunwrapresults": {"optsdata": value},
                                               "KeyWrapResults": {"annotation": value}}).encode())
tree = [bytes([2, 0]), bytes([0, 2]), bytes([4, 5, 1, 1]), bytes([6, 6, 3]), bytes([0, 6, 0]), bytes([1, 7])]
for count in range(1, len(tree) + 1):
    seed("keys_tree", count, b"".join(tree[:count]))

for path in sorted((ROOT / "tests/cmd/fixtures/config").glob("*.toml")):
    seed("config", path.name, path.read_bytes())

for length in (33, 66, 128, 256):
    seed("modulus", f"ones-{length}", bytes([0, 1, 0, 1]) + bytes([255]) * 4 * length)
    seed("modulus", f"steps-{length}", bytes([0, 0, 0, 3]) + bytes(i * 7 & 255 | 1 for i in range(4 * length)))

for name, scalar in (("one", bytes(31) + bytes([1])), ("ones", bytes([255]) * 32), ("steps", bytes(range(7, 39)))):
    seed("point", name, scalar + bytes(range(31, 63)))

# A gzip stream: the size of the pieces, the byte that follows it, compressed text.
for name, text in (("empty", b""), ("text", b"a layer, " * 40), ("numbers", bytes(range(256)) * 8)):
    for level in (0, 1, 9):
        packer = zlib.compressobj(level, wbits=-15)
        seed("inflate", f"{name}-{level}", b"\x20x" + packer.compress(text) + packer.flush())

# What was found once.
for path in sorted(COMMITTED.glob("*/*")):
    seed(path.parent.name, f"found-{path.name}", path.read_bytes())
