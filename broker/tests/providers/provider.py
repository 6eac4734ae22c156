#!/usr/bin/python3
"""A key provider as somebody else would write it, in each form that ocicrypt has but ttrpc.

    provider.py command MODE RECORD
    provider.py grpc MODE RECORD ADDRESS [CERTIFICATE KEY CLIENT-AUTHORITY]

It records what it is asked in RECORD, and does what MODE says. The gRPC server writes its port
to standard output when it listens."""

import base64
import hashlib
import hmac
import json
import os
import sys
import time

KEY = hashlib.sha256(b"the key that wraps keys").digest()


def keystream(nonce, length):
    blocks = (hashlib.sha256(KEY + nonce + bytes([n])).digest() for n in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def crypt(nonce, data):
    return bytes(a ^ b for a, b in zip(data, keystream(nonce, len(data))))


def wrap(options):
    nonce = os.urandom(16)
    sealed = crypt(nonce, options)
    tag = hmac.digest(KEY, nonce + sealed, "sha256")
    return json.dumps({"key": "test", "wrapped": base64.b64encode(nonce + tag + sealed).decode()}).encode()


def unwrap(annotation):
    blob = base64.b64decode(json.loads(annotation)["wrapped"])
    nonce, tag, sealed = blob[:16], blob[16:48], blob[48:]
    if not hmac.compare_digest(tag, hmac.digest(KEY, nonce + sealed, "sha256")):
        raise ValueError("this was not wrapped for this provider")
    return crypt(nonce, sealed)


def answer(request, numbers=False):
    encode = list if numbers else lambda data: base64.b64encode(data).decode()
    if request["op"] == "keywrap":
        wrapped = wrap(base64.b64decode(request["keywrapparams"]["optsdata"]))
        return {"keywrapresults": {"annotation": encode(wrapped)}}
    assert request["op"] == "keyunwrap"
    options = unwrap(base64.b64decode(request["keyunwrapparams"]["annotation"]))
    return {"keyunwrapresults": {"optsdata": encode(options)}}


def record(directory, request):
    with open(os.path.join(directory, "request"), "wb") as file:
        file.write(request)


def command(mode, directory):
    request = sys.stdin.buffer.read()
    record(directory, request)
    if mode == "talkative":
        sys.stderr.write("one more line of a log\n" * 400_000)
    try:
        json.dump(answer(json.loads(request), mode == "numbers"), sys.stdout)
    except ValueError as error:
        sys.exit(f"provider.py: {error}")


def grpc_server(mode, directory, address, certificate=None, key=None, authority=None):
    import grpc
    from concurrent import futures

    def call(message, context):
        # Field 1, length-delimited: a tag, a varint, the bytes.
        assert message[0] == 0x0A
        start = 1
        while message[start] & 0x80:
            start += 1
        request = message[start + 1:]
        record(directory, request)
        if mode == "hang":
            time.sleep(60)
        if mode == "refuse":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not\u202e for \x1b[2Jyou\nhint: forged")
        if mode == "long refusal":
            context.abort(grpc.StatusCode.INTERNAL, "x" * 5000)
        text = {"garbage": "SECRET and no JSON", "empty": "{}", "flood": "x" * (2 << 20)}.get(mode)
        data = (text or json.dumps(answer(json.loads(request), mode == "numbers"))).encode()
        length, prefix = len(data), b"\x0a"
        while length > 0x7F:
            prefix += bytes([length & 0x7F | 0x80])
            length >>= 7
        return prefix + bytes([length]) + data

    methods = {name: grpc.unary_unary_rpc_method_handler(call) for name in ("WrapKey", "UnWrapKey")}
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("keyprovider.KeyProviderService", methods),))
    if certificate:
        pem = [open(name, "rb").read() for name in (key, certificate, authority)]
        credentials = grpc.ssl_server_credentials([(pem[0], pem[1])], pem[2], require_client_auth=True)
        port = server.add_secure_port(address, credentials)
    else:
        port = server.add_insecure_port(address)
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    {"command": command, "grpc": grpc_server}[sys.argv[1]](*sys.argv[2:])
