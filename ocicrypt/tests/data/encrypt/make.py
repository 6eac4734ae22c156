#!/usr/bin/env python3
"""Makes the fixtures of this directory anew, with openssl, jwcrypto and GnuPG 2.2. See README.md."""

import json, os, subprocess, tempfile
from jwcrypto import jwk

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def run(*args, stdin=None):
    return subprocess.run(args, input=stdin, check=True, capture_output=True).stdout


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)


# Public keys of ../keys.
for name in ("rsa-1024", "rsa-2048", "rsa-3072", "rsa-4096", "rsa-8192", "rsa-pss", "p-256", "p-384",
             "p-521", "secp256k1", "x25519"):
    private = f"../keys/{name}.pkcs8.pem"
    write(f"{name}.pub.pem", run("openssl", "pkey", "-in", private, "-pubout"))
    if name.startswith("p-") or name == "rsa-2048":
        write(f"{name}.pub.der", run("openssl", "pkey", "-in", private, "-pubout", "-outform", "DER"))
        with open(private, "rb") as file:
            key = jwk.JWK.from_pem(file.read()).export_public(as_dict=True)
        write(f"{name}.pub.jwk", json.dumps(key, indent=1).encode())
write("rsa-2048.pkcs1.pem", run("openssl", "rsa", "-in", "../keys/rsa-2048.pkcs8.pem", "-RSAPublicKey_out"))
write("p-256.certificate.pem", run("openssl", "req", "-x509", "-new", "-key", "../keys/p-256.pkcs8.pem",
                                   "-subj", "/CN=Test", "-days", "36500"))

# OpenPGP.
home = tempfile.TemporaryDirectory(prefix="gnupg")
os.environ["GNUPGHOME"] = home.name
os.makedirs("pgp", exist_ok=True)


def gpg(*args, stdin=None, at="20200101T000000"):
    always = ["gpg", "--batch", "--yes", "--quiet", "--trust-model", "always", "--pinentry-mode",
              "loopback", "--passphrase", "", "--faked-system-time", at + "!"]
    return run(*always, *args, stdin=stdin)


def user(name):
    return f"{name} <{name}@example.org>"


def fingerprints(name):
    lines = gpg("--with-colons", "--list-keys", "=" + user(name)).decode().splitlines()
    return [line.split(":")[9] for line in lines if line.startswith("fpr:")]


def generate(name, primary="ed25519", end="never", options=()):
    gpg(*options, "--quick-gen-key", user(name), primary, "cert,sign", end)
    return fingerprints(name)[0]


def subkey(fingerprint, end="never", at="20200101T000000", kind="cv25519", options=()):
    gpg(*options, "--quick-add-key", fingerprint, kind, "encr", end, at=at)


def export(name):
    write(f"pgp/{name}.gpg", gpg("--export", "=" + user(name)))


def edit(fingerprint, *commands, at="20200101T000000"):
    gpg("--command-fd", "0", "--expert", "--edit-key", fingerprint, stdin="\n".join(commands + ("",)).encode(), at=at)


# The public halves of ../pgp/keys.
for name in ("rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384", "p-521", "cv25519", "several", "elgamal", "ed25519"):
    gpg("--import", f"../pgp/keys/{name}.gpg", at="20300101T000000")
    export(name)
write("pgp/cv25519.asc", gpg("--armor", "--export", "=" + user("cv25519")))

known = {}
generate("expired", end="1y")
subkey(fingerprints("expired")[0], end="never")
export("expired")

subkey(generate("subkey-expired"), end="1y")
export("subkey-expired")

subkey(generate("revoked"))
revocation = open(f"{home.name}/openpgp-revocs.d/{fingerprints('revoked')[0]}.rev").read()
gpg("--import", stdin=revocation.replace("\n:---", "\n---").encode())
export("revoked")

subkey(generate("subkey-revoked"))
edit(fingerprints("subkey-revoked")[0], "key 1", "revkey", "y", "0", "", "y", "save")
export("subkey-revoked")

# The first is over, the third is revoked: the second is left, and the first by its own name until 2021.
rotated = generate("rotated")
subkey(rotated, end="1y")
subkey(rotated, at="20220101T000000")
subkey(rotated, at="20230101T000000", kind="rsa2048")
edit(rotated, "key 3", "revkey", "y", "0", "", "y", "save", at="20230201T000000")
export("rotated")
known["rotated"] = fingerprints("rotated")

renamed = generate("renamed")
subkey(renamed)
gpg("--quick-add-uid", renamed, "Another <another@example.org>", at="20200102T000000")
gpg("--quick-revoke-uid", renamed, user("renamed"), at="20200103T000000")
write("pgp/renamed.gpg", gpg("--export", renamed))

# One key for everything.
gpg("--quick-gen-key", user("single"), "rsa2048", "cert,sign,encr", "never")
export("single")
known["single"] = fingerprints("single")
# The same kind of key, but not for encryption.
gpg("--quick-gen-key", user("signs"), "rsa2048", "cert,sign", "never")
export("signs")

weak = ("--cert-digest-algo", "SHA1")
subkey(generate("sha1", options=weak), options=weak)
export("sha1")

subkey(generate("dsa", primary="dsa2048"))
export("dsa")
subkey(generate("short", primary="rsa1024"))
export("short")

with open("pgp/fingerprints.json", "w") as file:
    json.dump(known, file, indent=1)
run("gpgconf", "--kill", "all")
