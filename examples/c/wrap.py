#!/usr/bin/python3
"""A key provider that wraps the key of a layer for the secret of a node, as main.c opens it.

`keycell encrypt -r provider:node-secret:/the/secret` runs it, when the file that
OCICRYPT_KEYPROVIDER_CONFIG names has

    {"key-providers": {"node-secret": {"cmd": {"path": "/the/path/of/wrap.py"}}}}

Needs Debian's python3-cryptography."""

import base64
import hmac
import json
import os
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def wrap(secret, options):
    encrypting = hmac.digest(secret, b"keycell node-secret: encrypt", "sha256")
    authenticating = hmac.digest(secret, b"keycell node-secret: authenticate", "sha256")
    nonce = os.urandom(16)
    sealed = nonce + Cipher(algorithms.AES(encrypting), modes.CTR(nonce)).encryptor().update(options)
    return sealed + hmac.digest(authenticating, sealed, "sha256")


request = json.load(sys.stdin)
if request["op"] != "keywrap":
    sys.exit("this provider wraps keys only: the guest unwraps them")
parameters = request["keywrapparams"]
path = base64.b64decode(parameters["ec"]["Parameters"]["node-secret"][0]).decode()
try:
    with open(path, "rb") as file:
        secret = file.read()
except OSError as error:
    sys.exit(f"cannot read the secret, name it as in `provider:node-secret:/node.secret`: {error}")
if len(secret) != 32:
    sys.exit(f"`{path}` is not 32 bytes long")
wrapped = wrap(secret, base64.b64decode(parameters["optsdata"]))
json.dump({"keywrapresults": {"annotation": base64.b64encode(wrapped).decode()}}, sys.stdout)
