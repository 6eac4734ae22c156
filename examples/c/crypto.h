/* AES-256-CTR, SHA-256 and HMAC-SHA256: what the cipher of encrypted layers needs.
 *
 * Written to be read. It looks values up in tables by secret bytes, so it does not take constant
 * time: whoever can measure the caches of the node while it runs may learn of the key. For more
 * than an example compile a library that is made against that, such as BearSSL or Mbed TLS. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t round_keys[60];
    uint8_t counter[16];   /* 128 bits, big-endian; the nonce at first */
    uint8_t keystream[16]; /* of the block before the counter */
    unsigned used;         /* bytes of it */
} aes_ctr;

void aes_ctr_start(aes_ctr *cipher, const uint8_t key[32], const uint8_t nonce[16]);
/* Encrypts and decrypts, in place. */
void aes_ctr_apply(aes_ctr *cipher, uint8_t *bytes, size_t length);

typedef struct {
    uint32_t state[8];
    uint8_t block[64];
    uint64_t length; /* bytes so far */
} sha256;

void sha256_start(sha256 *hash);
void sha256_add(sha256 *hash, const uint8_t *bytes, size_t length);
void sha256_end(sha256 *hash, uint8_t digest[32]);

typedef struct {
    sha256 inner, outer;
} hmac_sha256;

/* Keys of up to 64 bytes: longer ones would have to be hashed first. */
void hmac_start(hmac_sha256 *mac, const uint8_t *key, size_t length);
void hmac_add(hmac_sha256 *mac, const uint8_t *bytes, size_t length);
void hmac_end(hmac_sha256 *mac, uint8_t tag[32]);

/* In a time that does not depend on where they differ. */
bool same(const uint8_t *one, const uint8_t *other, size_t length);
