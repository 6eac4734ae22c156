/* crypto.c against published vectors. `wasmtime run` it: it says nothing and exits 0 when all hold. */

#include <stdio.h>
#include <string.h>

#include "crypto.h"

static int failures;

static size_t unhex(const char *hex, uint8_t *bytes) {
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        sscanf(hex + 2 * i, "%2x", &byte);
        bytes[i] = (uint8_t)byte;
    }
    return n;
}

static void expect(const char *name, const char *hex, const uint8_t *got) {
    uint8_t want[64];
    if (memcmp(got, want, unhex(hex, want)) != 0) {
        fprintf(stderr, "vectors: error: %s does not hold\n", name);
        failures++;
    }
}

/* In steps of so many bytes: 1 and 7 leave every remainder of a block. */
static void ctr(const char *name, const char *key, const char *nonce, const char *plain,
                const char *encrypted) {
    for (size_t step = 1; step <= 64; step += 6) {
        uint8_t k[32], n[16], text[64];
        unhex(key, k);
        unhex(nonce, n);
        size_t length = unhex(plain, text);
        aes_ctr cipher;
        aes_ctr_start(&cipher, k, n);
        for (size_t at = 0; at < length; at += step) {
            aes_ctr_apply(&cipher, text + at, length - at < step ? length - at : step);
        }
        expect(name, encrypted, text);
    }
}

static void digest(const char *name, const char *text, size_t times, const char *expected) {
    sha256 hash;
    uint8_t got[32];
    sha256_start(&hash);
    for (size_t i = 0; i < times; i++) sha256_add(&hash, (const uint8_t *)text, strlen(text));
    sha256_end(&hash, got);
    expect(name, expected, got);
}

static void mac(const char *name, const char *key, const char *text, const char *expected) {
    uint8_t k[64], got[32];
    size_t length = unhex(key, k);
    hmac_sha256 mac;
    hmac_start(&mac, k, length);
    hmac_add(&mac, (const uint8_t *)text, strlen(text));
    hmac_end(&mac, got);
    expect(name, expected, got);
}

int main(void) {
    /* The keystream over zeros is the counter, encrypted: the block cipher itself. */
    ctr("FIPS 197, C.3", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "00112233445566778899aabbccddeeff", "00000000000000000000000000000000",
        "8ea2b7ca516745bfeafc49904b496089");
    ctr("SP 800-38A, F.5.5", "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6");
    digest("FIPS 180-4, no bytes", "", 1,
           "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest("FIPS 180-4, 24 bits", "abc", 1,
           "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest("FIPS 180-4, 448 bits", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
           "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    digest("FIPS 180-4, a million times a", "a", 1000000,
           "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    mac("RFC 4231, 1", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    mac("RFC 4231, 2", "4a656665", "what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    return failures ? 1 : 0;
}
