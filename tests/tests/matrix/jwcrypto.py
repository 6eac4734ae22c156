"""Wraps what `plaintext` says for every key and in every form of JWE, and writes keys as JWK.

Reads a job (see jwcrypto.rs) from the file that is its argument, writes JSON to stdout.
"""

import json, sys
from jwcrypto import jwe, jwk

with open(sys.argv[1]) as file:
    job = json.load(file)
keys = {name: jwk.JWK.from_pem(pem.encode()) for name, pem in job["keys"].items()}
plaintext = job["plaintext"].encode()
SERIALIZATIONS = ("compact", "flattened", "flattened-with-headers", "general")


def wrap(key, alg, enc, form, **more):
    if form in ("compact", "flattened"):
        token = jwe.JWE(plaintext, json.dumps({"alg": alg, "enc": enc, **more}), recipient=keys[key])
        return token.serialize(compact=form == "compact")
    if form == "flattened-with-headers":
        # Each member where it may be, and additional authenticated data.
        token = jwe.JWE(plaintext, json.dumps({"enc": enc}), unprotected=json.dumps({"alg": alg}),
                        aad=b"additional")
        token.add_recipient(keys[key])
        return token.serialize()
    # Two recipients: another's key, then ours.
    token = jwe.JWE(plaintext, json.dumps({"enc": enc}))
    for recipient in ("stranger-" + key, key):
        token.add_recipient(keys[recipient], json.dumps({"alg": alg, "kid": recipient}))
    return token.serialize()


made = {}
for key, alg, enc in job["cases"]:
    for form in SERIALIZATIONS:
        made[f"{key}/{alg}/{enc}/{form}"] = wrap(key, alg, enc, form)
    made[f"{key}/{alg}/{enc}/deflated"] = wrap(key, alg, enc, "compact", zip="DEF")
every = jwk.JWKSet()
for name, key in keys.items():
    key = jwk.JWK(**{**key.export(as_dict=True), "use": "enc", "kid": name})
    made["jwk/" + name] = key.export()
    every.add(key)
made["jwks"] = every.export()
json.dump(made, sys.stdout)
