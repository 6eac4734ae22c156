"""Layers that leave decompressed, with the flag `--decompress`: gzip, as RFC 1952 has it and as it must not be."""

import gzip, zlib

from .jwe import Writer
from .kit import JWE, TAR, Family, Layer, key, payload, run, sha256

MAKER = "gzip and zlib; the JWE with Python's cryptography"
HEADER, TRAILER = 10, 8
CHECKSUM, EXTRA, NAME, COMMENT, RESERVED = 2, 4, 8, 16, 32
RULE = "RFC 1952, section 2.3"


def with_fields(stream, flags):
    """A stream whose header has no fields, with these."""
    header = bytearray(stream[:HEADER])
    header[3] = flags
    header += b"\x08\0SG\x04\0abcd" if flags & EXTRA else b""
    header += b"layer.tar\0" if flags & NAME else b""
    header += b"a comment\0" if flags & COMMENT else b""
    header += (zlib.crc32(header) & 0xffff).to_bytes(2, "little") if flags & CHECKSUM else b""
    return bytes(header) + stream[HEADER:]


def altered(stream, at):
    stream = bytearray(stream)
    stream[at] ^= 1
    return bytes(stream)


def make():
    family = Family("decompress", "Layers that a decoder with the flag `--decompress` also decompresses.")
    right = {"node.pem": family.file("p-256.pem", key("p-256"))}
    # Longer than what is held back, so that a decoder can fail in holding it back; and short when compressed.
    text = b"".join(b"%x " % (number * 2654435 & 0xffffffff) for number in range(60)) * 300

    def case(name, why, stream, comes_out=None, media_type=f"{TAR}+gzip", rule=RULE):
        layer = Layer(plain=stream, media_type=media_type)
        descriptor = layer.descriptor(JWE, [Writer(content=layer.options()).flattened().encode()])
        expect = {"refused": {"most": max(len(text) - 1, 0)}}
        if comes_out is not None:
            expect = {"plain": {"sha256": sha256(comes_out), "size": len(comes_out)}}
        stdin = family.file(name.replace("/", "-"), layer.encrypted)
        call = {"args": ["--decryption-keys-path", "{keys}", "--decompress"]}
        family.case(name, why, rule, "decompress", expect, stdin, payload(descriptor), right, MAKER, call)

    one = run("gzip", "--no-name", "-c", stdin=text)
    empty = run("gzip", "--no-name", "-c", stdin=b"")
    half = len(text) // 2
    two = [run("gzip", "-1", "-c", stdin=text[:half]), run("gzip", "-9", "-c", stdin=text[half:])]
    end = len(one) - TRAILER
    case("gzip/one-member", "a gzip layer comes out decompressed", one, text)
    case("gzip/stored", "blocks that are not compressed", gzip.compress(text[:4000], 0, mtime=0), text[:4000], rule="RFC 1951, section 3.2.4")
    case("gzip/two-members", "members one after another are one text", two[0] + two[1], text, rule="RFC 1952, section 2.2")
    case("gzip/empty-members", "members may be empty", empty + two[0] + empty + empty + two[1] + empty, text, rule="RFC 1952, section 2.2")
    case("gzip/empty", "a layer of no bytes, compressed", empty, b"")
    case("gzip/name", "the header has a name", with_fields(one, NAME), text)
    case("gzip/all-fields", "the header has all fields", with_fields(one, CHECKSUM | EXTRA | NAME | COMMENT), text)
    case("gzip/last-member-with-a-field", "the last member is empty and has a field, as in eStargz", one + with_fields(empty, EXTRA), text)
    other = "containerd: recognizes a compression by its first bytes"
    case("other/tar", "a layer that is not compressed comes out as it is", text[:4000], text[:4000], TAR, other)
    case("other/tar-called-gzip", "the first bytes decide, not the media type", text[:4000], text[:4000], rule=other)
    case("other/empty", "a layer of no bytes", b"", b"", TAR, other)

    def bad(name, why, stream, rule=RULE):
        case(f"damaged/{name}", f"{why}: no complete text may come out, because containerd can lose the exit code", stream, rule=rule)

    bad("cut/in-the-header", "the header is cut off", one[:HEADER - 1])
    bad("cut/after-the-header", "only the header is there", one[:HEADER])
    bad("cut/in-the-middle", "the second half is missing", one[:len(one) // 2])
    bad("cut/before-the-trailer", "checksum and length are missing", one[:end])
    bad("cut/by-a-byte", "the last byte is missing", one[:-1])
    bad("cut/in-the-second-header", "the header of the second member is cut off", one + one[:5])
    bad("wrong/content", "a byte of the compressed text was altered", altered(one, end // 2))
    bad("wrong/checksum", "the checksum is wrong", altered(one, end))
    bad("wrong/length", "the length is wrong", altered(one, end + 4))
    bad("wrong/header-checksum", "the checksum of the header is wrong", altered(with_fields(one, CHECKSUM), HEADER))
    bad("wrong/reserved-flag", "a reserved flag is set", with_fields(one, RESERVED))
    bad("more/a-zero", "a zero follows", one + b"\0", "Go: compress/gzip, which containerd uses")
    bad("more/zeros", "it is padded with zeros", one + bytes(512), "Go: compress/gzip, which containerd uses")
    bad("more/other-bytes", "other bytes follow", one + b"more", "Go: compress/gzip, which containerd uses")
    return family
