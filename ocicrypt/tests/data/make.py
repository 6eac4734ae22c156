#!/usr/bin/env python3
"""Makes the fixtures of this directory anew, with openssl, jwcrypto, umoci and skopeo. See README.md."""

import base64, hashlib, json, os, subprocess, tempfile
from jwcrypto import jwe, jwk

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "keys"))


def openssl(*args, stdin=None):
    return subprocess.run(["openssl", *args], input=stdin, check=True, capture_output=True).stdout


def write(name, content):
    with open(name, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def generate(*args):
    return openssl("genpkey", *args)


keys = {f"rsa-{bits}": generate("-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}")
        for bits in (512, 1024, 2048, 2056, 3072, 4096, 8192, 16384)}
keys["rsa-e3"] = generate("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3")
keys["rsa-three-primes"] = generate("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_primes:3")
keys["rsa-pss"] = generate("-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048")
for name, curve in (("p-256", "P-256"), ("p-384", "P-384"), ("p-521", "P-521"), ("secp256k1", "secp256k1")):
    keys[name] = generate("-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-pkeyopt", "ec_param_enc:named_curve")
for name in ("ed25519", "x25519"):
    keys[name] = generate("-algorithm", name)

fingerprints = {}
for name, pem in keys.items():
    write(f"{name}.pkcs8.pem", pem)
    public = openssl("pkey", "-pubout", "-outform", "DER", stdin=pem)
    digest = base64.b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")
    fingerprints[name] = "SHA256:" + digest

for name in ("rsa-2048", "rsa-three-primes"):
    write(f"{name}.pkcs1.pem", openssl("rsa", "-traditional", stdin=keys[name]))
    write(f"{name}.pkcs1.der", openssl("rsa", "-traditional", "-outform", "DER", stdin=keys[name]))
for name in ("p-256", "p-384", "p-521"):
    sec1 = openssl("ec", stdin=keys[name])
    write(f"{name}.sec1.pem", sec1)
    write(f"{name}.sec1.der", openssl("ec", "-outform", "DER", stdin=keys[name]))
    curve = {"p-256": "prime256v1", "p-384": "secp384r1", "p-521": "secp521r1"}[name]
    write(f"{name}.sec1-params.pem", openssl("ecparam", "-name", curve) + sec1)
    # Without the public point in it, as some libraries write it.
    write(f"{name}.no-public.pkcs8.der", openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER",
          stdin=openssl("ec", "-no_public", stdin=keys[name])))
for name in ("rsa-2048", "p-256", "p-384", "p-521"):
    write(f"{name}.pkcs8.der", openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", stdin=keys[name]))
    write(f"{name}.jwk", jwk.JWK.from_pem(keys[name]).export())
members = json.loads(jwk.JWK.from_pem(keys["rsa-2048"]).export())
write("rsa-2048.no-crt.jwk", json.dumps({m: members[m] for m in ("kty", "n", "e", "d", "p", "q")}))
write("rsa-2048.no-primes.jwk", json.dumps({m: members[m] for m in ("kty", "n", "e", "d")}))
jwks = [json.loads(jwk.JWK.from_pem(keys[n]).export()) for n in ("rsa-2048", "p-256", "ed25519")]
write("set.jwks", json.dumps({"keys": jwks + [{"kty": "oct", "k": "AAAA"}, 5]}))
write("several.pem", b"some words\n" + keys["rsa-2048"] + b"words between\n" + keys["ed25519"]
      + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + keys["p-384"].replace(b"\n", b"\r\n"))

# What is no key, or needs a password.
write("encrypted.pkcs8.pem", openssl("pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:secret", stdin=keys["p-256"]))
write("encrypted.pkcs8.der", openssl("pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:secret", "-outform", "DER", stdin=keys["p-256"]))
write("encrypted.dek-info.pem", openssl("rsa", "-traditional", "-aes256", "-passout", "pass:secret", stdin=keys["rsa-2048"]))
write("public.pem", openssl("pkey", "-pubout", stdin=keys["rsa-2048"]))
write("public.der", openssl("pkey", "-pubout", "-outform", "DER", stdin=keys["p-256"]))
write("public.pkcs1.der", openssl("rsa", "-RSAPublicKey_out", "-outform", "DER", stdin=keys["rsa-2048"]))
write("public.jwk", jwk.JWK.from_pem(keys["p-256"]).export_public())
certificate = openssl("req", "-x509", "-key", "rsa-2048.pkcs8.pem", "-subj", "/CN=test", "-days", "3650")
write("certificate.pem", certificate)
write("certificate.der", openssl("x509", "-outform", "DER", stdin=certificate))
with tempfile.NamedTemporaryFile() as file:
    file.write(keys["rsa-2048"] + certificate)
    file.flush()
    write("container.p12", openssl("pkcs12", "-export", "-in", file.name, "-passout", "pass:secret"))
write("fingerprints.json", json.dumps(fingerprints, indent=1) + "\n")

# JWE. The content is the private options of no real layer.
plaintext = json.dumps({
    "symkey": base64.b64encode(bytes(range(32))).decode(),
    "digest": "sha256:" + "5a" * 32,
    "cipheroptions": {"nonce": base64.b64encode(bytes(range(100, 116))).decode()},
}, separators=(",", ":"))
RSA = ("RSA-OAEP", "RSA-OAEP-256")
ECDH = ("ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW")
ENC = ("A128GCM", "A192GCM", "A256GCM", "A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512")
CURVES = ("p-256", "p-384", "p-521")
cases = []


def public(name):
    return jwk.JWK.from_pem(openssl("pkey", "-pubout", stdin=keys[name]))


def encrypt(protected, recipients, form, unprotected=None, aad=None, content=plaintext):
    token = jwe.JWE(content.encode(), json.dumps(protected), json.dumps(unprotected) if unprotected else None,
                    aad, algs=[*RSA, *ECDH, *ENC])
    for key, header in recipients:
        token.add_recipient(public(key), json.dumps(header) if header else None)
    text = token.serialize(compact=form == "compact")
    if form == "general" and len(recipients) == 1:
        members = json.loads(text)
        recipient = {m: members.pop(m) for m in ("header", "encrypted_key") if m in members}
        text = json.dumps({**members, "recipients": [recipient]})
    return text


def case(name, key, text):
    cases.append({"name": name, "key": key, "jwe": text})


for a, alg in enumerate((*RSA, *ECDH)):
    for e, enc in enumerate(ENC):
        for f, form in enumerate(("compact", "flattened", "general")):
            key = "rsa-2048" if alg in RSA else CURVES[(a + e + f) % 3]
            if form == "compact":
                text = encrypt({"alg": alg, "enc": enc}, [(key, None)], form)
            else:
                text = encrypt({"enc": enc}, [(key, {"alg": alg})], form)
            case(f"{alg} {enc} {form} {key}", key, text)
for alg in ECDH:
    for key in CURVES:
        case(f"{alg} {key}", key, encrypt({"alg": alg, "enc": "A256GCM"}, [(key, None)], "compact"))
for key in ("rsa-1024", "rsa-2056", "rsa-3072", "rsa-4096", "rsa-8192", "rsa-16384", "rsa-e3", "rsa-three-primes"):
    case(f"RSA-OAEP {key}", key, encrypt({"alg": "RSA-OAEP", "enc": "A256GCM"}, [(key, None)], "compact"))
several = [("rsa-3072", {"alg": "RSA-OAEP", "kid": "one"}), ("p-521", {"alg": "ECDH-ES+A256KW"}), ("rsa-2048", {"alg": "RSA-OAEP-256"})]
for key in ("rsa-3072", "p-521", "rsa-2048"):
    case(f"three recipients {key}", key, encrypt({"enc": "A256GCM"}, several, "general"))
ecdh = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM"}
case("zip", "p-256", encrypt({**ecdh, "zip": "DEF"}, [("p-256", None)], "compact"))
case("aad", "p-256", encrypt(ecdh, [("p-256", None)], "flattened", aad=b"more data"))
case("apu and apv", "p-256", encrypt({**ecdh, "apu": "QWxpY2U", "apv": "Qm9i"}, [("p-256", None)], "compact"))
case("alg unprotected", "p-256", encrypt({"enc": "A128GCM"}, [("p-256", None)], "flattened", unprotected={"alg": ECDH[0]}))
case("foreign kid", "rsa-2048", encrypt({"alg": RSA[0], "enc": "A128GCM", "kid": "another"}, [("rsa-2048", None)], "compact"))
bomb = encrypt({**ecdh, "zip": "DEF"}, [("p-256", None)], "compact", content="\0" * 5_000_000)
large = encrypt({**ecdh, "zip": "DEF"}, [("p-256", None)], "compact", content=" " * 200_000 + plaintext)
with open("../jwe.json", "w") as file:
    json.dump({"plaintext": plaintext, "cases": cases, "bomb": bomb, "large": large}, file, indent=1)
    file.write("\n")

# Layers that the Go implementation encrypted: their descriptors.
layers = {}
with tempfile.TemporaryDirectory() as work:
    def run(*args):
        subprocess.run(args, check=True, capture_output=True, cwd=work)
    run("umoci", "init", "--layout", "plain")
    run("umoci", "new", "--image", "plain:test")
    with open(f"{work}/file", "w") as file:
        file.write("content\n")
    run("umoci", "insert", "--rootless", "--image", "plain:test", "file", "/file")
    for name in ("rsa-2048", "p-256", "p-384", "p-521"):
        with open(f"{work}/{name}.pem", "wb") as file:
            file.write(openssl("pkey", "-pubout", stdin=keys[name]))
    for names in (["rsa-2048"], ["p-256"], ["p-384"], ["p-521"], ["rsa-2048", "p-521", "p-256"]):
        run("rm", "-rf", "encrypted")
        args = [arg for name in names for arg in ("--encryption-key", f"jwe:{name}.pem")]
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
