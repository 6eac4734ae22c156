"""Key providers that are commands: what the node asks, and what it makes of the answers."""

import json

from .kit import LAYER, NOTHING, Family, b64, payload

NAME = "org.opencontainers.image.enc.keys.provider.vault"
PROTOCOL = "ocicrypt: docs/keyprovider.md"
HAND = "makers/provider.py"


def make():
    family = Family("provider", "Key providers (ocicrypt's `keyprovider` protocol) that are commands.")
    layer = family.file("layer", LAYER.encrypted)
    answer = json.dumps({"keywrapresults": {}, "keyunwrapresults": {"optsdata": b64(LAYER.options())}})
    descriptor = LAYER.descriptor(NAME, [b"what the provider wrapped"])

    def case(name, why, script, level="must", expect=None, config=None, rule=PROTOCOL, of=descriptor):
        config = config or {"key-providers": {"vault": {"cmd": {"path": "/bin/sh", "args": ["{around}/provider", "--node", "one"]}}}}
        around = {"provider": family.file(f"provider-{name.replace('/', '-')}", script.encode()),
                  "providers.json": {"template": family.file(f"config-{name.replace('/', '-')}", json.dumps(config).encode())}}
        call = {"around": around, "env": {"OCICRYPT_KEYPROVIDER_CONFIG": "{around}/providers.json"}}
        family.case(name, why, rule, level, expect or LAYER.plainly(), layer, payload(of), {}, HAND, call)

    said = f"cat <<'END'\n{answer}\nEND\n"
    wrapped = b64("what the provider wrapped")
    case("answers", "the provider unwraps the key", "cat >/dev/null\n" + said)
    case("asked/operation", "the request names its operation and holds what is wrapped",
         f"request=$(cat)\ncase $request in *'\"op\":\"keyunwrap\"'*'\"annotation\":\"{wrapped}\"'*) ;; *) exit 3 ;; esac\n" + said)
    case("asked/arguments", "the arguments of the configuration reach the command", "cat >/dev/null\n[ \"$*\" = '--node one' ] || exit 3\n" + said)
    case("asked/without-reading", "a provider that does not read its input", said)
    case("answers/more-members", "members that are not known are passed over", "cat >/dev/null\n" + said.replace('"keywrapresults"', '"later": 1, "keywrapresults"'))
    for name, what, script in (("fails", "a provider that fails", "cat >/dev/null\necho no >&2\nexit 1\n"), ("says-nothing", "a provider that says nothing", "cat >/dev/null\n"),
                               ("garbage", "an answer that is no JSON", "cat >/dev/null\necho hello\n"), ("empty-object", "an answer without a key", "cat >/dev/null\necho '{}'\n"),
                               ("no-options", "an answer that holds no private options", "cat >/dev/null\necho '{\"keyunwrapresults\":{\"optsdata\":\"aGVsbG8=\"}}'\n"),
                               ("not-base64", "an answer that is no base64", "cat >/dev/null\necho '{\"keyunwrapresults\":{\"optsdata\":\"%\"}}'\n"),
                               ("killed", "a provider that is killed", "cat >/dev/null\nkill -9 $$\n")):
        case(f"bad/{name}", f"{what}: nothing is decrypted", script, expect=NOTHING)
    case("bad/missing-program", "a provider that is not there", "", expect=NOTHING, config={"key-providers": {"vault": {"cmd": {"path": "{around}/nothing"}}}})
    case("bad/not-configured", "a provider of which the configuration says nothing", "cat >/dev/null\n" + said, expect=NOTHING, config={"key-providers": {"other": {"cmd": {"path": "/bin/sh", "args": ["{around}/provider"]}}}})
    case("bad/configuration-is-no-json", "a configuration that is no JSON", "cat >/dev/null\n" + said, expect=NOTHING, config="hello")
    return family
