/* A guest for Keycell in C: it decrypts a layer of an encrypted OCI image whose key is wrapped
 * with a secret of the node, 32 bytes in `/keys/node.secret`.
 *
 * The scheme is an example's own, and simple. An image carries, in an annotation as of a key
 * provider with the name `node-secret`, for each node that may open it
 *
 *     nonce (16 bytes) | sealed options, AES-256-CTR | HMAC-SHA256 of all before it (32 bytes)
 *
 * under two keys that come from the node's secret: HMAC-SHA256 of the texts below. wrap.py, a key
 * provider for `keycell encrypt`, writes it. */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto.h"
#include "text.h"

#define PAYLOAD_TYPE "io.containerd.ocicrypt.v1.Payload"
#define WRAPPED_KEYS "org.opencontainers.image.enc.keys.provider.node-secret"
#define PUBLIC_OPTIONS "org.opencontainers.image.enc.pubopts"
#define ENCRYPTING "keycell node-secret: encrypt"
#define AUTHENTICATING "keycell node-secret: authenticate"

enum {
    MAX_PAYLOAD = 32 << 20,
    MAX_OPTIONS = 4096,   /* sealed or public options: a few hundred bytes */
    HOLD_BACK = 64 << 10, /* of the layer, until all of it has verified */
};

typedef struct {
    uint8_t *bytes;
    size_t length;
} bytes;

/* What decrypts and verifies the layer. */
typedef struct {
    uint8_t key[32], nonce[16], hmac[32];
    char digest[64]; /* of the plain layer, in hexadecimal */
} layer_key;

static bytes read_payload(const char *from);
static text descriptor_of(bytes payload);
static text annotations_of(text descriptor);
static bool is_plain_tar(text descriptor);
static layer_key unwrap(text annotations, uint8_t secret[32]);
static void read_secret(uint8_t secret[32]);
static void decrypt(const layer_key *key, bool digest_is_of_this_layer);
static _Noreturn void fail(const char *hint, const char *format, ...);

int main(int argc, char **argv) {
    if (argc != 3 || strcmp(argv[1], "--payload") != 0) {
        fail(NULL, "the arguments are `--payload -` or `--payload FILE`");
    }
    bytes payload = read_payload(argv[2]);
    uint8_t secret[32];
    read_secret(secret);
    text descriptor = descriptor_of(payload);
    layer_key key = unwrap(annotations_of(descriptor), secret);
    bool digest_is_of_this_layer = is_plain_tar(descriptor);
    explicit_bzero(secret, sizeof secret);
    decrypt(&key, digest_is_of_this_layer);
    return 0;
}

/* Reads so many bytes, or fewer where the input ends. */
static size_t read_up_to(int from, void *to, size_t most) {
    size_t done = 0;
    while (done < most) {
        ssize_t n = read(from, (char *)to + done, most - done);
        if (n < 0) fail(NULL, "cannot read: %s", strerror(errno));
        if (n == 0) break;
        done += (size_t)n;
    }
    return done;
}

/* From a file or, for `-`, from the front of standard input, where its length in four bytes
 * (big-endian) goes before it. */
static bytes read_payload(const char *from) {
    bool framed = strcmp(from, "-") == 0;
    int file = framed ? STDIN_FILENO : open(from, O_RDONLY);
    if (file < 0) fail(NULL, "cannot open the payload `%s`: %s", from, strerror(errno));
    size_t most = MAX_PAYLOAD;
    if (framed) {
        uint8_t length[4];
        if (read_up_to(file, length, 4) != 4) fail(NULL, "there is no payload before the layer");
        most = (size_t)length[0] << 24 | (size_t)length[1] << 16 | (size_t)length[2] << 8 |
               length[3];
        if (most > MAX_PAYLOAD) fail(NULL, "the payload is longer than 32 MiB");
    }
    bytes payload = {malloc(most + 1), 0};
    if (!payload.bytes) fail(NULL, "out of memory");
    payload.length = read_up_to(file, payload.bytes, most);
    if (framed && payload.length != most) fail(NULL, "the payload is cut off");
    return payload;
}

/* The layer's descriptor. The payload is a protobuf `Any` (1: type, 2: value) that holds JSON. */
static text descriptor_of(bytes payload) {
    text fields[3] = {0}, rest = {(char *)payload.bytes, (char *)payload.bytes + payload.length};
    while (rest.at < rest.end) {
        unsigned tag = (uint8_t)*rest.at++, shift = 0;
        size_t length = 0;
        bool more = true;
        for (; more && rest.at < rest.end && shift < 28; shift += 7) {
            length |= (size_t)(*rest.at & 0x7f) << shift;
            more = *rest.at++ & 0x80;
        }
        if ((tag & 7) != 2 || more || length > (size_t)(rest.end - rest.at)) {
            fail(NULL, "the payload is not a protobuf `Any`");
        }
        if (tag >> 3 < 3) fields[tag >> 3] = (text){rest.at, rest.at + length};
        rest.at += length;
    }
    size_t length = (size_t)(fields[1].end - fields[1].at);
    if (length != strlen(PAYLOAD_TYPE) || memcmp(fields[1].at, PAYLOAD_TYPE, length) != 0) {
        fail(NULL, "the payload is not of the type `" PAYLOAD_TYPE "`");
    }
    text descriptor;
    if (!json_member(fields[2], "Descriptor", &descriptor)) {
        fail(NULL, "the payload has no descriptor of a layer");
    }
    return descriptor;
}

static text annotations_of(text descriptor) {
    text annotations;
    if (!json_member(descriptor, "annotations", &annotations)) {
        fail(NULL, "the payload has no annotations of a layer");
    }
    return annotations;
}

/* Whether the layer is not compressed. Of a compressed one the sealed digest may be that of the layer
 * before: skopeo compresses a layer while it encrypts it. */
static bool is_plain_tar(text descriptor) {
    static const char end[] = ".tar+encrypted";
    text value, inside;
    size_t length = sizeof end - 1;
    return json_member(descriptor, "mediaType", &value) && json_string(value, &inside) &&
           (size_t)(inside.end - inside.at) >= length && memcmp(inside.end - length, end, length) == 0;
}

static void read_secret(uint8_t secret[32]) {
    static const char hint[] = "`openssl rand -out node.secret 32` makes one";
    uint8_t content[33];
    int file = open("/keys/node.secret", O_RDONLY);
    if (file < 0) fail(hint, "cannot open `/keys/node.secret`: %s", strerror(errno));
    if (read_up_to(file, content, sizeof content) != 32) {
        fail(hint, "`/keys/node.secret` is not 32 bytes long");
    }
    close(file);
    memcpy(secret, content, 32);
    explicit_bzero(content, sizeof content);
}

static void derive(uint8_t key[32], const uint8_t secret[32], const char *purpose) {
    hmac_sha256 mac;
    hmac_start(&mac, secret, 32);
    hmac_add(&mac, (const uint8_t *)purpose, strlen(purpose));
    hmac_end(&mac, key);
}

/* Opens one wrapped key in place. The tag first: nothing that it does not cover is decrypted. */
static bool open_wrapped(bytes wrapped, const uint8_t secret[32], text *options) {
    if (wrapped.length < 16 + 32) return false;
    size_t covered = wrapped.length - 32;
    uint8_t key[32], tag[32];
    derive(key, secret, AUTHENTICATING);
    hmac_sha256 mac;
    hmac_start(&mac, key, 32);
    hmac_add(&mac, wrapped.bytes, covered);
    hmac_end(&mac, tag);
    if (!same(tag, wrapped.bytes + covered, 32)) return false;

    derive(key, secret, ENCRYPTING);
    aes_ctr cipher;
    aes_ctr_start(&cipher, key, wrapped.bytes);
    aes_ctr_apply(&cipher, wrapped.bytes + 16, covered - 16);
    *options = (text){(char *)wrapped.bytes + 16, (char *)wrapped.bytes + covered};
    return true;
}

/* A member that is base64 of exactly so many bytes. */
static void take_bytes(text object, const char *name, uint8_t *to, size_t length) {
    text value, inside;
    size_t decoded = 0;
    if (!json_member(object, name, &value) || !json_string(value, &inside) ||
        !base64_decode(inside, to, length, &decoded) || decoded != length) {
        fail(NULL, "the layer's options have no `%s` of %zu bytes", name, length);
    }
}

static bool is(text value, const char *expected) {
    size_t length = strlen(expected);
    return (size_t)(value.end - value.at) == length && memcmp(value.at, expected, length) == 0;
}

static layer_key unwrap(text annotations, uint8_t secret[32]) {
    text value, items, options = {0};
    if (!json_member(annotations, WRAPPED_KEYS, &value) || !json_string(value, &items)) {
        fail("`keycell inspect` tells for whom the image is encrypted",
             "the layer has no key that is wrapped for the secret of a node");
    }
    static uint8_t opened[MAX_OPTIONS], public[MAX_OPTIONS];
    int tried = 0;
    for (const char *at = items.at; at <= items.end && !options.at; tried++) {
        const char *comma = memchr(at, ',', (size_t)(items.end - at));
        text item = {at, comma ? comma : items.end};
        bytes wrapped = {opened, 0};
        if (base64_decode(item, opened, sizeof opened, &wrapped.length)) {
            open_wrapped(wrapped, secret, &options);
        }
        at = item.end + 1;
    }
    if (!options.at) {
        fail("the image was encrypted for the secrets of other nodes",
             "`/keys/node.secret` opens none of the layer's wrapped keys (%d tried)", tried);
    }

    size_t length;
    text inside, cipher_options;
    if (!json_member(annotations, PUBLIC_OPTIONS, &value) || !json_string(value, &inside) ||
        !base64_decode(inside, public, sizeof public, &length)) {
        fail(NULL, "the layer has no public options");
    }
    text open = {(char *)public, (char *)public + length};
    if (!json_member(open, "cipher", &value) || !is(value, "\"AES_256_CTR_HMAC_SHA256\"")) {
        fail(NULL, "the layer's cipher is not AES_256_CTR_HMAC_SHA256");
    }
    layer_key key;
    take_bytes(open, "hmac", key.hmac, sizeof key.hmac);
    take_bytes(options, "symkey", key.key, sizeof key.key);
    if (!json_member(options, "cipheroptions", &cipher_options)) {
        fail(NULL, "the layer's options have no `cipheroptions`");
    }
    take_bytes(cipher_options, "nonce", key.nonce, sizeof key.nonce);
    if (!json_member(options, "digest", &value) || !json_string(value, &inside) ||
        inside.end - inside.at != 7 + 64 || memcmp(inside.at, "sha256:", 7) != 0) {
        fail(NULL, "the layer's options have no SHA-256 digest");
    }
    memcpy(key.digest, inside.at + 7, 64);
    explicit_bzero(opened, sizeof opened);
    return key;
}

static void write_all(const uint8_t *from, size_t length) {
    while (length > 0) {
        ssize_t n = write(STDOUT_FILENO, from, length);
        if (n < 0) fail(NULL, "cannot write the layer: %s", strerror(errno));
        from += n, length -= (size_t)n;
    }
}

/* From standard input to standard output. The last 64 KiB follow only when the HMAC and, of a layer that
 * is not compressed, the digest have verified: whoever reads the output may not look at the exit code. */
static void decrypt(const layer_key *key, bool digest_is_of_this_layer) {
    static uint8_t buffer[4 * HOLD_BACK];
    static const char hint[] = "the layer was altered or cut off after it was encrypted";
    size_t held = 0;
    aes_ctr cipher;
    aes_ctr_start(&cipher, key->key, key->nonce);
    hmac_sha256 mac;
    hmac_start(&mac, key->key, sizeof key->key);
    sha256 plain;
    sha256_start(&plain);
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buffer + held, sizeof buffer - held);
        if (n < 0) fail(NULL, "cannot read the layer: %s", strerror(errno));
        if (n == 0) break;
        hmac_add(&mac, buffer + held, (size_t)n);
        aes_ctr_apply(&cipher, buffer + held, (size_t)n);
        sha256_add(&plain, buffer + held, (size_t)n);
        held += (size_t)n;
        if (held > HOLD_BACK) {
            write_all(buffer, held - HOLD_BACK);
            memmove(buffer, buffer + held - HOLD_BACK, HOLD_BACK);
            held = HOLD_BACK;
        }
    }
    uint8_t computed[32];
    hmac_end(&mac, computed);
    if (!same(computed, key->hmac, 32)) fail(hint, "the HMAC of the layer does not match");
    sha256_end(&plain, computed);
    for (int i = 0; digest_is_of_this_layer && i < 32; i++) {
        char hex[3];
        snprintf(hex, sizeof hex, "%02x", computed[i]);
        if (memcmp(hex, key->digest + 2 * i, 2) != 0) {
            fail(hint, "the layer does not have the digest that was sealed with its key");
        }
    }
    write_all(buffer, held);
}

static _Noreturn void fail(const char *hint, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "c-node-secret: error: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    if (hint) fprintf(stderr, "hint: %s\n", hint);
    exit(1);
}
