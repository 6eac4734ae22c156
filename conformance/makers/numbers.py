"""Private keys and messages whose numbers are unusual: by Python's own integers, and `cryptography`."""

import hashlib, os
from jwcrypto.common import base64url_encode as url
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from .kit import JWE, LAYER, NOTHING, PGP, Family, compact, data, key, openssl, payload

HAND = "Python's integers, and its cryptography"
E = 65537
# RFC 7748, and what Bernstein lists: the u coordinates of all points of an order of 1, 2, 4 and 8, and two that are
# not reduced.
LOW_ORDER = {
    "0": bytes(32), "1": b"\1" + bytes(31),
    "of-order-8": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    "of-order-8-too": bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    "minus-1": b"\xec" + b"\xff" * 30 + b"\x7f", "p": b"\xed" + b"\xff" * 30 + b"\x7f", "p-plus-1": b"\xee" + b"\xff" * 30 + b"\x7f",
}


def der(tag, *parts):
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content


def integer(number):
    return der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def prime(bits):
    while True:
        found = int(openssl("prime", "-generate", "-bits", str(bits)))
        if found % E != 1:
            return found


def rsa_key(bits, p_bits, order):
    """The modulus, and PKCS#1, of which OpenSSL need not know how such primes come about."""
    while True:
        p, q = prime(p_bits), prime(bits - p_bits)
        if (p * q).bit_length() == bits and p != q:
            break
    p, q = (min(p, q), max(p, q)) if order == "ascending" else (max(p, q), min(p, q))
    d = pow(E, -1, (p - 1) * (q - 1))
    numbers = (0, p * q, E, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
    return p * q, der(0x30, *map(integer, numbers))


def sealed(protected, encrypted_key, content_key):
    """A flattened JWE with A256GCM."""
    protected = url(compact(protected))
    iv = os.urandom(12)
    text = AESGCM(content_key).encrypt(iv, LAYER.options(), protected.encode())
    members = {"protected": protected, "encrypted_key": url(encrypted_key), "iv": url(iv), "ciphertext": url(text[:-16]), "tag": url(text[-16:])}
    return compact(members).encode()


def for_rsa(modulus, first=None):
    """RSA-OAEP-256; the first octet of the encoded message is 0, or what is wanted."""
    content_key, hash = os.urandom(32), {"alg": "RSA-OAEP-256", "enc": "A256GCM"}
    if first is None:
        key = rsa.RSAPublicNumbers(E, modulus).public_key()
        return sealed(hash, key.encrypt(content_key, OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None)), content_key)
    size = (modulus.bit_length() + 7) // 8
    mask = lambda seed, length: b"".join(hashlib.sha256(seed + i.to_bytes(4, "big")).digest() for i in range(length // 32 + 1))[:length]
    add = lambda a, b: bytes(x ^ y for x, y in zip(a, b))
    seed = os.urandom(32)
    block = hashlib.sha256(b"").digest() + bytes(size - 2 * 32 - 2 - len(content_key)) + b"\1" + content_key
    block = add(block, mask(seed, len(block)))
    encoded = bytes([first]) + add(seed, mask(block, 32)) + block
    number = int.from_bytes(encoded, "big")
    assert number < modulus
    return sealed(hash, pow(number, E, modulus).to_bytes(size, "big"), content_key)


def for_curve(recipient, name, curve, zeros):
    """ECDH-ES+A256KW with a shared secret that begins with so many bytes of zeros."""
    size = (curve.key_size + 7) // 8
    while True:
        ephemeral = ec.generate_private_key(curve)
        shared = ephemeral.exchange(ec.ECDH(), recipient)
        if shared[:zeros] == bytes(zeros):
            break
    assert len(shared) == size
    point = ephemeral.public_key().public_numbers()
    x, y = (url(number.to_bytes(size, "big")) for number in (point.x, point.y))
    alg = b"ECDH-ES+A256KW"
    info = len(alg).to_bytes(4, "big") + alg + bytes(8) + (256).to_bytes(4, "big")
    content_key = os.urandom(32)
    wrapped = aes_key_wrap(ConcatKDFHash(hashes.SHA256(), 32, info).derive(shared), content_key)
    return sealed({"alg": alg.decode(), "enc": "A256GCM", "epk": {"kty": "EC", "crv": name, "x": x, "y": y}}, wrapped, content_key)


def packet(tag, body):
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4, "big") + body


def subkey(file, algorithm):
    """The public part and the fingerprint of the secret subkey of this algorithm (RFC 9580, section 5.5.2)."""
    at, bytes_ = 0, data(f"pgp/keys/{file}")
    while True:
        tag, first = bytes_[at], bytes_[at + 1]
        if tag & 0x40:
            start, length = (at + 2, first) if first < 192 else (at + 3, ((first - 192) << 8) + bytes_[at + 2] + 192)
        else:
            size = 1 << (tag & 3)
            start, length = at + 1 + size, int.from_bytes(bytes_[at + 1:at + 1 + size], "big")
        kind = tag & 0x3F if tag & 0x40 else (tag & 0x3C) >> 2
        body = bytes_[start:start + length]
        if kind == 7 and body[0] == 4 and body[5] == algorithm:
            break
        at = start + length
    if algorithm == 25:
        public = body[:6 + 32]
    else:
        bits = 7 + body[6]
        point = bits + 2 + (int.from_bytes(body[bits:bits + 2], "big") + 7) // 8
        public = body[:point + 1 + body[point]]
    return public, hashlib.sha1(b"\x99" + len(public).to_bytes(2, "big") + public).digest()


def for_low_order(file, algorithm, point):
    """A message whose session key is wrapped with what everybody shares by such a point: zeros."""
    public, fingerprint = subkey(file, algorithm)
    session, shared = os.urandom(32), bytes(32)
    head = b"\3" + fingerprint[-8:] + bytes([algorithm])
    if algorithm == 25:
        secret = point + public[6:38] + shared
        wrapping = HKDF(hashes.SHA256(), 16, None, b"OpenPGP X25519").derive(secret)
        wrapped = aes_key_wrap(wrapping, session)
        recipient = head + point + bytes([len(wrapped) + 1, 9]) + wrapped
    else:
        parameters = public[6:7 + public[6]] + b"\x12" + public[-4:] + b"Anonymous Sender    " + fingerprint
        hash, length = {8: (hashlib.sha256, 32), 9: (hashlib.sha384, 48), 10: (hashlib.sha512, 64)}[public[-2]]
        wrapping = hash(b"\0\0\0\1" + shared + parameters).digest()[:{7: 16, 8: 24, 9: 32}[public[-1]]]
        padded = b"\x09" + session + (sum(session) % 65536).to_bytes(2, "big") + b"\5" * 5
        wrapped = aes_key_wrap(wrapping, padded)
        recipient = head + (263).to_bytes(2, "big") + b"\x40" + point + bytes([len(wrapped)]) + wrapped
    prefix = os.urandom(16)
    text = prefix + prefix[-2:] + packet(11, b"b\0\0\0\0\0" + LAYER.options()) + b"\xd3\x14"
    text += hashlib.sha1(text).digest()
    encryptor = Cipher(algorithms.AES(session), modes.CFB(bytes(16))).encryptor()
    return packet(1, recipient) + packet(18, b"\1" + encryptor.update(text) + encryptor.finalize())


def make():
    family = Family("numbers", "Keys and messages whose numbers are unusual: lengths, orders, zeros.")
    layer = family.file("layer", LAYER.encrypted)

    def case(name, why, rule, scheme, item, keys, level="must", expect=None):
        family.case(name, why, rule, level, expect or LAYER.plainly(), layer, payload(LAYER.descriptor(scheme, [item])), keys, HAND)

    rule = "RFC 8017, sections 3.2 and 5.1.2"
    for name, bits, p_bits, order, level in (
            ("2047-bits", 2047, 1024, "descending", "must"), ("2049-bits", 2049, 1025, "descending", "must"),
            ("2055-bits", 2055, 1028, "descending", "must"), ("p-below-q", 2048, 1024, "ascending", "must"),
            ("p-below-q-of-2050-bits", 2050, 1025, "ascending", "must"),
            ("primes-of-900-and-1148-bits", 2048, 900, "ascending", "should"),
            ("primes-of-1148-and-900-bits", 2048, 900, "descending", "should"),
            ("primes-of-512-and-1536-bits", 2048, 512, "ascending", "should")):
        modulus, file = rsa_key(bits, p_bits, order)
        file = family.file(f"rsa-{name}.der", file)
        case(f"rsa/{name}", f"a modulus of {bits} bits, whose primes are as the name says, is a modulus like others", rule, JWE,
             for_rsa(modulus), {"key.der": file}, level)

    modulus = serialization.load_pem_private_key(key("rsa-2048"), None).private_numbers().public_numbers.n
    own = {"rsa-2048.pem": family.file("rsa-2048.pem", key("rsa-2048"))}
    case("oaep/first-octet-0", "the encoded message begins with a zero", "RFC 8017, section 7.1.1", JWE, for_rsa(modulus, 0), own)
    for first in (1, 2, 0x7F):
        case(f"oaep/first-octet-{first}", "an encoded message that does not begin with a zero is refused, like any other that is wrong: to tell it apart opens everything (Manger, 2001)",
             "RFC 8017, section 7.1.2, step 3g", JWE, for_rsa(modulus, first), own, expect=NOTHING)

    for name, crv, curve in (("p-256", "P-256", ec.SECP256R1()), ("p-384", "P-384", ec.SECP384R1()), ("p-521", "P-521", ec.SECP521R1())):
        recipient = serialization.load_pem_private_key(key(name), None).public_key()
        keys = {f"{name}.pem": family.file(f"{name}.pem", key(name))}
        for zeros in (1, 2) if name == "p-521" else (1,):
            case(f"ecdh/{name}/secret-with-{zeros}-leading-zeros", "the shared secret has the length of the field: its leading zeros stay",
                 "RFC 7518, section 4.6.2; SP 800-56A, section 5.7.1.2", JWE, for_curve(recipient, crv, curve, zeros), keys)
    # A private number far below the order, in the file's full length and without its zeros.
    number = int.from_bytes(hashlib.sha512(b"a number of 480 bits").digest()[:60], "big")
    small = ec.derive_private_key(number, ec.SECP521R1())
    oid = bytes.fromhex("a00706052b81040023")
    message = for_curve(small.public_key(), "P-521", ec.SECP521R1(), 2)
    for name, octets, level in (("in-full", number.to_bytes(66, "big"), "must"), ("without-its-zeros", number.to_bytes(60, "big"), "should")):
        file = der(0x30, b"\x02\x01\x01", der(4, octets), oid)
        file = b"-----BEGIN EC PRIVATE KEY-----\n" + __import__("base64").encodebytes(file) + b"-----END EC PRIVATE KEY-----\n"
        case(f"ecdh/p-521/private-number-of-60-bytes/{name}", f"a private number that begins with six zeros, {name.replace('-', ' ')}", "RFC 5915, section 3; Go reads both, in PKCS#8 only",
             JWE, message, {"key.pem": family.file(f"p-521-{name}.pem", file)}, "should")

    for kind, file, algorithm in (("cv25519", "cv25519.gpg", 18), ("x25519", "rpgp-v4-x25519.gpg", 25)):
        ring = {file: family.file(file, data(f"pgp/keys/{file}"))}
        for name, point in LOW_ORDER.items():
            case(f"{kind}/low-order/{name}", "with a point of low order everybody shares the same secret, zeros: who takes it opens what was encrypted for nobody",
                 "RFC 7748, section 6.1", PGP, for_low_order(file, algorithm, point), ring, "should", NOTHING)
    return family
