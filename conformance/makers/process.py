"""The decoder as a process: arguments, environment, descriptors."""

from .jwe import Writer
from .kit import JWE, LAYER, NOTHING, Family, Layer, TAR, key, payload
from .layer import ciphertext

HAND = "the JWE with Python's cryptography"


def make():
    family = Family("process", "Arguments, environment and descriptors, as containerd hands them over.")
    small = family.file("layer", LAYER.encrypted)
    right = {"node.pem": family.file("p-256.pem", key("p-256"))}
    big = Layer(encrypted=ciphertext(1 << 20), media_type=TAR)
    large = family.repeat("layer-1048576", big.encrypted[:1024], 1024)
    described = {id(layer): layer.descriptor(JWE, [Writer(content=layer.options()).flattened().encode()]) for layer in (LAYER, big)}

    def case(name, why, rule, call, level="must", expect=None, layer=LAYER, keys=right):
        family.case(name, why, rule, level, expect or layer.plainly(), small if layer is LAYER else large, payload(described[id(layer)]), keys, HAND, call)

    flag = "--decryption-keys-path"
    case("arguments/two-words", "the flag and its value as two words", "imgcrypt: ctd-decoder", {"args": [flag, "{keys}"]})
    case("arguments/equals-sign", "the flag and its value as one word", "urfave/cli", {"args": [f"{flag}={{keys}}"]})
    case("arguments/single-dash", "a single dash, as Go's flags have it", "Go: package flag", {"args": [flag[1:], "{keys}"]})
    case("arguments/single-dash-equals-sign", "a single dash and an equals sign", "Go: package flag", {"args": [f"{flag[1:]}={{keys}}"]})
    case("arguments/last-wins", "a flag that is repeated: the last counts", "Go: package flag", {"args": [flag, "/nowhere", flag, "{keys}"]})
    case("arguments/more-are-ignored", "words after the flags are ignored", "urfave/cli", {"args": [flag, "{keys}", "more", "words"]})
    case("arguments/trailing-slash", "a directory with a slash at its end", "POSIX: pathnames", {"args": [flag, "{keys}/"]})
    case("arguments/relative", "a relative path", "POSIX: pathnames", {"args": [flag, "keys"]})
    case("arguments/unknown-flag", "a flag that is not known is an error, and standard output is for the layer alone; Go prints its help there", "imgcrypt: ctd-decoder", {"args": ["--no-such-flag", flag, "{keys}"]}, "should", NOTHING)
    case("arguments/flag-without-value", "a flag without its value is an error, and standard output is for the layer alone; Go prints its help there", "imgcrypt: ctd-decoder", {"args": [flag]}, "should", NOTHING)
    case("environment/media-type-unset", "a decoder works without `STREAM_PROCESSOR_MEDIATYPE`", "imgcrypt: ctd-decoder does not read it", {"media_type": None})
    case("environment/media-type-of-another", "the descriptor counts, not the variable", "imgcrypt: ctd-decoder does not read it", {"media_type": "application/json"}, "should")
    case("environment/home-is-nowhere", "nothing depends on a home", "containerd: a service's environment", {"env": {"HOME": "/nowhere", "TMPDIR": "/nowhere", "LANG": "xx"}})
    case("descriptors/stderr-closed", "a decoder works without standard error", "POSIX", {"closed": [2]})
    case("descriptors/stdin-closed", "without standard input there is no layer", "POSIX", {"closed": [0]}, expect={"stops": {}})
    case("descriptors/stdout-closed", "without standard output there is nowhere to write to, and that is no success", "POSIX", {"closed": [1]}, expect={"stops": {}})
    case("descriptors/payload-closed", "descriptor 3 is closed", "containerd: no payload", {"closed": [3]}, expect=NOTHING)
    for bytes_read in (0, 1, 100_000):
        case(f"reader/goes-after-{bytes_read}", "containerd stops reading: the decoder ends, and not with success", "POSIX: EPIPE, SIGPIPE", {"reads": bytes_read}, expect={"stops": {}}, layer=big)
    case("reader/slow", "a reader that takes its time gets all of it", "POSIX: pipes", {"reads_slowly": 20}, layer=big)
    case("early/wrong-key", "a failure that the layer cannot mend does not wait for the layer", "containerd: stderr shows it only if no output ended early", {"stdin_stays_open": True}, "should", NOTHING, keys={"a.pem": family.file("p-384.pem", key("p-384"))})
    case("early/no-key", "the same without any key", "containerd", {"stdin_stays_open": True}, "should", NOTHING, keys={})
    return family
