#!/usr/bin/env python3
"""Makes the fixtures of this directory anew, with openssl 3, from the keys in ../keys. See README.md."""

import base64, glob, hashlib, os, subprocess

os.chdir(os.path.dirname(os.path.abspath(__file__)))
PASSWORD = "secret"
# openssl 3 keeps single DES and RC2 for those who ask.
LEGACY = ["-provider", "legacy", "-provider", "default"]

for old in glob.glob("*.pem") + glob.glob("*.der"):
    os.remove(old)


def openssl(*args, stdin=None):
    return subprocess.run(["openssl", *args], input=stdin, check=True, capture_output=True).stdout


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)


def key(name):
    with open(f"../keys/{name}.pkcs8.pem", "rb") as file:
        return file.read()


def pkcs8(name, *args, password=PASSWORD):
    return openssl("pkcs8", "-topk8", *args, "-passout", "pass:" + password, *LEGACY, stdin=key(name))


# PKCS#8 with PBES2: every function with every cipher, and what people set by hand.
for cipher in ("des", "des3", "aes128", "aes192", "aes256"):
    for prf in ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512"):
        write(f"p-256.pbkdf2-{prf.lower()}-{cipher}.pem", pkcs8("p-256", "-v2", cipher, "-v2prf", "hmacWith" + prf))
    numbers = ["-scrypt_N", "1024", "-scrypt_r", "1", "-scrypt_p", "16"]
    write(f"p-256.scrypt-1024-{cipher}.pem", pkcs8("p-256", "-v2", cipher, "-scrypt", *numbers))
write("p-256.scrypt.pem", pkcs8("p-256", "-scrypt"))
write("p-256.scrypt-parallel.pem", pkcs8("p-256", "-scrypt", "-scrypt_N", "16384", "-scrypt_r", "8", "-scrypt_p", "4"))
write("p-256.rounds-600000.pem", pkcs8("p-256", "-v2", "aes256", "-v2prf", "hmacWithSHA256", "-iter", "600000"))
write("p-256.rounds-1.pem", pkcs8("p-256", "-v2", "aes256", "-iter", "1"))
for name in ("p-384", "p-521", "rsa-2048"):
    write(f"{name}.pkcs8.pem", pkcs8(name, "-v2", "aes256"))
write("p-256.pkcs8.der", pkcs8("p-256", "-v2", "aes256", "-outform", "DER"))
write("ed25519.pkcs8.pem", pkcs8("ed25519", "-v2", "aes256"))
write("p-256.other-password.pem", pkcs8("p-256", "-v2", "aes256", password=" p\u00e4ss word\t "))

# PEM with DEK-Info.
for cipher in ("des", "des3", "aes128", "aes192", "aes256"):
    write(f"rsa-2048.dek-info-{cipher}.pem",
          openssl("rsa", "-traditional", "-" + cipher, "-passout", "pass:" + PASSWORD, *LEGACY, stdin=key("rsa-2048")))
    write(f"p-256.dek-info-{cipher}.pem",
          openssl("ec", "-" + cipher, "-passout", "pass:" + PASSWORD, *LEGACY, stdin=key("p-256")))
write("p-521.dek-info-aes256.pem", openssl("ec", "-aes256", "-passout", "pass:" + PASSWORD, stdin=key("p-521")))


def read(name):
    with open(name, "rb") as file:
        return file.read()


# Several blocks in one file: everything is found, whatever stands between.
parameters = openssl("ecparam", "-name", "prime256v1")
write("several.pem", b"words before\n" + read("rsa-2048.dek-info-aes256.pem") + b"\n" + key("p-384") + b"words between\n"
      + parameters + read("p-256.dek-info-des3.pem").replace(b"\n", b"\r\n") + read("../keys/certificate.pem")
      + read("p-521.pkcs8.pem"))

# What is named and refused.
write("unsupported.pbe-sha1-3des.pem", pkcs8("p-256", "-v1", "PBE-SHA1-3DES"))
write("unsupported.rc2.pem", pkcs8("p-256", "-v2", "rc2"))
write("unsupported.dek-info-camellia.pem",
      openssl("ec", "-camellia256", "-passout", "pass:" + PASSWORD, stdin=key("p-256")))


# What openssl does not write: numbers of all sizes, put together by hand.
def tlv(tag, *parts):
    content = b"".join(parts)
    length = len(content)
    head = bytes([length]) if length < 128 else (lambda n: bytes([0x80 | len(n)]) + n)(length.to_bytes((length.bit_length() + 7) // 8))
    return bytes([tag]) + head + content


def oid(text):
    first, second, *rest = map(int, text.split("."))
    out = bytes([40 * first + second])
    for arc in rest:
        digits = [arc & 127]
        while arc := arc >> 7:
            digits.insert(0, arc & 127 | 128)
        out += bytes(digits)
    return tlv(6, out)


def number(value):
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1))


def sealed(kdf, iv, ciphertext, cipher="2.16.840.1.101.3.4.1.42"):
    scheme = tlv(0x30, kdf, tlv(0x30, oid(cipher), tlv(4, iv)))
    return tlv(0x30, tlv(0x30, oid("1.2.840.113549.1.5.13"), scheme), tlv(4, ciphertext))


def pbkdf2(salt, *rest):
    return tlv(0x30, oid("1.2.840.113549.1.5.12"), tlv(0x30, tlv(4, salt), *rest))


def scrypt(n, r, p, *rest):
    numbers = [number(value) for value in (n, r, p, *rest)]
    return tlv(0x30, oid("1.3.6.1.4.1.11591.4.11"), tlv(0x30, tlv(4, b"salt"), *numbers))


iv = bytes(range(16))
plain = openssl("pkey", "-outform", "DER", stdin=key("p-256"))
plain = openssl("pkcs8", "-topk8", "-nocrypt", "-inform", "DER", "-outform", "DER", stdin=plain)


def encrypt(derived):
    return openssl("enc", "-aes-256-cbc", "-K", derived.hex(), "-iv", iv.hex(), stdin=plain)


sha256 = tlv(0x30, oid("1.2.840.113549.2.9"), tlv(5))
without_null = tlv(0x30, oid("1.2.840.113549.2.9"))
derive = lambda salt, hash: hashlib.pbkdf2_hmac(hash, PASSWORD.encode(), salt, 1000, 32)
long = bytes(range(200))
write("p-256.hand-key-length.der", sealed(pbkdf2(b"salt", number(1000), number(32), sha256), iv, encrypt(derive(b"salt", "sha256"))))
write("p-256.hand-default-prf.der", sealed(pbkdf2(b"salt", number(1000)), iv, encrypt(derive(b"salt", "sha1"))))
write("p-256.hand-without-null.der", sealed(pbkdf2(b"salt", number(1000), without_null), iv, encrypt(derive(b"salt", "sha256"))))
write("p-256.hand-long-salt.der", sealed(pbkdf2(long, number(1000), sha256), iv, encrypt(derive(long, "sha256"))))
write("p-256.hand-no-salt.der", sealed(pbkdf2(b"", number(1000), sha256), iv, encrypt(derive(b"", "sha256"))))
write("p-256.hand-scrypt-key-length.der", sealed(scrypt(1024, 8, 1, 32), iv,
      encrypt(hashlib.scrypt(PASSWORD.encode(), salt=b"salt", n=1024, r=8, p=1, dklen=32))))
# The most memory that is granted; openssl itself stops at half of it.
write("p-256.hand-scrypt-64-mib.der", sealed(scrypt(2**16, 8, 1), iv,
      encrypt(hashlib.scrypt(PASSWORD.encode(), salt=b"salt", n=2**16, r=8, p=1, dklen=32, maxmem=2**27))))

block = bytes(32)
des, triple = "1.3.14.3.2.7", "1.2.840.113549.3.7"
for name, content in {
    "bomb.rounds": sealed(pbkdf2(b"salt", number(2**31 - 1), sha256), iv, block),
    "bomb.rounds-beyond-32-bits": sealed(pbkdf2(b"salt", number(2**32 + 1), sha256), iv, block),
    "bomb.rounds-beyond-64-bits": sealed(pbkdf2(b"salt", number(2**64 + 1), sha256), iv, block),
    "bomb.rounds-twice": sealed(pbkdf2(b"salt", number(9_000_000)), iv, block),
    "bomb.scrypt-memory": sealed(scrypt(2**20, 8, 1), iv, block),
    "bomb.scrypt-wide": sealed(scrypt(2, 2**28, 1), iv, block),
    "bomb.scrypt-long": sealed(scrypt(2**14, 8, 2**12), iv, block),
    "bomb.scrypt-many": sealed(scrypt(2, 1, 2**30), iv, block),
    "bomb.scrypt-overflow": sealed(scrypt(2**63, 2**63, 2**63), iv, block),
    "broken.no-rounds": sealed(pbkdf2(b"salt", number(0), sha256), iv, block),
    "broken.negative-rounds": sealed(pbkdf2(b"salt", tlv(2, b"\xff"), sha256), iv, block),
    "broken.key-length": sealed(pbkdf2(b"salt", number(1000), number(16), sha256), iv, block),
    "broken.scrypt-n-0": sealed(scrypt(0, 8, 1), iv, block),
    "broken.scrypt-n-1": sealed(scrypt(1, 8, 1), iv, block),
    "broken.scrypt-n-1000": sealed(scrypt(1000, 8, 1), iv, block),
    "broken.scrypt-r-0": sealed(scrypt(1024, 0, 1), iv, block),
    "broken.scrypt-p-0": sealed(scrypt(1024, 8, 0), iv, block),
    "broken.iv-short": sealed(pbkdf2(b"salt", number(1000), sha256), iv[:15], block),
    "broken.iv-short-des": sealed(pbkdf2(b"salt", number(1000), sha256), iv[:7], block, des),
    "broken.iv-none-3des": sealed(pbkdf2(b"salt", number(1000), sha256), b"", block, triple),
    "wrong.empty": sealed(pbkdf2(b"salt", number(1000), sha256), iv, b""),
    "wrong.half-a-block": sealed(pbkdf2(b"salt", number(1000), sha256), iv, block[:24]),
}.items():
    write(name + ".der", content)
