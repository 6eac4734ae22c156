/* The little of JSON and base64 that a payload needs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A part of a longer text. */
typedef struct {
    const char *at, *end;
} text;

/* The value of a member of an object. False when the object has no such member, has it twice, or
 * is not JSON as far as it was read. */
bool json_member(text object, const char *name, text *value);

/* The inside of a string. False when it is no string, or has escapes: nothing that is looked for
 * here needs any. */
bool json_string(text value, text *inside);

/* Standard base64 with its padding. False when it is not, or decodes to more than `room`. */
bool base64_decode(text encoded, uint8_t *bytes, size_t room, size_t *length);
