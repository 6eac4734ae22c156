"""Wrapped keys in OpenPGP: GnuPG's and skopeo's, and what GnuPG wrote, spoilt."""

import os, tempfile

from .kit import DATA, LAYER, NOTHING, PGP, Family, b64, data, payload, run, skopeo, version

NAMES = ("rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384", "p-521", "cv25519", "several",
         "rsa-2048.locked", "p-384.locked", "cv25519.locked")
PASSWORD = "secret"


class Home:
    """A GnuPG with the keys that the library's tests have."""

    def __init__(self, path):
        self.path = path
        for name in (*NAMES, "elgamal"):
            self.gpg("--import", os.path.join(DATA, f"pgp/keys/{name}.gpg"))

    def gpg(self, *args, stdin=None):
        always = ("gpg", "--batch", "--yes", "--quiet", "--no-armor", "--trust-model", "always", "--pinentry-mode", "loopback")
        return run(*always, "--passphrase", PASSWORD, *args, stdin=stdin, env={"GNUPGHOME": self.path})

    def encrypt(self, *names, options=(), content=None, pipe=False, hidden=False):
        way = "--hidden-recipient" if hidden else "--recipient"
        recipients = [word for name in names for word in (way, f"={name} <{name}@example.org>")]
        content = LAYER.options() if content is None else content
        command = (*options, *recipients, "--output", "-", "--encrypt")
        # From a file the length is known; from a pipe, lengths are partial.
        if pipe:
            return self.gpg(*command, stdin=content)
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            return self.gpg(*command, file.name)


def make():
    with tempfile.TemporaryDirectory(prefix="gnupg") as path:
        try:
            return families(Home(path), path)
        finally:
            run("gpgconf", "--kill", "all", env={"GNUPGHOME": path})


def families(home, path):
    family = Family("pgp", "Wrapped keys of the scheme `pgp` (OpenPGP, RFC 9580).")
    layer = family.file("layer", LAYER.encrypted)
    gnupg = version("gpg")

    def ring(*names, suffix="gpg"):
        return {f"{name}.{suffix}": family.file(f"{name}.{suffix}", data(f"pgp/keys/{name}.{suffix}")) for name in names}

    # Without keys, no directory is named: Go counts an empty one as a first key ring, and then takes
    # the passwords of the payload for those of the wrong ones.
    def case(name, why, rule, items, keys, level="must", expect=None, parameters=None):
        family.case(name, why, rule, level, expect or LAYER.plainly(), layer,
                    payload(LAYER.descriptor(PGP, items), parameters), keys, gnupg)

    recipients_and_messages(case, ring, home)
    good = items(home, case, ring, family)
    damaged_messages(good, home, case, ring)
    with tempfile.TemporaryDirectory() as work:
        go = version("skopeo") + " (ocicrypt in Go)"
        for chosen in (["rsa-2048"], ["rsa-3072"], ["rsa-3072", "rsa-2048"]):
            recipients = [f"pgp:{name}@example.org" for name in chosen]
            descriptor, blob, expect = skopeo(work, recipients, env={"GNUPGHOME": path})
            at = family.file("skopeo-" + "-".join(chosen), blob)
            for owner in chosen:
                family.case(f"skopeo/{'-'.join(chosen)}/{owner}", "a layer that the Go implementation encrypted is decrypted",
                            "ocicrypt: the format itself", "must", expect, at, payload(descriptor), ring(owner), go)
    return family


def recipients_and_messages(case, ring, home):
    plain_names = [name for name in NAMES if "locked" not in name]
    for name in plain_names:
        case(f"key/{name}", f"a secret key ring of the kind {name} opens a message for it", "RFC 9580, section 5.1", [home.encrypt(name)], ring(name))
        case(f"key/{name}-armored", "the key ring may be armored", "RFC 9580, section 6; Go takes binary ones", [home.encrypt(name)], ring(name, suffix="asc"), "should")
    for cipher in ("3DES", "CAST5", "AES", "AES192", "AES256"):
        for name in ("rsa-2048", "cv25519"):
            case(f"cipher/{cipher.lower()}/{name}", f"a message that is encrypted with {cipher} is opened", "RFC 9580, sections 9.3 and 5.13.1",
                 [home.encrypt(name, options=("--cipher-algo", cipher))], ring(name))
    for algorithm in ("none", "zip", "zlib"):
        for pipe in (False, True):
            case(f"compression/{algorithm}-{'partial' if pipe else 'definite'}", f"compression {algorithm}, with lengths that are {'partial' if pipe else 'definite'}",
                 "RFC 9580, sections 5.6 and 4.2.1.4", [home.encrypt("rsa-2048", options=("--compress-algo", algorithm), pipe=pipe)], ring("rsa-2048"))
    case("message/textmode", "a literal packet of text holds the same bytes", "RFC 9580, section 5.9",
         [home.encrypt("rsa-2048", options=("--textmode",))], ring("rsa-2048"), "should")
    case("message/long-name", "the name in the literal packet does not matter", "RFC 9580, section 5.9",
         [home.encrypt("rsa-2048", options=("--set-filename", "n" * 200))], ring("rsa-2048"))
    case("recipients/hidden", "a recipient without a number: every key is tried", "RFC 9580, section 5.1.1",
         [home.encrypt("cv25519", hidden=True)], ring("cv25519"))
    case("recipients/hidden-beside-other-keys", "a recipient without a number: every key is tried", "RFC 9580, section 5.1.1",
         [home.encrypt("rsa-2048", hidden=True)], ring("rsa-3072", "rsa-2048"))
    three = home.encrypt("rsa-3072", "p-256", "cv25519")
    for name in ("rsa-3072", "p-256", "cv25519"):
        case(f"recipients/{name}-of-three", "each recipient opens the one message", "RFC 9580, section 5.1", [three], ring(name))


def items(home, case, ring, family):
    good = home.encrypt("rsa-2048")
    case("item/second-of-two", "the second of two items is for this node", "ocicrypt: every item is tried", [home.encrypt("p-256"), good], ring("rsa-2048"))
    case("item/not-openpgp-then-good", "an item that is no OpenPGP does not spoil the good one", "ocicrypt: every item is tried", [b"hello", good], ring("rsa-2048"))
    case("item/cut-off-then-good", "an item that was cut off does not spoil the good one", "ocicrypt: every item is tried", [good[:100], good], ring("rsa-2048"))

    for name in ("rsa-2048.locked", "p-384.locked", "cv25519.locked"):
        secret = data(f"pgp/keys/{name}.gpg")
        message = home.encrypt(name)
        parameters = {"gpg-privatekeys": [b64(secret)], "gpg-privatekeys-passwords": [b64(PASSWORD)]}
        case(f"locked/{name}/password-in-the-payload", "a locked key comes with its password", "RFC 9580, section 5.5.3; ocicrypt: parameter `gpg-privatekeys-passwords`", [message], None, parameters=parameters)
        case(f"locked/{name}/beside-an-empty-directory", "a keys directory that is empty changes nothing for the keys of the payload", "Go takes the empty directory for a key ring", [message], {}, "should", parameters=parameters)
        wrong = {**parameters, "gpg-privatekeys-passwords": [b64("wrong")]}
        case(f"locked/{name}/wrong-password", "a wrong password opens nothing", "RFC 9580, section 3.7", [message], None, expect=NOTHING, parameters=wrong)
        case(f"locked/{name}/password-beside-it", "the password of a key in the directory lies beside it, in `NAME.pass`", "Keycell: key directory",
             [message], {**ring(name), f"{name}.gpg.pass": family.file("password", PASSWORD.encode() + b"\n")}, "may")
        case(f"locked/{name}/no-password", "a locked key without a password opens nothing", "RFC 9580, section 3.7", [message], ring(name), expect=NOTHING)
    unlocked = {"gpg-privatekeys": [b64(data("pgp/keys/rsa-2048.gpg"))], "gpg-privatekeys-passwords": [None]}
    case("payload/key-without-password", "a key of the payload needs no password", "ocicrypt: parameter `gpg-privatekeys`", [good], None, parameters=unlocked)
    for specifier in ("iterated-sha1", "salted-sum", "simple-sha1", "simple-sum"):
        parameters = {"gpg-privatekeys": [b64(data(f"pgp/keys/old.locked.{specifier}.gpg"))], "gpg-privatekeys-passwords": [b64(PASSWORD)]}
        case(f"locked/old/{specifier}", "older ways to lock a key", "RFC 9580, sections 3.7.1 and 5.5.3", [home.encrypt("cv25519")], None, "should", parameters=parameters)
    return good


def damaged_messages(good, home, case, ring):
    data_at = 3 + int.from_bytes(good[1:3], "big")
    change = lambda place: good[:place] + bytes([good[place] ^ 1]) + good[place + 1:]
    stored = lambda algorithm: home.gpg("--compress-algo", algorithm, "--output", "-", "--store", stdin=LAYER.options())
    bad = {
        "hello": ("a text", b"hello"),
        "nothing-but-a-recipient": ("a message that ends after its recipient", good[:data_at]),
        "cut-by-a-byte": ("a message without its last byte", good[:-1]),
        "session-key-altered": ("a session key that was altered", change(data_at - 3)),
        "content-altered": ("content that was altered", change((data_at + len(good)) // 2)),
        "integrity-code-altered": ("the integrity code was altered", change(len(good) - 1)),
        "not-protected": ("the packet of before there was an integrity code", good[:data_at] + bytes([0xc9]) + good[data_at + 1:]),
        "not-encrypted": ("a literal packet that nobody encrypted: anyone can write one", stored("none")),
        "not-encrypted-but-compressed": ("the same, compressed", stored("zip")),
        "length-beyond-the-end": ("a length of 4 GiB", b"\xd2\xff\xff\xff\xff\xff\x01"),
        "packets-20000": ("20,000 marker packets", b"\xca\x03PGP" * 20_000),
        "not-for-this-node": ("a message for another", home.encrypt("p-521")),
        "password-only": ("a message for a password", home.gpg("--symmetric", "--output", "-", stdin=LAYER.options())),
        "compression-bomb": ("4 MiB of spaces in 4 KiB", home.encrypt("rsa-2048", options=("--compress-algo", "zlib", "--compress-level", "9"), content=b" " * (4 << 20))),
        "content-is-no-json": ("what was encrypted are no private options", home.encrypt("rsa-2048", content=b"hello")),
    }
    for name, (what, item) in bad.items():
        case(f"bad/{name}", f"{what}: refused before the layer is read", "RFC 9580", [item], ring("rsa-2048"), expect=NOTHING)
