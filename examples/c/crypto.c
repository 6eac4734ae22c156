#include "crypto.h"

#include <string.h>

static uint32_t load(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void store(uint8_t *bytes, uint32_t word) {
    bytes[0] = (uint8_t)(word >> 24);
    bytes[1] = (uint8_t)(word >> 16);
    bytes[2] = (uint8_t)(word >> 8);
    bytes[3] = (uint8_t)word;
}

static uint32_t right(uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

/* AES (FIPS 197) */

static uint8_t sbox[256];
static uint32_t mixed[256]; /* SubBytes and MixColumns of a byte in the first row */

static uint8_t twice(uint8_t a) { return (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1b : 0)); }

static void make_tables(void) {
    uint8_t p = 1, q = 1; /* q is the inverse of p, all the way round */
    do {
        p ^= twice(p); /* times 3 */
        q ^= (uint8_t)(q << 1), q ^= (uint8_t)(q << 2), q ^= (uint8_t)(q << 4); /* by 3 */
        if (q & 0x80) q ^= 0x09;
        uint8_t s = q;
        for (int bit = 1; bit < 5; bit++) s ^= (uint8_t)(q << bit | q >> (8 - bit));
        sbox[p] = s ^ 0x63;
    } while (p != 1);
    sbox[0] = 0x63;
    for (int i = 0; i < 256; i++) {
        uint8_t s = sbox[i], d = twice(s);
        mixed[i] = (uint32_t)d << 24 | (uint32_t)s << 16 | (uint32_t)s << 8 | (uint8_t)(d ^ s);
    }
}

static uint32_t substituted(uint32_t word) {
    return (uint32_t)sbox[word >> 24] << 24 | (uint32_t)sbox[word >> 16 & 255] << 16 |
           (uint32_t)sbox[word >> 8 & 255] << 8 | sbox[word & 255];
}

static void expand(uint32_t keys[60], const uint8_t key[32]) {
    uint8_t round_constant = 1;
    for (int i = 0; i < 60; i++) {
        if (i < 8) {
            keys[i] = load(key + 4 * i);
            continue;
        }
        uint32_t word = keys[i - 1];
        if (i % 8 == 0) {
            word = substituted(right(word, 24)) ^ (uint32_t)round_constant << 24;
            round_constant = twice(round_constant);
        } else if (i % 8 == 4) {
            word = substituted(word);
        }
        keys[i] = keys[i - 8] ^ word;
    }
}

static void encrypt_block(const uint32_t keys[60], const uint8_t in[16], uint8_t out[16]) {
    uint32_t s[4], t[4];
    for (int i = 0; i < 4; i++) s[i] = load(in + 4 * i) ^ keys[i];
    for (int round = 1; round < 14; round++) {
        for (int i = 0; i < 4; i++) {
            t[i] = mixed[s[i] >> 24] ^ right(mixed[s[(i + 1) & 3] >> 16 & 255], 8) ^
                   right(mixed[s[(i + 2) & 3] >> 8 & 255], 16) ^
                   right(mixed[s[(i + 3) & 3] & 255], 24) ^ keys[4 * round + i];
        }
        memcpy(s, t, sizeof s);
    }
    for (int i = 0; i < 4; i++) {
        uint32_t row = (s[i] & 0xff000000) | (s[(i + 1) & 3] & 0xff0000) |
                       (s[(i + 2) & 3] & 0xff00) | (s[(i + 3) & 3] & 0xff);
        store(out + 4 * i, substituted(row) ^ keys[56 + i]);
    }
}

void aes_ctr_start(aes_ctr *cipher, const uint8_t key[32], const uint8_t nonce[16]) {
    if (!sbox[0]) make_tables();
    expand(cipher->round_keys, key);
    memcpy(cipher->counter, nonce, 16);
    cipher->used = 16;
}

void aes_ctr_apply(aes_ctr *cipher, uint8_t *bytes, size_t length) {
    while (length > 0) {
        if (cipher->used == 16) {
            encrypt_block(cipher->round_keys, cipher->counter, cipher->keystream);
            for (int i = 15; i >= 0 && ++cipher->counter[i] == 0; i--) {}
            cipher->used = 0;
        }
        size_t part = length < 16 - cipher->used ? length : 16 - cipher->used;
        for (size_t i = 0; i < part; i++) bytes[i] ^= cipher->keystream[cipher->used + i];
        bytes += part, length -= part, cipher->used += part;
    }
}

/* SHA-256 (FIPS 180-4) */

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static void compress(uint32_t state[8], const uint8_t block[64]) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++) w[i] = load(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (right(a, 7) ^ right(a, 18) ^ a >> 3) + w[i - 7] +
               (right(b, 17) ^ right(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t a = s[0], e = s[4];
        uint32_t one = s[7] + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) +
                       ((e & s[5]) ^ (~e & s[6])) + K[i] + w[i];
        uint32_t two = (right(a, 2) ^ right(a, 13) ^ right(a, 22)) +
                       ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = s[4], s[4] = s[3] + one;
        s[3] = s[2], s[2] = s[1], s[1] = s[0];
        s[0] = one + two;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

void sha256_start(sha256 *hash) {
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, start, sizeof start);
    hash->length = 0;
}

void sha256_add(sha256 *hash, const uint8_t *bytes, size_t length) {
    size_t filled = hash->length % 64;
    hash->length += length;
    while (length > 0) {
        if (filled == 0 && length >= 64) {
            compress(hash->state, bytes);
            bytes += 64, length -= 64;
            continue;
        }
        size_t part = length < 64 - filled ? length : 64 - filled;
        memcpy(hash->block + filled, bytes, part);
        bytes += part, length -= part, filled += part;
        if (filled == 64) {
            compress(hash->state, hash->block);
            filled = 0;
        }
    }
}

void sha256_end(sha256 *hash, uint8_t digest[32]) {
    uint64_t bits = hash->length * 8;
    uint8_t padding[72] = {0x80}, *end = padding + 1 + (119 - hash->length % 64) % 64;
    store(end, (uint32_t)(bits >> 32));
    store(end + 4, (uint32_t)bits);
    sha256_add(hash, padding, (size_t)(end + 8 - padding));
    for (int i = 0; i < 8; i++) store(digest + 4 * i, hash->state[i]);
}

/* HMAC (RFC 2104) */

void hmac_start(hmac_sha256 *mac, const uint8_t *key, size_t length) {
    uint8_t inner[64], outer[64];
    for (size_t i = 0; i < 64; i++) {
        uint8_t byte = i < length ? key[i] : 0;
        inner[i] = byte ^ 0x36;
        outer[i] = byte ^ 0x5c;
    }
    sha256_start(&mac->inner);
    sha256_add(&mac->inner, inner, 64);
    sha256_start(&mac->outer);
    sha256_add(&mac->outer, outer, 64);
}

void hmac_add(hmac_sha256 *mac, const uint8_t *bytes, size_t length) {
    sha256_add(&mac->inner, bytes, length);
}

void hmac_end(hmac_sha256 *mac, uint8_t tag[32]) {
    sha256_end(&mac->inner, tag);
    sha256_add(&mac->outer, tag, 32);
    sha256_end(&mac->outer, tag);
}

bool same(const uint8_t *one, const uint8_t *other, size_t length) {
    uint8_t differences = 0;
    for (size_t i = 0; i < length; i++) differences |= one[i] ^ other[i];
    return differences == 0;
}
