"""Descriptor 3: the protobuf around the payload, its JSON, and what is neither."""

import json

from .jwe import Writer
from .kit import JWE, LAYER, NOTHING, PUBLIC, TAR, Family, b64, compact, key, payload

URL = "io.containerd.ocicrypt.v1.Payload"
HAND = "makers/payload.py"


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def any_of(value, url=URL):
    return field(1, url.encode()) + field(2, value)


def make():
    family = Family("payload", "What containerd writes to descriptor 3: a protobuf `Any` around JSON.")
    layer = family.file("layer", LAYER.encrypted)
    right = {"node.pem": family.file("p-256.pem", key("p-256"))}
    item = Writer().flattened().encode()
    descriptor = LAYER.descriptor(JWE, [item])
    document = {"DecryptConfig": {"Parameters": None}, "Descriptor": descriptor}
    good = compact(document)

    def raw(content, name):
        return {"bytes": family.file(name.replace("/", "-"), content)} if content is not None else None

    def opens(name, why, rule, content, level="must", keys=right, call=None):
        family.case(name, why, rule, level, LAYER.plainly(), layer, raw(content, name), keys, HAND, call)

    def refused(name, why, content, rule="ocicrypt: payload", level="must"):
        family.case(name, why, rule, level, NOTHING, layer, raw(content, name), right, HAND)

    def text(name, why, rule, value, level="must", keys=right):
        opens(name, why, rule, any_of(value.encode()), level, keys)

    with_key = accepted(text, good, descriptor, document, opens, family, layer, item, right)
    rejected(refused, descriptor, good, document, with_key, family, layer, right, item)
    return family


def accepted(text, good, descriptor, document, opens, family, layer, item, right):
    text("plain", "a payload as a CRI pull sends it: no parameters", "containerd: CRI, `\"Parameters\":null`", good)
    text("parameters/empty", "an empty object of parameters", "ctr-enc --skip-decrypt-auth", good.replace('"Parameters":null', '"Parameters":{}'))
    text("parameters/missing", "no parameters at all", "Go: encoding/json", good.replace('{"Parameters":null}', "{}"))
    text("parameters/config-null", "no configuration at all", "Go: encoding/json", good.replace('{"Parameters":null}', "null"))
    text("parameters/config-missing", "not even a null", "Go: encoding/json", compact({"Descriptor": descriptor}))
    private = b64(key("p-256"))
    with_key = lambda parameters: compact({**document, "DecryptConfig": {"Parameters": parameters}})
    text("parameters/password-null", "a null in the list of passwords", "ctr-enc import --key", with_key({"privkeys": [private], "privkeys-passwords": [None]}), keys={})
    text("parameters/password-empty", "an empty password is none", "Go: encoding/json", with_key({"privkeys": [private], "privkeys-passwords": [""]}), keys={})
    text("parameters/unknown", "a parameter of another time", "Go: encoding/json", with_key({"later": [private]}))
    folded = "\r\n".join(private[i:i + 64] for i in range(0, len(private), 64))
    text("parameters/base64-with-line-ends", "line ends in base64 are passed over", "Go: encoding/base64", with_key({"privkeys": [folded], "privkeys-passwords": [None]}), keys={})
    text("parameters/null-list", "a null in the place of a list", "Go: encoding/json", with_key({"privkeys": None}))
    text("json/members-in-any-case", "members match in any case", "Go: encoding/json", good.replace("DecryptConfig", "decryptconfig").replace("Parameters", "PARAMETERS").replace('"Descriptor"', '"descriptor"').replace('"annotations"', '"Annotations"'))
    text("json/unknown-members", "members that are not known are passed over", "Go: encoding/json", compact({"Later": [1, {}], **document, "More": {"a": None}}))
    text("json/white-space", "white space between everything", "RFC 8259, section 2", json.dumps(document, indent="\t"))
    text("json/order", "members in another order", "RFC 8259, section 4", compact({"Descriptor": dict(reversed(descriptor.items())), "DecryptConfig": {"Parameters": None}}))
    text("json/escapes", "characters that are escaped without need", "RFC 8259, section 7", good.replace("/", "\\/").replace("mediaType", "media\\u0054ype"))
    text("json/other-annotations", "annotations that are not about encryption", "OCI image-spec, annotations", compact({**document, "Descriptor": {**descriptor, "annotations": {"a": "b", "é": "\u2028", **descriptor["annotations"]}}}))
    text("json/descriptor-members", "members of a descriptor that do not matter here", "OCI image-spec, descriptors", compact({**document, "Descriptor": {**descriptor, "urls": ["https://example.org"], "platform": {"os": "linux", "architecture": "amd64"}, "artifactType": "a/b", "data": "AAAA"}}))
    text("descriptor/size-missing", "a descriptor without its size", "Go: encoding/json", compact({**document, "Descriptor": {name: value for name, value in descriptor.items() if name != "size"}}), "should")
    text("descriptor/digest-missing", "a descriptor without its digest", "Go: encoding/json", compact({**document, "Descriptor": {name: value for name, value in descriptor.items() if name != "digest"}}), "should")
    opens("protobuf/unknown-fields", "fields that are not known are passed over", "Protocol Buffers: unknown fields", b"\x18\x07" + any_of(good.encode()) + b"\x7a\x02hi")
    opens("protobuf/fields-in-the-other-order", "the value before the type", "Protocol Buffers: field order", field(2, good.encode()) + field(1, URL.encode()))
    opens("protobuf/last-one-wins", "a field that occurs twice: the last counts", "Protocol Buffers: last one wins", field(1, b"other") + field(2, b"{}") + any_of(good.encode()))
    opens("protobuf/long-varint", "a length with more bytes than it needs", "Protocol Buffers: varints", b"\x0a\xa1\x80\x00" + URL.encode() + field(2, good.encode()))
    for kind in ("tar", "tar+gzip", "tar+zstd"):
        family.case(f"media-type/{kind}", "the media types that ocicrypt has", "ocicrypt: media types", "must", LAYER.plainly(), layer,
                    payload(LAYER.descriptor(JWE, [item], mediaType=f"application/vnd.oci.image.layer.v1.{kind}+encrypted")), right, HAND)
    for name, media_type in (("nondistributable", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip+encrypted"),
                             ("docker-tar", "application/vnd.docker.image.rootfs.diff.tar+encrypted"), ("docker-gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted"),
                             ("wasm", "application/vnd.wasm.content.layer.v1+wasm+encrypted")):
        family.case(f"media-type/{name}", "media types that other encryptors use", "Keycell: media types", "may", LAYER.plainly(), layer,
                    payload(LAYER.descriptor(JWE, [item], mediaType=media_type)), right, HAND)
    return with_key


def rejected(refused, descriptor, good, document, with_key, family, layer, right, item):
    refused("missing", "descriptor 3 is closed: containerd had no payload", None)
    refused("empty", "descriptor 3 ends at once", b"")
    refused("garbage/ff", "300 bytes of 0xff", b"\xff" * 300)
    refused("garbage/zeros", "300 zeros", bytes(300))
    refused("garbage/json-without-protobuf", "JSON that is not wrapped", good.encode())
    for name, cut in (("type", 20), ("value", 200), ("last-byte", -1)):
        refused(f"cut/{name}", f"the payload ends early, in the {name}", any_of(good.encode())[:cut])
    for name, url in (("none", ""), ("later-version", URL.replace("v1", "v2")), ("with-prefix", "type.googleapis.com/x"), ("with-more", URL + "\n")):
        refused(f"type/{name}", "another type than the one that is agreed", any_of(good.encode(), url), "containerd: typeurl")
    for name, value in (("nothing", ""), ("open", "{"), ("half", good[:len(good) // 2]), ("trailing", good + "x"), ("null", "null"), ("list", "[]"), ("number", "1"),
                        ("nested-100000-times", "[" * 100_000), ("config-list", compact({**document, "DecryptConfig": []})), ("parameters-text", compact({**document, "DecryptConfig": {"Parameters": ""}})),
                        ("values-not-base64", with_key({"privkeys": ["%"]})), ("values-numbers", with_key({"privkeys": [1]})), ("descriptor-list", compact({**document, "Descriptor": []})),
                        ("size-text", compact({**document, "Descriptor": {**descriptor, "size": "1"}})), ("annotation-object", compact({**document, "Descriptor": {**descriptor, "annotations": {"a": {}}}}))):
        refused(f"json/bad/{name}", "JSON that is none, or of another shape", any_of(value.encode()), "RFC 8259; Go: encoding/json")
    for name, value in (("nothing-in-it", {}), ("nulls", {"DecryptConfig": None, "Descriptor": None})):
        refused(f"json/bad/{name}", "a payload that tells nothing", any_of(compact(value).encode()))
    without = lambda *names: {**descriptor, "annotations": {n: v for n, v in descriptor["annotations"].items() if n not in names}}
    for name, changed in (("none", {**descriptor, "annotations": None}), ("no-keys", without(JWE)), ("no-public-options", without(PUBLIC)),
                          ("empty-keys", {**descriptor, "annotations": {**descriptor["annotations"], JWE: ""}}), ("commas-only", {**descriptor, "annotations": {**descriptor["annotations"], JWE: ",,"}}),
                          ("unknown-scheme", {**without(JWE), "annotations": {**without(JWE)["annotations"], "org.opencontainers.image.enc.keys.rot13": descriptor["annotations"][JWE]}})):
        family.case(f"annotations/{name}", "without a wrapped key and public options there is nothing to decrypt with", "ocicrypt: annotations", "must", NOTHING, layer, payload(changed), right, HAND)
    for name, media_type in (("json", "application/json"), ("plain-layer", TAR), ("suffix-only", "+encrypted"), ("missing", "")):
        family.case(f"media-type/bad/{name}", "what is no encrypted layer is not decrypted", "ocicrypt: media types", "should", NOTHING, layer,
                    payload(LAYER.descriptor(JWE, [item], mediaType=media_type)), right, HAND)
    long = {"bytes": family.repeat("zeros-40-mib", bytes(1024), 40 << 10)}
    family.case("long/40-mib-of-zeros", "a payload of 40 MiB is not one", "Keycell: payloads are shorter than 32 MiB", "must", NOTHING, layer, long, right, HAND)
