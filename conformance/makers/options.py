"""Private and public options: what a wrapped key holds, and what anyone can write beside it."""

from .jwe import Writer
from .kit import JWE, LAYER, NOTHING, PUBLIC, Family, Layer, b64, compact, key, payload

HAND = "makers/options.py; the JWE with Python's cryptography"


def make():
    family = Family("options", "Private options (sealed with the key) and public ones (in the open).")
    layer = family.file("layer", LAYER.encrypted)
    right = {"node.pem": family.file("p-256.pem", key("p-256"))}

    def case(name, why, rule, level, expect, private=None, public=None, annotations=None, of=LAYER, encrypted=None):
        item = Writer(content=of.options() if private is None else private).flattened().encode()
        descriptor = of.descriptor(JWE, [item], public)
        descriptor["annotations"].update(annotations or {})
        family.case(name, why, rule, level, expect, encrypted or layer, payload(descriptor), right, HAND)

    nonce = lambda length: {"nonce": b64(bytes([9]) * length)}
    sealed = {"nonce": b64(LAYER.nonce)}
    plain = LAYER.plainly()
    case("nonce/sealed", "the nonce is the sealed one", "ocicrypt: private options", "must", plain)
    case("nonce/public-only", "images of old have the nonce in the open, where nothing sealed says otherwise", "ocicrypt: public options", "must", plain,
         LAYER.options(cipheroptions={}), {**LAYER.public, "cipheroptions": sealed})
    case("nonce/both-alike", "the same nonce twice", "ocicrypt", "must", plain, None, {**LAYER.public, "cipheroptions": sealed})
    case("nonce/they-differ", "a public nonce that differs must not win: anyone can write it, and the HMAC does not cover it; Go decrypts into garbage with exit code 0",
         "Keycell: the sealed nonce counts", "must", NOTHING, None, {**LAYER.public, "cipheroptions": nonce(16)})
    for name, options in (("empty-object", {}), ("null", {"nonce": None}), ("no-options", None)):
        case(f"nonce/missing/{name}", "without a nonce nothing can be decrypted; Go invents one and writes garbage with exit code 0", "Keycell: the nonce must be there", "must", NOTHING,
             LAYER.options(cipheroptions=options))
    for length in (0, 1, 8, 12, 15, 17, 32):
        case(f"nonce/of-{length}-bytes", "a nonce has 16 bytes; Go panics on most others", "NIST SP 800-38A, section 6.5", "must", NOTHING, LAYER.options(cipheroptions=nonce(length)))
        if length:
            case(f"nonce/public-of-{length}-bytes", "a nonce has 16 bytes, the public one too", "NIST SP 800-38A, section 6.5", "must", NOTHING, LAYER.options(cipheroptions={}), {**LAYER.public, "cipheroptions": nonce(length)})
    case("nonce/not-base64", "a nonce that is no base64", "RFC 4648", "must", NOTHING, LAYER.options(cipheroptions={"nonce": "%"}))
    case("nonce/number", "a nonce that is a number", "ocicrypt", "must", NOTHING, LAYER.options(cipheroptions={"nonce": 1}))
    wrap = Layer(plain=bytes(range(256)) * 3, nonce=b"\xff" * 16)
    case("nonce/counter-wraps", "the counter has 128 bits and begins anew after the last value", "NIST SP 800-38A, appendix B.1", "must", wrap.plainly(), of=wrap, encrypted=family.file("layer-that-wraps", wrap.encrypted))
    low = Layer(plain=bytes(range(256)) * 3, nonce=bytes(8) + b"\xff" * 8)
    case("nonce/counter-carries", "the counter has 128 bits: it carries over the lower 64", "NIST SP 800-38A, appendix B.1", "must", low.plainly(), of=low, encrypted=family.file("layer-that-carries", low.encrypted))

    for length in (0, 1, 16, 31, 33, 64):
        case(f"key/of-{length}-bytes", "a layer key has 32 bytes", "ocicrypt: AES_256_CTR_HMAC_SHA256", "must", NOTHING, LAYER.options(symkey=b64(bytes([1]) * length)))
    case("key/missing", "options without a layer key", "ocicrypt: private options", "must", NOTHING, LAYER.options(symkey=None))
    case("key/not-base64", "a layer key that is no base64", "RFC 4648", "must", NOTHING, LAYER.options(symkey="%"))

    case("digest/of-another-layer", "the sealed digest is another layer's: what comes out is not what was encrypted; Go never looks", "Keycell: the sealed digest is checked", "should",
         LAYER.refused(), LAYER.options(digest="sha256:" + "0" * 64))
    case("digest/missing", "images without a sealed digest are decrypted", "ocicrypt: private options", "must", plain, LAYER.options(digest=None))
    case("digest/empty", "the same with an empty digest", "ocicrypt: private options", "must", plain, LAYER.options(digest=""))
    for name, digest in (("algorithm-only", "sha256"), ("short", "sha256:00"), ("md5", "md5:00"), ("number", 1)):
        case(f"digest/malformed/{name}", "a sealed digest that is none", "OCI image-spec, digests", "should", NOTHING, LAYER.options(digest=digest))

    for name, text in (("empty", b" "), ("open", b"{"), ("null", b"null"), ("list", b"[]"), ("zero", b"\0"), ("text", b'"symkey"'), ("object", b"{}")):
        case(f"private/bad/{name}", "what was sealed are no private options", "ocicrypt: private options", "must", NOTHING, text)
    case("private/unknown-members", "members that are not known are passed over", "Go: encoding/json", "must", plain, LAYER.options(later=[1]))
    case("private/members-in-any-case", "members match in any case", "Go: encoding/json", "must", plain, compact({"SymKey": LAYER.private["symkey"], "DIGEST": LAYER.private["digest"], "CipherOptions": {"Nonce": sealed["nonce"]}}).replace('"Nonce"', '"nonce"').encode())
    useless = Writer(content=b"{}").flattened().encode()
    useful = Writer().flattened().encode()
    family.case("private/useless-before-useful", "whoever can write annotations can seal anything for a known public key: it does not spoil the good item", "Keycell: every item is tried; Go takes the first that opens", "should",
                plain, layer, payload(LAYER.descriptor(JWE, [useless, useful])), right, HAND)

    for name, value in (("not-base64", "%"), ("unpadded", "e30"), ("null", b64("null")), ("list", b64("[]")), ("open", b64("{")), ("empty-object", b64("{}")), ("empty", "")):
        case(f"public/bad/{name}", "public options that are none", "ocicrypt: public options", "must", NOTHING if name != "null" else NOTHING, annotations={PUBLIC: value})
    for name, cipher in (("gcm", "AES_256_GCM"), ("lower-case", "aes_256_ctr_hmac_sha256"), ("empty", ""), ("control-characters", "\u001b[31m")):
        case(f"public/cipher/{name}", "a cipher that ocicrypt does not have", "ocicrypt: public options", "must", NOTHING, public={**LAYER.public, "cipher": cipher})
    case("public/cipher/missing", "no cipher", "ocicrypt: public options", "must", NOTHING, public={n: v for n, v in LAYER.public.items() if n != "cipher"})
    case("public/unknown-members", "members that are not known are passed over", "Go: encoding/json", "must", plain, public={**LAYER.public, "later": {}})
    case("public/without-cipher-options", "no cipher options in the open", "ocicrypt: public options", "must", plain, public={n: v for n, v in LAYER.public.items() if n != "cipheroptions"})
    case("public/null-cipher-options", "a null in their place", "Go: encoding/json", "must", plain, public={**LAYER.public, "cipheroptions": None})

    mac = LAYER.mac(LAYER.encrypted)
    for name, value in (("of-another", bytes(32)), ("first-bit-flipped", bytes([mac[0] ^ 128]) + mac[1:]), ("last-bit-flipped", mac[:-1] + bytes([mac[-1] ^ 1]))):
        case(f"hmac/{name}", "the HMAC does not match: the layer is not released", "ocicrypt: encrypt-then-MAC", "must", LAYER.refused(), public={**LAYER.public, "hmac": b64(value)})
    for name, value in (("first-16-bytes", mac[:16]), ("first-byte", mac[:1]), ("empty", b""), ("one-byte-more", mac + b"\0"), ("twice", mac + mac)):
        case(f"hmac/{name}", "an HMAC of another length matches nothing", "RFC 2104, section 5", "must", LAYER.refused(), public={**LAYER.public, "hmac": b64(value)})
    for name, value in (("missing", None), ("not-base64", "%"), ("number", 1)):
        public = {n: v for n, v in {**LAYER.public, "hmac": value}.items() if v is not None}
        case(f"hmac/{name}", "without an HMAC nothing vouches for the layer", "ocicrypt: public options", "must", LAYER.refused(), public=public)
    return family
