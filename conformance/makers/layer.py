"""Standard input: layers of many lengths, whole and altered, and how much of a bad one is written."""

from .jwe import Writer
from .kit import JWE, TAR, Family, Layer, b64, key, payload

HAND = "OpenSSL's AES-256-CTR, Python's hmac; the JWE with Python's cryptography"
UNIT = b"the layers of an onion, a kibibyte of ciphertext:" + bytes(range(256)) * 4
LENGTHS = (1, 15, 16, 17, 10_240, 65_535, 65_536, 65_537, 131_072, 200_000, 1 << 20)


def ciphertext(length):
    """A ciphertext that can be described in few bytes; what it decrypts to looks random."""
    unit = UNIT[:1024]
    return (unit * (length // 1024 + 1))[:length]


def make():
    family = Family("layer", "The layer on standard input: its length, its HMAC, and what is held back.")
    right = {"node.pem": family.file("p-256.pem", key("p-256"))}
    layers = {length: Layer(encrypted=ciphertext(length), media_type=TAR) for length in LENGTHS}

    def content(name, data):
        """By its repetitions where it has some."""
        whole, rest = divmod(len(data), 1024)
        if rest == 0 and whole > 2 and data == data[:1024] * whole:
            return family.repeat(name, data[:1024], whole)
        return family.file(name, data) if len(data) < 4096 else pieces(name, data)

    def pieces(name, data):
        """As a list of parts that repeat, and bytes between them."""
        parts, at = [], 0
        while at < len(data):
            unit = data[at:at + 1024]
            times = 1
            while len(unit) == 1024 and data[at + times * 1024:at + (times + 1) * 1024] == unit:
                times += 1
            parts.append({"base64": b64(unit), "times": times})
            at += len(unit) * times
        family.files[name] = {"parts": parts}
        return name

    def case(name, why, rule, expect, layer, stdin, level="must", call=None, **changes):
        descriptor = layer.descriptor(JWE, [Writer(content=layer.options()).flattened().encode()], **changes)
        family.case(name, why, rule, level, expect, stdin, payload(descriptor), right, HAND, call)

    empty = Layer(plain=b"", media_type=TAR)
    case("length/0", "a layer of no bytes", "ocicrypt: the cipher", empty.plainly(), empty, family.file("empty", b""))
    for length, layer in layers.items():
        case(f"length/{length}", f"a layer of {length} bytes comes out whole", "ocicrypt: the cipher", layer.plainly(), layer, content(f"layer-{length}", layer.encrypted))
    large = Layer(encrypted=ciphertext(8 << 20), media_type=TAR)
    case("length/8388608", "a layer of 8 MiB comes out whole", "ocicrypt: the cipher", large.plainly(), large, content("layer-8388608", large.encrypted))

    def altered(name, why, length, change, level="must", most=None, **changes):
        layer = layers[length]
        data = change(bytearray(layer.encrypted))
        case(f"{name}/{length}", f"{why}: its HMAC does not match, and no complete layer may come out, right or wrong, because containerd can lose the exit code",
             "ocicrypt: encrypt-then-MAC; containerd reads output before the exit code", layer.refused(most if most is not None else min(len(data), length) - 1 if data else 0), layer,
             content(f"{name.replace('/', '-')}-{length}", bytes(data)), level, **changes)

    def flip(data, place):
        data[place] ^= 1
        return data

    for length in (1, 16, 10_240, 65_536, 65_537, 200_000, 1 << 20):
        altered("altered/first-byte", "the first byte was altered", length, lambda data: flip(data, 0))
        altered("altered/last-byte", "the last byte was altered", length, lambda data: flip(data, -1))
        if length > 16:
            altered("altered/middle-byte", "a byte in the middle was altered", length, lambda data: flip(data, len(data) // 2))
            altered("cut/by-a-byte", "the last byte is missing", length, lambda data: data[:-1], most=length - 2)
            altered("cut/in-half", "the second half is missing", length, lambda data: data[:len(data) // 2])
        altered("cut/to-nothing", "all of it is missing", length, lambda data: data[:0])
        altered("longer/by-a-byte", "there is a byte more", length, lambda data: data + b"\0", most=length - 1)
        altered("longer/by-1-mib", "there is 1 MiB more", length, lambda data: data + bytes(1 << 20), "should", most=length - 1)
    altered("altered/swapped", "two pieces changed places", 200_000, lambda data: data[1500:3000] + data[:1500] + data[3000:])

    for length in (10_240, 65_537, 200_000, 1 << 20):
        layer = layers[length]
        wrong = {**layer.public, "hmac": b64(bytes(32))}
        at = content(f"layer-{length}", layer.encrypted)
        case(f"hmac/of-another/{length}", "the layer is whole and its HMAC is another's: the last bytes stay inside", "ocicrypt: encrypt-then-MAC", layer.refused(), layer, at, public=wrong)
        case(f"held-back/10-kib/{length}", "at least 10 KiB stay inside until the HMAC has verified, as with the original", "Go: copies in steps of 10 KiB",
             layer.refused(max(length - 10_240, 0)), layer, at, "should", public=wrong)
    case("slow/writer-with-pauses", "a layer that arrives in odd pieces comes out whole", "POSIX: pipes", layers[65_537].plainly(), layers[65_537], content("layer-65537", layers[65_537].encrypted),
         call={"pieces": {"bytes": 9973, "pause": 10}})
    case("slow/byte-by-byte", "a layer that arrives byte by byte comes out whole", "POSIX: pipes", layers[17].plainly(), layers[17], content("layer-17", layers[17].encrypted),
         call={"pieces": {"bytes": 1, "pause": 5}})
    return family
