"""CMS content in CBC, which nothing authenticates, altered as who does not know its key can alter it."""

import os
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from .kit import LAYER, NOTHING, PKCS7, Family, compact, data, key, payload
from .numbers import der

HAND = "Python's cryptography"
BLOCK = 16
ENVELOPED, ID_DATA = bytes.fromhex("06092a864886f70d010703"), bytes.fromhex("06092a864886f70d010701")
RSA = bytes.fromhex("300d06092a864886f70d0101010500")
AES_256_CBC = bytes.fromhex("060960864801650304012a")


class Message:
    """EnvelopedData with AES-256-CBC and PKCS#1 v1.5, whose parts can be changed."""

    def __init__(self, content, padded=True):
        self.key, self.iv = os.urandom(32), os.urandom(BLOCK)
        self.certificate = x509.load_pem_x509_certificate(data("pkcs7/rsa-2048.cert.pem"))
        self.wrapped = self.certificate.public_key().encrypt(self.key, padding.PKCS1v15())
        length = BLOCK - len(content) % BLOCK
        encryptor = Cipher(algorithms.AES(self.key), modes.CBC(self.iv)).encryptor()
        self.text = encryptor.update(content + bytes([length]) * length if padded else content) + encryptor.finalize()

    def blocks(self):
        """The vector and the blocks of the content."""
        whole = self.iv + self.text
        return [whole[at:at + BLOCK] for at in range(0, len(whole), BLOCK)]

    def with_blocks(self, blocks):
        self.iv, self.text = blocks[0], b"".join(blocks[1:])
        return self

    def flipped(self, place, mask):
        """A byte of the vector and the content changed: the same byte a block later changes likewise, and the block before is garbage."""
        whole = bytearray(self.iv + self.text)
        whole[place] ^= mask
        self.iv, self.text = bytes(whole[:BLOCK]), bytes(whole[BLOCK:])
        return self

    def decrypts_to(self):
        decryptor = Cipher(algorithms.AES(self.key), modes.CBC(self.iv)).decryptor()
        return decryptor.update(self.text) + decryptor.finalize()

    def cms(self):
        number = self.certificate.serial_number
        name = der(0x30, self.certificate.issuer.public_bytes(), der(2, number.to_bytes(number.bit_length() // 8 + 1, "big")))
        recipient = der(0x30, b"\x02\x01\x00", name, RSA, der(4, self.wrapped))
        content = der(0x30, ID_DATA, der(0x30, AES_256_CBC, der(4, self.iv)), der(0x80, self.text))
        return der(0x30, ENVELOPED, der(0xA0, der(0x30, b"\x02\x01\x00", der(0x31, recipient), content)))


def text_in(garbage):
    """Whether a parser of JSON takes these bytes in a string."""
    return all(byte >= 0x20 and byte not in b'"\\' for byte in garbage)


def garbage_in_the_digest(wanted):
    """The digest's middle replaced by a block that nobody knows, until it is text, or until it is not."""
    digest = LAYER.options().index(b'"sha256:') + len(b'"sha256:')
    place = digest // BLOCK + 2  # a block that is in the digest altogether, and in front of another
    while True:
        message = Message(LAYER.options())
        blocks = message.blocks()
        message.with_blocks(blocks[:place] + [os.urandom(BLOCK)] + blocks[place + 1:])
        found = message.decrypts_to()[(place - 1) * BLOCK:(place + 1) * BLOCK]
        if text_in(found) == wanted:
            return message


def make():
    family = Family("malleable", "CMS content in CBC, which is not authenticated, altered by who does not know its key.")
    layer = family.file("layer", LAYER.encrypted)
    keys = {"key.pem": family.file("rsa-2048.pem", key("rsa-2048")), "node.crt": family.file("rsa-2048.crt", data("pkcs7/rsa-2048.cert.pem"))}

    def case(name, why, messages, level="should", expect=NOTHING, rule="Vaudenay, 2002; RFC 5652 has no integrity for EnvelopedData"):
        items = [message.cms() for message in messages]
        family.case(name, why, rule, level, expect, layer, payload(LAYER.descriptor(PKCS7, items)), keys, HAND)

    good = lambda: Message(LAYER.options())
    spaced = lambda: Message(b'{ "cipheroptions": %s,\n "digest": "%s", "symkey": "%s" }' % tuple(
        part.encode() for part in (compact(LAYER.private["cipheroptions"]), LAYER.private["digest"], LAYER.private["symkey"])))
    case("good", "the content as it was written is opened: the base of the cases below", [good()], "must", LAYER.plainly(), "RFC 5652, section 6.3")
    case("good-in-other-words", "members in another order, and white space between them", [spaced()], "must", LAYER.plainly(), "RFC 8259")
    case("padding/altered", "the last byte of the padding was altered", [good().flipped(-1 - BLOCK, 1)], "must")
    for length in (0, 17, 255):
        content = LAYER.options() + b" " * (-len(LAYER.options()) % BLOCK)
        message = Message(content[:-1] + bytes([length]), padded=False)
        case(f"padding/of-{length}", f"a padding that would be {length} bytes long", [message], "must")
    message = Message(LAYER.options())
    case("content/last-block-missing", "without its last block", [message.with_blocks(message.blocks()[:-1])], "must")
    message = Message(LAYER.options())
    blocks = message.blocks()
    case("content/two-blocks-exchanged", "two blocks changed places", [message.with_blocks(blocks[:3] + [blocks[4], blocks[3]] + blocks[5:])], "must")
    case("content/key-altered-by-the-vector", "a bit of the first block was altered by the vector, without any garbage: the layer key is another one", [good().flipped(12, 2)], "must")
    case("content/first-member-renamed", "a member whose name was altered by the vector", [good().flipped(4, 2)], "must")
    for name, wanted in (("is-text", True), ("is-no-text", False)):
        case(f"digest/garbage-that-{name}", "a block of the digest is garbage: it must not matter for the outcome whether the garbage is text, or a block after the other can be learnt by trying",
             [garbage_in_the_digest(wanted)])
    more = LAYER.options()[:-1] + b',"more":"' + os.urandom(8).hex().encode() + b'"}'
    case("members/one-more", "a member that private options do not have, in which garbage would be looked for", [Message(more)], "may")
    twice = LAYER.options()[:-1] + b',"digest":"sha256:' + b"0" * 64 + b'"}'
    case("members/one-twice", "a member that occurs twice", [Message(twice)], "may")
    first, second = good(), good()
    second.wrapped, second.key = first.wrapped, first.key
    second.with_blocks(first.blocks()).flipped(-1 - BLOCK, 1)
    case("contents/two-of-one-encrypted-key", "one encrypted key with two contents: who sends thousands of them has an answer about each", [second, first], "may")
    case("contents/the-same-twice", "the same message twice is one content", [first, first], "must", LAYER.plainly())
    other = good()
    other.flipped(-1 - BLOCK, 1)
    case("contents/altered-then-good", "a message that was altered does not spoil a good one of another encrypted key", [other, good()], "must", LAYER.plainly(), "ocicrypt: every item is tried")
    return family
