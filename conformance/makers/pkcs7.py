"""Wrapped keys in PKCS#7: OpenSSL's and skopeo's, and what OpenSSL wrote, spoilt."""

import os, tempfile

from .kit import DATA, LAYER, NOTHING, PKCS7, Family, data, key, openssl, payload, skopeo, version

CIPHERS = ("des-cbc", "des-ede3-cbc", "aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm")
TRANSPORTS = ("pkcs1v15", "sha1", "sha224", "sha256", "sha384", "sha512")
STREAM = ("-stream", "-indef")
LEGACY = ("-provider", "legacy", "-provider", "default")
# What the Go implementation reads: nothing of RFC 5083, and no AES with 192 bits.
GO = ("des-cbc", "des-ede3-cbc", "aes-128-cbc", "aes-256-cbc")


def certificate(name):
    return os.path.join(DATA, f"pkcs7/{name}.cert.pem")


def encrypt(cipher, *args, recipients=(("rsa-2048", "pkcs1v15"),), content=None):
    options = []
    for name, transport in recipients:
        options += ["-recip", certificate(name)]
        if transport != "pkcs1v15":
            options += ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", f"rsa_oaep_md:{transport}"]
    legacy = LEGACY if cipher == "des-cbc" else ()
    return openssl("cms", "-encrypt", "-binary", "-outform", "DER", *legacy, f"-{cipher}", *args, *options,
                   stdin=content or LAYER.options())


def make():
    family = Family("pkcs7", "Wrapped keys of the scheme `pkcs7` (CMS EnvelopedData, RFC 5652).")
    layer = family.file("layer", LAYER.encrypted)
    cms = openssl("version").decode().split(" (")[0].strip() + ", cms -encrypt"

    def pair(name="rsa-2048"):
        return {"key.pem": family.file(f"{name}.pem", key(name)),
                "node.crt": family.file(f"{name}.crt", data(f"pkcs7/{name}.cert.pem"))}

    def case(name, why, rule, items, keys=None, level="must", expect=None, parameters=None):
        family.case(name, why, rule, level, expect or LAYER.plainly(), layer,
                    payload(LAYER.descriptor(PKCS7, items), parameters), pair() if keys is None else keys, cms)

    recipients(case, pair)
    both, good = items_and_certificates(case, pair, family)
    damaged_messages(case, good, family, both)
    with tempfile.TemporaryDirectory() as work:
        go = version("skopeo") + " (ocicrypt in Go)"
        for chosen in (["rsa-2048"], ["rsa-4096"], ["rsa-3072", "rsa-2048"]):
            descriptor, blob, expect = skopeo(work, [f"pkcs7:{certificate(name)}" for name in chosen])
            at = family.file("skopeo-" + "-".join(chosen), blob)
            for owner in chosen:
                family.case(f"skopeo/{'-'.join(chosen)}/{owner}", "a layer that the Go implementation encrypted is decrypted: AES-128-GCM inside EnvelopedData, with parameters that no standard has",
                            "ocicrypt: the format itself", "must", expect, at, payload(descriptor), pair(owner), go)
    return family


def recipients(case, pair):
    for cipher in CIPHERS:
        gcm = "gcm" in cipher
        content = "RFC 5083; RFC 5084" if gcm else "RFC 3370, section 5; RFC 3565"
        for transport in TRANSPORTS:
            rule = "RFC 3370, section 4.2.1" if transport == "pkcs1v15" else "RFC 4056, RFC 3560, section 3"
            case(f"{cipher}/{transport}", f"{cipher} with the key transport {transport}, as OpenSSL writes it, is opened",
                 f"{rule}; {content}", [encrypt(cipher, recipients=[("rsa-2048", transport)])], level="must" if cipher in GO else "should")
        case(f"{cipher}/ber", f"{cipher} in BER: lengths that were not known, and content in pieces", f"RFC 5652, section 5.2.1; {content}",
             [encrypt(cipher, *STREAM)], level="must" if cipher in GO else "should")
    for name in ("rsa-3072", "rsa-4096"):
        if os.path.exists(certificate(name)):
            case(f"key/{name}", f"an {name} key opens what was encrypted for its certificate", "RFC 3370, section 4.2.1",
                 [encrypt("aes-256-cbc", recipients=[(name, "pkcs1v15")])], pair(name))
    case("recipients/by-key-identifier", "a recipient may be named by the subject key identifier", "RFC 5652, section 6.2.1",
         [encrypt("aes-256-cbc", "-keyid")], level="should")
    three = encrypt("aes-256-cbc", recipients=[("rsa-3072", "pkcs1v15"), ("rsa-4096", "sha384"), ("rsa-2048", "sha1")])
    for name in ("rsa-3072", "rsa-4096", "rsa-2048"):
        case(f"recipients/{name}-of-three", "each recipient opens the one message", "RFC 5652, section 6.1", [three], pair(name))
    mixed = ("-secretkey", "00" * 32, "-secretkeyid", "01", "-pwri_password", "secret")
    case("recipients/of-every-kind", "recipients of other kinds (key agreement, a symmetric key, a password) stand beside ours",
         "RFC 5652, section 6.2", [encrypt("aes-256-cbc", *mixed, recipients=[("p-256", "pkcs1v15"), ("rsa-2048", "pkcs1v15")])], level="should")


def items_and_certificates(case, pair, family):
    good = encrypt("aes-256-cbc")
    case("item/second-of-two", "the second of two items is for this node", "ocicrypt: every item is tried",
         [encrypt("aes-256-cbc", recipients=[("rsa-4096", "pkcs1v15")]), good])
    case("item/not-cms-then-good", "an item that is no CMS does not spoil the good one", "ocicrypt: every item is tried", [b"hello", good])
    case("item/cut-off-then-good", "an item that was cut off does not spoil the good one", "ocicrypt: every item is tried", [good[:200], good])

    both = pair()
    case("certificate/binary", "the certificate may be DER", "RFC 5280, section 4.1",
         [good], {**both, "node.crt": family.file("rsa-2048.der.crt", data("pkcs7/rsa-2048.cert.der"))})
    case("certificate/last-of-a-bundle", "all certificates of a PEM bundle count", "RFC 7468, section 5.1; Go reads the first",
         [good], {**both, "node.crt": family.file("bundle.crt", data("pkcs7/bundle.pem"))}, level="should")
    case("certificate/in-the-file-of-the-key", "key and certificate may share a file", "RFC 7468, section 2; Go reads the first block",
         [good], {"node.pem": family.file("both.pem", data("pkcs7/rsa-2048.cert.pem") + key("rsa-2048"))}, level="should")
    case("certificate/none", "the private key alone says which recipient it is: the certificate adds nothing", "Go wants a certificate",
         [good], {"key.pem": both["key.pem"]}, level="should")
    case("certificate/others-too", "certificates of other keys beside it do no harm", "ocicrypt: every pair is tried",
         [good], {**both, "ca.crt": family.file("rsa-3072.crt", data("pkcs7/rsa-3072.cert.pem"))})
    from .kit import b64
    parameters = {"privkeys": [b64(key("rsa-2048"))], "privkeys-passwords": [None], "x509s": [b64(data("pkcs7/rsa-2048.cert.pem"))]}
    case("certificate/in-the-payload", "key and certificate may both come with the payload", "ocicrypt: parameters `privkeys` and `x509s`",
         [good], {}, parameters=parameters)
    return both, good


def damaged_messages(case, good, family, both):
    for form in ("pkcs8.der", "pkcs1.pem", "pkcs1.der"):
        case(f"key/{form.replace('.', '-')}", f"the key may lie in its file as {form}", "RFC 5958; RFC 8017, appendix A.1.2",
             [good], {"key": family.file(f"rsa-2048.{form}", data(f"keys/rsa-2048.{form}")), "node.crt": both["node.crt"]})

    wrapped = good.index(bytes.fromhex("04820100")) + 4
    gcm = encrypt("aes-256-gcm")
    change = lambda message, place: message[:place] + bytes([message[place] ^ 1]) + message[place + 1:]
    bad = {
        "hello": ("a text", b"hello"),
        "nothing-but-a-sequence": ("a sequence without a type", b"\x30\x03\x02\x01\x00"),
        "length-beyond-the-end": ("a length of 4 GiB", b"\x30\x84\xff\xff\xff\xff" + good[4:]),
        "length-beyond-memory": ("a length of 8 EiB", b"\x30\x88\x7f" + b"\xff" * 7 + good[4:]),
        "cut-in-half": ("a message cut in half", good[:len(good) // 2]),
        "cut-by-a-byte": ("a message without its last byte", good[:-1]),
        "nested-10000-times": ("sequences in sequences, 10,000 times", b"\x30\x80" * 10_000),
        "octets-nested-10000-times": ("octet strings in octet strings, 10,000 times", b"\x24\x80" * 10_000),
        "wrapped-key-altered": ("a wrapped key that was altered", change(good, wrapped + 7)),
        "wrapped-key-zero": ("a wrapped key that is the number 0", good[:wrapped] + bytes(256) + good[wrapped + 256:]),
        "wrapped-key-beyond-the-modulus": ("a wrapped key that is larger than the modulus", good[:wrapped] + b"\xff" * 256 + good[wrapped + 256:]),
        "padding-altered": ("a last block that was altered: its padding is none", change(good, len(good) - 1)),
        "gcm-tag-altered": ("AES-GCM with another tag", change(gcm, len(gcm) - 1)),
        "not-for-this-node": ("a message for another", encrypt("aes-256-cbc", recipients=[("rsa-4096", "pkcs1v15")])),
        "key-agreement-only": ("a message for an EC key", encrypt("aes-256-cbc", recipients=[("p-256", "pkcs1v15")])),
        "camellia": ("a cipher that ocicrypt does not use", encrypt("camellia-128-cbc")),
        "signed": ("a message that is signed, not encrypted", openssl("cms", "-sign", "-binary", "-outform", "DER", "-nodetach",
                   "-signer", certificate("rsa-2048"), "-inkey", os.path.join(DATA, "keys/rsa-2048.pkcs8.pem"), stdin=LAYER.options())),
        "symmetric": ("EncryptedData without recipients", openssl("cms", "-EncryptedData_encrypt", "-binary", "-outform", "DER",
                      "-aes-256-cbc", "-secretkey", "00" * 32, stdin=LAYER.options())),
        "empty-content": ("nothing was encrypted", encrypt("aes-256-cbc", content=b" ")),
        "content-is-no-json": ("what was encrypted are no private options", encrypt("aes-256-cbc", content=b"hello")),
    }
    for name, (what, item) in bad.items():
        case(f"bad/{name}", f"{what}: refused before the layer is read", "RFC 5652", [item], expect=NOTHING)
    case("bad/another-key", "the certificate fits, the key is another", "RFC 5652, section 6.3", [good],
         {**both, "key.pem": family.file("rsa-3072.pem", key("rsa-3072"))}, expect=NOTHING)
