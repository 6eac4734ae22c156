"""Wrapped keys in JWE: jwcrypto's, skopeo's, and those of a writer that writes what they refuse to."""

import json, os, tempfile, zlib
from jwcrypto import jwe, jwk
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from .kit import JWE, LAYER, NOTHING, Family, compact, key, payload, public, skopeo, version
from jwcrypto.common import base64url_encode as url

RSA = ("RSA-OAEP", "RSA-OAEP-256")
ECDH = ("ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW")
ENC = ("A128GCM", "A192GCM", "A256GCM", "A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512")
CURVES = ("p-256", "p-384", "p-521")
FORMS = {"compact": "RFC 7516, section 7.1", "general": "RFC 7516, section 7.2.1", "flattened": "RFC 7516, section 7.2.2"}
ALGORITHMS = {**{a: "RFC 7518, section 4.3" for a in RSA}, **{a: "RFC 7518, section 4.6" for a in ECDH}}


def encrypt(protected, recipients, form="compact", unprotected=None, aad=None, content=None):
    """By jwcrypto. A recipient is the name of a key, or a name and a header."""
    token = jwe.JWE(content or LAYER.options(), json.dumps(protected),
                    json.dumps(unprotected) if unprotected else None, aad, algs=[*RSA, *ECDH, *ENC])
    for recipient in recipients:
        name, header = (recipient, None) if isinstance(recipient, str) else recipient
        token.add_recipient(jwk.JWK.from_pem(public(name)), json.dumps(header) if header else None)
    text = token.serialize(compact=form == "compact")
    if form == "general" and len(recipients) == 1:
        members = json.loads(text)
        one = {name: members.pop(name) for name in ("header", "encrypted_key") if name in members}
        text = json.dumps({**members, "recipients": [one]})
    return text


class Writer:
    """ECDH-ES+A256KW for P-256 by the letter of RFC 7518, with every part open to be spoilt."""

    def __init__(self, content=None, cbc=None, **header):
        recipient = load_pem_public_key(public("p-256"))
        ephemeral = ec.generate_private_key(ec.SECP256R1())
        point = ephemeral.public_key().public_numbers()
        x, y = (url(number.to_bytes(32, "big")) for number in (point.x, point.y))
        epk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        alg = "ECDH-ES+A256KW"
        members = {"alg": alg, "enc": "A256GCM" if cbc is None else "A128CBC-HS256", "epk": epk, **header}
        self.protected = url(compact({n: v for n, v in members.items() if v is not None}))
        shared = ephemeral.exchange(ec.ECDH(), recipient)
        info = len(alg).to_bytes(4, "big") + alg.encode() + bytes(8) + (256).to_bytes(4, "big")
        wrapping = ConcatKDFHash(hashes.SHA256(), 32, info).derive(shared)
        content_key = os.urandom(32)
        self.encrypted_key = aes_key_wrap(wrapping, content_key)
        aad = self.protected.encode()
        if cbc is None:
            self.iv = os.urandom(12)
            sealed = AESGCM(content_key).encrypt(self.iv, content or LAYER.options(), aad)
            self.ciphertext, self.tag = sealed[:-16], sealed[-16:]
        else:
            # A ciphertext that is taken as it is, with a tag that verifies.
            self.iv, self.ciphertext = os.urandom(16), cbc
            mac = HMAC(content_key[:16], hashes.SHA256())
            mac.update(aad + self.iv + cbc + (len(aad) * 8).to_bytes(8, "big"))
            self.tag = mac.finalize()[:16]

    def members(self, **changes):
        members = {"protected": self.protected}
        for name in ("encrypted_key", "iv", "ciphertext", "tag"):
            members[name] = url(getattr(self, name))
        return {name: value for name, value in {**members, **changes}.items() if value is not None}

    def flattened(self, **changes):
        return compact(self.members(**changes))

    def changed(self, part, change):
        setattr(self, part, change(getattr(self, part)))
        return self.flattened()


def flip(data, place=0):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1:]


def make():
    family = Family("jwe", "Wrapped keys of the scheme `jwe` (JSON Web Encryption, RFC 7516).")
    layer = family.file("layer", LAYER.encrypted)
    jwcrypto = "jwcrypto " + __import__("importlib.metadata").metadata.version("jwcrypto")

    def keys(*names):
        return {f"{name}.pem": family.file(f"{name}.pem", key(name)) for name in names}

    def opens(name, why, rule, items, *owners, level="must", origin=jwcrypto):
        descriptor = LAYER.descriptor(JWE, [item.encode() if isinstance(item, str) else item for item in items])
        family.case(name, why, rule, level, LAYER.plainly(), layer, payload(descriptor), keys(*owners), origin)

    ecdh = written_by_jwcrypto(opens)
    bad, hand = written_by_hand(opens, ecdh)
    good = not_opened(bad, family, layer, keys, hand)
    several_items(good, family, layer, keys, hand)
    with tempfile.TemporaryDirectory() as work:
        names = ("rsa-2048", "rsa-4096", *CURVES)
        for name in names:
            with open(f"{work}/{name}.pem", "wb") as file:
                file.write(public(name))
        go = version("skopeo") + " (ocicrypt in Go)"
        for chosen in [[name] for name in names] + [["rsa-2048", "p-521", "p-256"]]:
            descriptor, blob, expect = skopeo(work, [f"jwe:{name}.pem" for name in chosen])
            at = family.file("skopeo-" + "-".join(chosen), blob)
            for owner in chosen:
                suffix = owner if len(chosen) == 1 else f"{owner}-of-three"
                family.case(f"skopeo/{suffix}", "a layer that the Go implementation encrypted is decrypted", "ocicrypt: the format itself",
                            "must", expect, at, payload(descriptor), keys(owner), go)
        for kind in ("tar", "zstd"):
            descriptor, blob, expect = skopeo(work, ["jwe:p-256.pem"], kind)
            family.case(f"skopeo/layer-{kind}", f"the bytes are the layer's, {kind} or not: a decoder does not look into them",
                        "OCI image-spec, layer media types", "must", expect, family.file(f"skopeo-{kind}", blob), payload(descriptor), keys("p-256"), go)
    return family


def written_by_jwcrypto(opens):
    for a, alg in enumerate((*RSA, *ECDH)):
        for e, enc in enumerate(ENC):
            for f, form in enumerate(FORMS):
                owner = "rsa-2048" if alg in RSA else CURVES[(a + e + f) % 3]
                header = None if form == "compact" else {"alg": alg}
                protected = {"enc": enc} if header else {"alg": alg, "enc": enc}
                opens(f"{alg}/{enc}/{form}", f"{alg} with {enc} in the {form} serialization is opened",
                      f"{ALGORITHMS[alg]}; {FORMS[form]}", [encrypt(protected, [(owner, header)], form)], owner)
    for alg in ECDH:
        for owner in CURVES:
            opens(f"curve/{owner}/{alg}", f"{alg} on {owner.upper()}: coordinates and Z have the length of the field",
                  "RFC 7518, sections 4.6.2 and 6.2.1", [encrypt({"alg": alg, "enc": "A256GCM"}, [owner])], owner)
    for owner, level in (("rsa-2056", "must"), ("rsa-3072", "must"), ("rsa-4096", "must"), ("rsa-8192", "should"),
                         ("rsa-1024", "may"), ("rsa-e3", "should"), ("rsa-three-primes", "may")):
        opens(f"key/{owner}", f"an RSA key such as {owner} opens what is wrapped for it", "RFC 8017, section 3.2",
              [encrypt({"alg": "RSA-OAEP", "enc": "A256GCM"}, [owner])], owner, level=level)
    several = [("rsa-3072", {"alg": "RSA-OAEP", "kid": "one"}), ("p-521", {"alg": "ECDH-ES+A256KW"}),
               ("rsa-2048", {"alg": "RSA-OAEP-256"})]
    several_text = encrypt({"enc": "A256GCM"}, several, "general")
    for owner in ("rsa-3072", "p-521", "rsa-2048"):
        opens(f"recipients/{owner}-of-three", "each of several recipients opens the one message",
              "RFC 7516, section 7.2.1", [several_text], owner)
    opens("recipients/two-items", "the second of two items is for this node: all are tried",
          "ocicrypt: annotations are lists with commas between", [encrypt({"alg": "RSA-OAEP", "enc": "A256GCM"}, ["rsa-3072"]),
          encrypt({"alg": "ECDH-ES+A256KW", "enc": "A256GCM"}, ["p-256"])], "p-256")
    ecdh = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM"}
    opens("header/zip", "a content that was deflated is inflated", "RFC 7516, section 4.1.3", [encrypt({**ecdh, "zip": "DEF"}, ["p-256"])], "p-256")
    opens("header/zip-of-many-spaces", "a content may shrink a lot: 200 KB of white space around the options",
          "RFC 7516, section 4.1.3", [encrypt({**ecdh, "zip": "DEF"}, ["p-256"], content=b" " * 200_000 + LAYER.options())], "p-256", level="should")
    opens("header/aad", "additional authenticated data joins the protected header", "RFC 7516, section 5.1, step 14",
          [encrypt(ecdh, ["p-256"], "flattened", aad=b"more data")], "p-256")
    opens("header/apu-and-apv", "PartyUInfo and PartyVInfo enter the key derivation", "RFC 7518, section 4.6.2",
          [encrypt({**ecdh, "apu": "QWxpY2U", "apv": "Qm9i"}, ["p-256"])], "p-256")
    opens("header/alg-unprotected", "the algorithm may stand in the shared unprotected header", "RFC 7516, section 4",
          [encrypt({"enc": "A128GCM"}, ["p-256"], "flattened", unprotected={"alg": ECDH[0]})], "p-256")
    opens("header/kid-of-another", "a key identifier that is unknown does not stop the key that fits", "RFC 7516, section 4.1.6",
          [encrypt({"alg": "RSA-OAEP", "enc": "A128GCM", "kid": "another"}, ["rsa-2048"])], "rsa-2048")
    return ecdh


def written_by_hand(opens, ecdh):
    hand = "makers/jwe.py with Python's cryptography"
    opens("writer", "the hand-made messages of this family are well-formed where nothing was spoilt", "RFC 7516, section 7.2.2",
          [Writer().flattened()], "p-256", origin=hand)
    opens("header/unknown-member", "members that are not understood are passed over", "RFC 7516, section 4",
          [Writer(later={"a": [1]}).flattened()], "p-256", origin=hand)
    members = Writer().members()
    repeated = {**members, "recipients": [{"encrypted_key": members["encrypted_key"]}]}
    opens("recipients/first-repeated-outside", "Go repeats the first recipient's key outside the list: the list counts",
          "ocicrypt: go-jose's general serialization", [compact(repeated)], "p-256", origin=hand)

    bad = {
        "not-a-jwe": ("a text that is no JWE", "hello"),
        "not-text": ("bytes that are no text", b"\0\1"),
        "not-json": ("JSON that ends early", '{"protected":'),
        "empty-object": ("an object without a member", "{}"),
        "deeply-nested": ("JSON of 10,000 levels", '{"a":' * 10_000),
        "duplicate-member": ("a member that occurs twice", '{"tag":"",' + Writer().flattened()[1:]),
        "critical-extension": ("a critical extension that nobody knows", Writer(crit=["b64"]).flattened()),
        "critical-list-empty": ("an empty `crit`, which RFC 7516 forbids", Writer(crit=[]).flattened()),
        "wrapped-key-empty": ("key wrapping without a wrapped key", Writer().flattened(encrypted_key="")),
        "wrapped-key-missing": ("key wrapping without a wrapped key", Writer().flattened(encrypted_key=None)),
        "wrapped-key-short": ("a wrapped key of 39 bytes", Writer().changed("encrypted_key", lambda k: k[:-1])),
        "wrapped-key-altered": ("a wrapped key that was altered", Writer().changed("encrypted_key", lambda k: flip(k, 3))),
        "ciphertext-altered": ("a ciphertext that was altered", Writer().changed("ciphertext", flip)),
        "tag-altered": ("a tag that was altered", Writer().changed("tag", flip)),
        "tag-of-12-bytes": ("a tag cut to 12 bytes, with which forging is easier", Writer().changed("tag", lambda t: t[:12])),
        "tag-of-1-byte": ("a tag cut to 1 byte", Writer().changed("tag", lambda t: t[:1])),
        "tag-empty": ("no tag", Writer().changed("tag", lambda t: b"")),
        "tag-of-17-bytes": ("a tag with one byte more", Writer().changed("tag", lambda t: t + b"\0")),
        "vector-of-8-bytes": ("a vector of 8 bytes", Writer().changed("iv", lambda v: v[:8])),
        "vector-empty": ("no vector", Writer().changed("iv", lambda v: b"")),
        "vector-altered": ("another vector", Writer().changed("iv", flip)),
        "protected-altered": ("a protected header that is not the authenticated one", Writer().flattened(protected=Writer().protected)),
        "cbc-ciphertext-empty": ("A128CBC-HS256 around nothing: once a panic in go-jose", Writer(cbc=b"").flattened()),
        "cbc-ciphertext-odd": ("A128CBC-HS256 around 17 bytes: once a panic in go-jose", Writer(cbc=b"\7" * 17).flattened()),
        "cbc-padding": ("A128CBC-HS256 with a padding that is none", Writer(cbc=b"\7" * 32).flattened()),
        "point-off-the-curve": ("a point that is not on the curve, which would betray the key", Writer(epk={"kty": "EC", "crv": "P-256", "x": url(b"\1" * 32), "y": url(b"\1" * 32)}).flattened()),
        "point-at-zero": ("a point of zeros", Writer(epk={"kty": "EC", "crv": "P-256", "x": url(bytes(32)), "y": url(bytes(32))}).flattened()),
        "point-short": ("a coordinate of 31 bytes", Writer(epk={"kty": "EC", "crv": "P-256", "x": url(b"\1" * 31), "y": url(b"\1" * 32)}).flattened()),
        "point-missing": ("no point", Writer(epk=None).flattened()),
        "point-of-another-curve": ("a point of another curve than the key's", encrypt(ecdh, ["p-384"])),
        "zip-of-another-kind": ("a compression that is not defined", Writer(zip="GZ").flattened()),
        "zip-not-deflated": ("a content that was not deflated", Writer(zip="DEF").flattened()),
        "zip-bomb": ("5 MB of zeros in 5 KB", Writer(content=zlib.compress(bytes(5_000_000))[2:-4], zip="DEF").flattened()),
        "not-for-this-node": ("a message for another", encrypt(ecdh, ["p-521"])),
    }
    return bad, hand


def not_opened(bad, family, layer, keys, hand):
    for alg in ("dir", "none", "RSA1_5", "ECDH-ES", "A256KW", "PBES2-HS256+A128KW"):
        bad[f"algorithm-{alg}"] = (f"the algorithm {alg}, which ocicrypt does not use", Writer(alg=alg).flattened())
    for enc in ("A256CTR", "", "XC20P"):
        bad[f"encryption-{enc or 'none'}"] = (f"the content encryption `{enc}`, which ocicrypt does not use", Writer(enc=enc).flattened())
    good = Writer().flattened()
    for name, (what, item) in bad.items():
        item = item.encode() if isinstance(item, str) else item
        family.case(f"bad/{name}", f"{what}: refused before the layer is read", "RFC 7516, section 5.2", "must", NOTHING, layer,
                    payload(LAYER.descriptor(JWE, [item])), keys("p-256"), hand)
        family.case(f"bad-then-good/{name}", f"{what}: anyone can add such an item, and it does not spoil the good one after it",
                    "ocicrypt: every item is tried", "must", LAYER.plainly(), layer,
                    payload(LAYER.descriptor(JWE, [item, good.encode()])), keys("p-256"), hand)
    return good


def several_items(good, family, layer, keys, hand):
    for name, items in (("not-base64-then-good", ["%%%", good.encode()]), ("good-then-not-base64", [good.encode(), "%%%"]),
                        ("empty-items", ["", good.encode(), ""])):
        family.case(f"item/{name}", "an item that is no base64, or empty, is passed over: it does not spoil the others",
                    "Go aborts the scheme", "should", LAYER.plainly(), layer, payload(LAYER.descriptor(JWE, items)), keys("p-256"), hand)
    many = [Writer().changed("tag", flip).encode() for _ in range(30)]
    family.case("item/30-bad-then-good", "thirty items that do not open, then one that does", "ocicrypt: every item is tried", "must",
                LAYER.plainly(), layer, payload(LAYER.descriptor(JWE, [*many, good.encode()])), keys("p-256"), hand)
