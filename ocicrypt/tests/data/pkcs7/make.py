#!/usr/bin/env python3
"""Makes the fixtures of this directory anew, with openssl, Python's cryptography, umoci and skopeo. See README.md."""

import base64, json, os, subprocess, tempfile
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import pkcs7

os.chdir(os.path.dirname(os.path.abspath(__file__)))
KEYS = "../keys"
LEGACY = ("-provider", "legacy", "-provider", "default")
cases = []


def openssl(*args, stdin=None):
    return subprocess.run(["openssl", *args], input=stdin, check=True, capture_output=True).stdout


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)


def read(name):
    with open(name, "rb") as file:
        return file.read()


# Certificates: self-signed, and one of an authority with a long name.
for name in ("rsa-1024", "rsa-2048", "rsa-3072", "rsa-4096", "p-256"):
    write(f"{name}.cert.pem", openssl("req", "-x509", "-key", f"{KEYS}/{name}.pkcs8.pem", "-subj", f"/O=test/CN={name}", "-days", "36500"))
request = openssl("req", "-new", "-key", f"{KEYS}/rsa-2056.pkcs8.pem", "-subj", "/CN=leaf")
write("request.pem", request)
with tempfile.NamedTemporaryFile() as file:
    file.write(openssl("req", "-x509", "-key", f"{KEYS}/rsa-3072.pkcs8.pem", "-subj", "/C=AQ/O=Test Authority/OU=" + "long" * 15 + "/CN=\u00c9mile", "-utf8"))
    file.flush()
    write("rsa-2056.cert.pem", openssl("x509", "-req", "-CA", file.name, "-CAkey", f"{KEYS}/rsa-3072.pkcs8.pem",
          "-set_serial", "0x00f0000000000000000000000000000000000001", "-days", "36500", stdin=request))
write("rsa-2048.cert.der", openssl("x509", "-outform", "DER", "-in", "rsa-2048.cert.pem"))
write("bundle.pem", b"words\n" + read("p-256.cert.pem") + read("rsa-3072.cert.pem").replace(b"\n", b"\r\n") + openssl("x509", "-text", "-in", "rsa-2048.cert.pem"))
# The same key in another certificate, as after a renewal.
write("renewed.cert.pem", openssl("req", "-x509", "-key", f"{KEYS}/rsa-2048.pkcs8.pem", "-subj", "/O=test/CN=rsa-2048", "-days", "36500", "-set_serial", "7",
      "-addext", "subjectKeyIdentifier=00:01:02"))

# The content is the private options of no real layer.
plaintext = json.dumps({
    "symkey": base64.b64encode(bytes(range(32))).decode(),
    "digest": "sha256:" + "5a" * 32,
    "cipheroptions": {"nonce": base64.b64encode(bytes(range(100, 116))).decode()},
}, separators=(",", ":")).encode()


def case(name, cms, *keys):
    for key in keys or ["rsa-2048"]:
        suffix = "" if len(keys) < 2 else f", with {key}"
        cases.append({"name": name + suffix, "key": key, "cms": base64.b64encode(cms).decode()})


def encrypt(*args, recipients=("rsa-2048",), options=(), content=plaintext):
    recipients = [arg for name in recipients for arg in ("-recip", f"{name}.cert.pem", *options)]
    return openssl("cms", "-encrypt", "-binary", "-outform", "DER", *args, *recipients, stdin=content)


STREAM = ("-stream", "-indef")
for cipher, more in (("des-cbc", LEGACY), ("des-ede3-cbc", ()), ("aes-128-cbc", ()), ("aes-192-cbc", ()), ("aes-256-cbc", ()),
                     ("aes-128-gcm", ()), ("aes-192-gcm", ()), ("aes-256-gcm", ())):
    case(f"{cipher} DER", encrypt(*more, f"-{cipher}"))
    case(f"{cipher} BER", encrypt(*more, f"-{cipher}", *STREAM))
    case(f"{cipher} by key identifier", encrypt(*more, f"-{cipher}", "-keyid"))
# Long enough that openssl cuts the content in pieces.
case("pieces", encrypt("-aes-256-gcm", *STREAM, content=b" " * 20000 + plaintext))
OAEP = ("-keyopt", "rsa_padding_mode:oaep")
HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512")
case("OAEP with what is left out", encrypt("-aes-128-cbc", options=OAEP))
for hash in HASHES:
    for mask in HASHES:
        case(f"OAEP {hash} mgf1 {mask}", encrypt("-aes-256-gcm", options=(*OAEP, "-keyopt", f"rsa_oaep_md:{hash}", "-keyopt", f"rsa_mgf1_md:{mask}")))
for name in ("rsa-1024", "rsa-2056", "rsa-4096"):
    case(name, encrypt("-aes-256-cbc", recipients=[name]), name)
three = ("rsa-3072", "rsa-4096", "rsa-2048")
case("three recipients", encrypt("-aes-256-cbc", recipients=three), *three)
case("three recipients in BER", encrypt("-aes-256-gcm", *STREAM, recipients=three), *three)
case("one key twice", encrypt("-aes-256-cbc", recipients=("renewed", "rsa-2048")))
mixed = encrypt("-aes-256-cbc", "-secretkey", "00" * 32, "-secretkeyid", "01", "-pwri_password", "secret", recipients=("p-256", "rsa-2048"))
case("recipients of every kind", mixed)
negative = {
    "not for us": encrypt("-aes-256-cbc", recipients=["rsa-4096"]),
    "other kinds": encrypt("-aes-256-cbc", "-secretkey", "00" * 32, "-secretkeyid", "01", "-pwri_password", "secret", recipients=["p-256"]),
    "a label": encrypt("-aes-256-cbc", options=(*OAEP, "-keyopt", "rsa_oaep_label:6c6162656c")),
    "an unknown hash": encrypt("-aes-256-cbc", options=(*OAEP, "-keyopt", "rsa_oaep_md:sha3-256")),
    "an unknown mask": encrypt("-aes-256-cbc", options=(*OAEP, "-keyopt", "rsa_mgf1_md:sha512-256")),
    "an unknown cipher": encrypt("-camellia-128-cbc"),
    "signed": openssl("cms", "-sign", "-binary", "-outform", "DER", "-signer", "rsa-2048.cert.pem", "-inkey", f"{KEYS}/rsa-2048.pkcs8.pem", stdin=plaintext),
    "symmetric": openssl("cms", "-EncryptedData_encrypt", "-binary", "-outform", "DER", "-aes-256-cbc", "-secretkey", "00" * 32, stdin=plaintext),
    "no options": encrypt("-aes-256-gcm", content=b"hello"),
    "no options, not authentic": encrypt("-aes-256-cbc", content=b"hello"),
}

# Another implementation.
certificate = x509.load_pem_x509_certificate(read("rsa-2048.cert.pem"))
for name, algorithm in (("128", algorithms.AES128), ("256", algorithms.AES256)):
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(plaintext).add_recipient(certificate).set_content_encryption_algorithm(algorithm)
    case(f"Python's cryptography, AES-{name}", builder.encrypt(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary]))


# What openssl does not write: put together by hand, encrypted by Python's cryptography.
def der(tag, *parts):
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content


def ber(tag, *parts):
    """With indefinite length."""
    return bytes([tag, 0x80]) + b"".join(parts) + b"\0\0"


ID_DATA = bytes.fromhex("06092a864886f70d010701")
ENVELOPED = bytes.fromhex("06092a864886f70d010703")
AUTH_ENVELOPED = bytes.fromhex("060b2a864886f70d0109100117")
RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")
GCM = {16: bytes.fromhex("0609608648016503040106"), 32: bytes.fromhex("060960864801650304012e")}
NONCE = bytes(range(12))
KEY = bytes(range(200, 232))


def recipient(key, wrapped=None):
    wrapped = wrapped or certificate.public_key().encrypt(key, padding.PKCS1v15())
    number = certificate.serial_number
    serial = der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))
    return der(0x30, b"\x02\x01\x00", der(0x30, certificate.issuer.public_bytes(), serial), RSA_ENCRYPTION, der(4, wrapped))


def go(size):
    """AES-GCM as Go writes it, malformed parameters and all."""
    key = KEY[:size]
    parameters = der(0x10, der(0x30, der(0x84, NONCE), b"\x02\x01\x10"))
    content = AESGCM(key).encrypt(NONCE, plaintext, None)
    info = der(0x30, ID_DATA, der(0x30, GCM[size], parameters), der(0xa0, der(4, content)))
    return der(0x30, ENVELOPED, der(0xa0, der(0x30, b"\x02\x01\x00", der(0x31, recipient(key)), info)))


def authenticated(make, recipients):
    """With attributes, which are authenticated in DER whatever they are sent as."""
    type_attribute = lambda make: make(0x30, bytes.fromhex("06092a864886f70d010903"), make(0x31, ID_DATA))
    text = AESGCM(KEY).encrypt(NONCE, plaintext, der(0x31, type_attribute(der)))
    content = make(0xa0, der(4, text[:7]), der(4, text[7:-16])) if make is ber else der(0x80, text[:-16])
    parameters = der(0x30, der(4, NONCE), b"\x02\x01\x10")
    info = make(0x30, ID_DATA, der(0x30, GCM[32], parameters), content)
    return make(0x30, AUTH_ENVELOPED, make(0xa0, make(0x30, b"\x02\x01\x00", make(0x31, *recipients), info,
                make(0xa1, type_attribute(make)), der(4, text[-16:]))))


def cbc(pad):
    """A content that ends in a padding of this value, whatever it stands for."""
    enc = lambda data: subprocess.run(["openssl", "enc", "-aes-256-cbc", "-nopad", "-K", KEY.hex(), "-iv", "00" * 16],
                                      input=data, check=True, capture_output=True).stdout
    parameters = bytes.fromhex("060960864801650304012a") + der(4, bytes(16))
    info = der(0x30, ID_DATA, der(0x30, parameters), der(0x80, enc(bytes(15) + bytes([pad]))))
    return der(0x30, ENVELOPED, der(0xa0, der(0x30, b"\x02\x01\x00", der(0x31, recipient(KEY)), info)))


case("Go's form, AES-128-GCM", go(16))
case("Go's form, AES-256-GCM", go(32))
case("attributes", authenticated(der, [recipient(KEY)]))
case("attributes in BER", authenticated(ber, [recipient(KEY)]))
hostile = [der(0x30), der(4), der(0x30, b"\x02\x01\x00"), recipient(KEY, bytes(256)), recipient(KEY, b"\xff" * 256), recipient(KEY, b"\1"),
           recipient(KEY, certificate.public_key().encrypt(b"short", padding.PKCS1v15())), recipient(bytes(32))]
case("after hostile recipients", authenticated(der, [*hostile, recipient(KEY)]))
modulus = certificate.public_key().public_numbers()
unpadded = pow(int.from_bytes(b"\0\1" + b"\2" * 254, "big"), modulus.e, modulus.n).to_bytes(256, "big")
wrong_length = certificate.public_key().encrypt(KEY[:16], padding.PKCS1v15())
for name, wrapped in (("bad padding", unpadded), ("wrong length", wrong_length), ("wrong content key", None)):
    negative[name] = authenticated(der, [recipient(bytes(32), wrapped)])
for pad in (0, 17, 32, 255):
    negative[f"padding {pad}"] = cbc(pad)

with open("messages.json", "w") as file:
    negative = {name: base64.b64encode(cms).decode() for name, cms in negative.items()}
    json.dump({"plaintext": plaintext.decode(), "cases": cases, "negative": negative}, file, indent=1)
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
    for names in (["rsa-2048"], ["rsa-2056"], ["rsa-4096", "rsa-2048"]):
        run("rm", "-rf", "encrypted")
        args = [arg for name in names for arg in ("--encryption-key", f"pkcs7:{os.getcwd()}/{name}.cert.pem")]
        run("skopeo", "copy", *args, "oci:plain:test", "oci:encrypted:test")

        def blob(digest):
            with open(f"{work}/encrypted/blobs/" + digest.replace(":", "/")) as file:
                return json.load(file)
        with open(f"{work}/encrypted/index.json") as file:
            layer = blob(json.load(file)["manifests"][0]["digest"])["layers"][0]
        layers[" ".join(names)] = layer
with open("layers.json", "w") as file:
    json.dump(layers, file, indent=1)
    file.write("\n")
