"""The keys directory and the keys of the payload: forms, passwords, and what lies beside keys."""

import json

from jwcrypto import jwk

from .jwe import encrypt
from .kit import JWE, LAYER, NOTHING, Family, b64, data, key, openssl, payload, public

EC_FORMS = {"pkcs8.pem": "must", "pkcs8.der": "must", "sec1.der": "must", "sec1.pem": "should", "sec1-params.pem": "should", "jwk": "must", "no-public.pkcs8.der": "should"}
RSA_FORMS = {"pkcs8.pem": "must", "pkcs8.der": "must", "pkcs1.pem": "must", "pkcs1.der": "must", "jwk": "must", "no-crt.jwk": "should"}
RULES = {"pkcs8": "RFC 5958; RFC 7468, section 10", "pkcs1": "RFC 8017, appendix A.1.2", "sec1": "RFC 5915", "jwk": "RFC 7518, section 6"}
SECRET = b"secret"
SECRET_VERSION = "..2026_01_31_12_00_00.123456789"
BESIDE = "Keycell: the password of NAME lies in NAME.pass; Go has no way"


def make():
    family = Family("keys", "Private keys: the forms of their files, their passwords, and what else may lie in the directory.")
    layer = family.file("layer", LAYER.encrypted)
    tool = openssl("version").decode().split(" (")[0].strip()
    items = {name: encrypt({"alg": "RSA-OAEP" if name.startswith("rsa") else "ECDH-ES+A256KW", "enc": "A256GCM"}, [name])
             for name in ("rsa-2048", "p-256", "p-384", "p-521")}

    def case(name, why, rule, level, owner, keys, expect=None, parameters=None, call=None, origin=tool):
        descriptor = LAYER.descriptor(JWE, [items[owner].encode()])
        family.case(name, why, rule, level, expect or LAYER.plainly(), layer, payload(descriptor, parameters), keys, origin, call)

    def file(path):
        return family.file(path.rpartition("/")[2], data(path))

    def parameters(content, password=None):
        return {"privkeys": [b64(content)], "privkeys-passwords": [password and b64(password)]}

    encrypted_keys(items, case, file, parameters, family)
    right = directories(file, case, parameters)
    beside_keys(family, case, right)
    several_keys(family, case, right)
    return family


def encrypted_keys(items, case, file, parameters, family):
    for owner in items:
        for form, level in (RSA_FORMS if owner == "rsa-2048" else EC_FORMS).items():
            kind = next(rule for part, rule in RULES.items() if part in form)
            at = f"keys/{owner}.{form}"
            case(f"form/{owner}/{form.replace('.', '-')}/directory", f"a key in the form {form} is read, whatever its file is called", kind, level, owner, {"key": file(at)})
            case(f"form/{owner}/{form.replace('.', '-')}/payload", f"a key in the form {form} may come with the payload", kind, level, owner, {}, parameters=parameters(data(at)))

    for cipher in ("des", "des3", "aes128", "aes192", "aes256"):
        for owner in ("rsa-2048", "p-256"):
            content = data(f"encrypted-keys/{owner}.dek-info-{cipher}.pem")
            level = "must" if owner == "rsa-2048" else "should"
            case(f"encrypted/dek-info/{owner}/{cipher}", "a PEM with `DEK-Info` is opened by its password", "RFC 1421, section 4.6.1.3; OpenSSL's EVP_BytesToKey", level, owner, None, parameters=parameters(content, SECRET))
    for way in ("pbkdf2-sha1-aes128", "pbkdf2-sha256-aes256", "pbkdf2-sha512-aes192", "pbkdf2-sha1-des3", "pbkdf2-sha1-des", "pbkdf2-sha224-aes256", "pbkdf2-sha384-aes128", "scrypt", "scrypt-parallel", "rounds-1"):
        content = data(f"encrypted-keys/p-256.{way}.pem")
        case(f"encrypted/pbes2/{way}/payload", "an encrypted PKCS#8 key is opened by its password", "RFC 8018, section 6.2; RFC 7914", "should", "p-256", None, parameters=parameters(content, SECRET))
        case(f"encrypted/pbes2/{way}/directory", "the password of a key in the directory lies beside it", BESIDE, "may", "p-256",
             {"node.pem": file(f"encrypted-keys/p-256.{way}.pem"), "node.pem.pass": family.file("password", SECRET + b"\n")})
    case("encrypted/pbes2/der/payload", "an encrypted PKCS#8 key may be DER", "RFC 5958, section 3", "should", "p-256", None, parameters=parameters(data("encrypted-keys/p-256.pkcs8.der"), SECRET))
    dek = data("encrypted-keys/rsa-2048.dek-info-aes256.pem")
    case("encrypted/wrong-password", "a wrong password opens nothing", "RFC 1421", "must", "rsa-2048", None, NOTHING, parameters(dek, b"wrong"))
    case("encrypted/no-password", "an encrypted key without a password opens nothing", "RFC 1421", "must", "rsa-2048", None, NOTHING, parameters(dek))
    case("encrypted/wrong-password-pbes2", "a wrong password opens nothing", "RFC 8018", "must", "p-256", None, NOTHING, parameters(data("encrypted-keys/p-256.scrypt.pem"), b"wrong"))
    two = {"privkeys": [b64(key("rsa-3072")), b64(dek)], "privkeys-passwords": [None, b64(SECRET)]}
    case("encrypted/second-password", "each password belongs to the key of the same place", "ocicrypt: parameter `privkeys-passwords`", "must", "rsa-2048", None, parameters=two)
    for name in ("bomb.rounds", "bomb.scrypt-memory", "bomb.scrypt-many", "broken.scrypt-n-0", "broken.negative-rounds"):
        case(f"encrypted/{name.replace('.', '-')}", "more work or memory than a key is worth, or nonsense: refused in bounded time", "RFC 8018; RFC 7914", "must", "p-256", None, NOTHING,
             parameters(data(f"encrypted-keys/{name}.der"), SECRET), origin="ocicrypt/tests/data/encrypted-keys/make.py")


def directories(file, case, parameters):
    right = {"node.pem": file("keys/p-256.pkcs8.pem")}
    stranger = {"a.pem": file("keys/rsa-2048.pkcs8.pem")}
    case("directory/one-key", "one key, and it is the right one", "ocicrypt: `--decryption-keys-path`", "must", "p-256", right)
    case("directory/other-key-first", "all keys of the directory are tried", "ocicrypt: `--decryption-keys-path`", "must", "p-256", {**stranger, **right})
    case("directory/in-directories", "directories are walked", "Go: filepath.Walk", "must", "p-256", {"a/b/c/node.pem": right["node.pem"]})
    case("directory/hidden-file", "names that begin with a dot count too", "Go: filepath.Walk", "must", "p-256", {".node": right["node.pem"]})
    case("directory/certificate-beside", "a certificate lies beside the key", "ocicrypt: certificates for pkcs7", "must", "p-256", {**right, "a.crt": file("keys/certificate.pem")})
    case("directory/openpgp-beside", "an OpenPGP key ring lies beside the key", "ocicrypt: key rings for pgp", "must", "p-256", {**right, "a.gpg": file("pgp/keys/rsa-2048.gpg")})
    case("directory/empty", "no key, no layer", "ocicrypt", "must", "p-256", {}, NOTHING)
    case("directory/not-given", "no directory, no layer", "ocicrypt", "must", "p-256", None, NOTHING)
    case("directory/wrong-key-only", "a key that does not fit opens nothing", "RFC 7516, section 5.2", "must", "p-256", stranger, NOTHING)
    case("directory/empty-with-a-key-in-the-payload", "the payload's key serves where the directory is empty", "ocicrypt: parameter `privkeys`", "must", "p-256", {}, parameters=parameters(key("p-256")))
    case("directory/missing-with-a-key-in-the-payload", "a directory that does not exist is no keys: the payload's key serves", "Go fails", "should", "p-256", {}, parameters=parameters(key("p-256")),
         call={"args": ["--decryption-keys-path", "{around}/missing"]})
    case("directory/missing", "a directory that does not exist holds no key", "ocicrypt", "must", "p-256", {}, NOTHING, call={"args": ["--decryption-keys-path", "{around}/missing"]})
    case("directory/is-a-file", "the path may be a file with the key", "Go: filepath.Walk", "must", "p-256", right, call={"args": ["--decryption-keys-path", "{keys}/node.pem"]})
    case("directory/is-a-file-beside-others", "a path that is a file is that key alone", "Go: filepath.Walk", "must", "p-256", {**right, **stranger}, NOTHING, call={"args": ["--decryption-keys-path", "{keys}/a.pem"]})
    case("payload/second-key", "all keys of the payload are tried", "ocicrypt: parameter `privkeys`", "must", "p-256", {},
         parameters={"privkeys": [b64(key("rsa-2048")), b64(key("p-256"))], "privkeys-passwords": [None, None]})
    case("payload/both", "keys of the payload count beside those of the directory", "ocicrypt: combineDecryptionConfigs", "must", "p-256", stranger, parameters=parameters(key("p-256")))
    case("payload/no-passwords", "the list of passwords may be missing", "ocicrypt: parameter `privkeys-passwords`", "should", "p-256", {}, parameters={"privkeys": [b64(key("p-256"))]})
    return right


def beside_keys(family, case, right):
    beside = {
        "readme": ("a text", "README", b"The keys of this node.\n"),
        "gitkeep": ("an empty file", ".gitkeep", b""),
        "public-key": ("a public key", "node.pub", public("p-256")),
        "public-jwk": ("a public JWK", "node.pub.jwk", data("keys/public.jwk")),
        "damaged-key": ("half a key", "a.pem", key("p-384")[:120]),
        "damaged-jwk": ("half a JWK", "a.jwk", b'{"kty":"EC"'),
        "ed25519": ("a key for signatures", "sign.pem", data("encrypted-keys/ed25519.pkcs8.pem")),
        "rsa-pss": ("an RSA key for PSS only", "pss.pem", data("keys/rsa-pss.pkcs8.pem")),
        "secp256k1": ("a key on a curve that JWE does not have", "k1.pem", openssl("ecparam", "-name", "secp256k1", "-genkey", "-noout")),
        "encrypted-key": ("an encrypted key without its password", "locked.pem", data("keys/encrypted.pkcs8.pem")),
        "pkcs12": ("a PKCS#12 container", "bundle.p12", data("keys/container.p12")),
        "binary": ("bytes without a meaning", "a.bin", bytes(range(256)) * 4),
        "certificate-request": ("a certificate request", "node.csr", data("pkcs7/request.pem")),
    }
    for name, (what, path, content) in beside.items():
        rest = {path: family.file(f"beside-{path}", content)}
        case(f"beside/{name}", f"{what} beside the key does not spoil it", "Go aborts on most of these", "should", "p-256", {**right, **rest})
        case(f"alone/{name}", f"{what} alone opens nothing", "ocicrypt", "must", "p-256", rest, NOTHING)


def several_keys(family, case, right):
    several = family.file("several.pem", data("keys/several.pem"))
    case("several/first-block", "the first key of a file with several", "RFC 7468, section 2", "must", "rsa-2048", {"all.pem": several})
    case("several/last-block", "the last key of a file with several", "RFC 7468, section 2; Go reads the first block", "should", "p-384", {"all.pem": several})
    keyset = family.file("set.jwks", data("keys/set.jwks"))
    for owner in ("rsa-2048", "p-256"):
        case(f"several/jwk-set/{owner}", "each key of a JWK Set counts", "RFC 7517, section 5", "may", owner, {"set.jwks": keyset}, origin="jwcrypto")
    crlf = family.file("crlf.pem", key("p-256").replace(b"\n", b"\r\n"))
    case("text/crlf", "a PEM with the line ends of Windows", "RFC 7468, section 3", "must", "p-256", {"key.pem": crlf})
    words = family.file("words.pem", b"Bag Attributes\n    friendlyName: node\n" + key("p-256") + b"more words\n")
    case("text/words-around", "words before and after the PEM", "RFC 7468, section 2", "must", "p-256", {"key.pem": words})
    pretty = json.dumps(json.loads(jwk.JWK.from_pem(key("p-256")).export()), indent=2).encode()
    case("text/jwk-with-white-space", "a JWK with white space and line ends", "RFC 8259, section 2", "must", "p-256", {"key": family.file("pretty.jwk", pretty)}, origin="jwcrypto")
    extra = json.dumps({**json.loads(pretty), "kid": "node", "use": "enc", "key_ops": ["deriveKey"]}).encode()
    case("text/jwk-with-more-members", "members that say more about the key", "RFC 7517, section 4", "must", "p-256", {"key": family.file("more.jwk", extra)}, origin="jwcrypto")

    links = {
        "kubernetes-secret": ("the layout of a mounted Kubernetes Secret: links that stay inside are followed", "should",
            {f"{SECRET_VERSION}/tls.key": right["node.pem"], "..data": {"link": SECRET_VERSION}, "tls.key": {"link": "..data/tls.key"}}, None),
        "to-a-file-inside": ("a link to a file in another directory inside is followed", "should",
            {"store/v1": right["node.pem"], "current": {"link": "store/v1"}}, None),
        "to-itself-beside": ("a link that leads to itself is passed over", "should", {**right, "loop": {"link": "loop"}}, None),
        "to-nowhere-beside": ("a link that leads nowhere is passed over", "should", {**right, "nowhere": {"link": "gone"}}, None),
        "outside": ("a link that leaves the directory is not followed: whoever may write there must not choose other files", "must", {"node.pem": {"link": "{around}/outside/node.pem"}}, NOTHING),
        "outside-relative": ("the same with a relative link", "must", {"node.pem": {"link": "../outside/node.pem"}}, NOTHING),
        "directory-outside": ("a link to a directory outside is not followed", "must", {"more": {"link": "../outside"}}, NOTHING),
    }
    for name, (why, level, entries, expect) in links.items():
        call = {"around": {"outside/node.pem": right["node.pem"]}} if "outside" in name else None
        case(f"links/{name}", why, "Keycell: key directory; Go refuses every link", level, "p-256", entries, expect, call=call)
