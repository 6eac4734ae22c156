#include "text.h"

#include <string.h>

enum { DEEPEST = 64 };

static void skip_space(text *rest) {
    while (rest->at < rest->end && strchr(" \t\r\n", *rest->at) && *rest->at) rest->at++;
}

static bool take(text *rest, char expected) {
    skip_space(rest);
    if (rest->at == rest->end || *rest->at != expected) return false;
    rest->at++;
    return true;
}

static bool skip_string(text *rest) {
    if (!take(rest, '"')) return false;
    for (; rest->at < rest->end; rest->at++) {
        if (*rest->at == '"') {
            rest->at++;
            return true;
        }
        if (*rest->at == '\\' && ++rest->at == rest->end) return false;
    }
    return false;
}

static bool skip_value(text *rest, int depth) {
    if (depth > DEEPEST) return false;
    skip_space(rest);
    if (rest->at == rest->end) return false;
    char first = *rest->at;
    if (first == '"') return skip_string(rest);
    if (first != '{' && first != '[') { /* a number, or a word */
        const char *start = rest->at;
        while (rest->at < rest->end && *rest->at && !strchr(",]} \t\r\n", *rest->at)) rest->at++;
        return rest->at > start;
    }
    char last = first == '{' ? '}' : ']';
    rest->at++;
    if (take(rest, last)) return true;
    do {
        if (first == '{' && !(skip_string(rest) && take(rest, ':'))) return false;
        if (!skip_value(rest, depth + 1)) return false;
    } while (take(rest, ','));
    return take(rest, last);
}

bool json_member(text object, const char *name, text *value) {
    text rest = object;
    bool found = false;
    if (!take(&rest, '{') || take(&rest, '}')) return false;
    do {
        skip_space(&rest);
        text key = {rest.at, rest.at};
        if (!skip_string(&rest)) return false;
        key.end = rest.at;
        if (!take(&rest, ':')) return false;
        skip_space(&rest);
        const char *start = rest.at;
        if (!skip_value(&rest, 0)) return false;
        text inside;
        if (json_string(key, &inside) && (size_t)(inside.end - inside.at) == strlen(name) &&
            memcmp(inside.at, name, strlen(name)) == 0) {
            if (found) return false;
            found = true;
            *value = (text){start, rest.at};
        }
    } while (take(&rest, ','));
    return found && take(&rest, '}');
}

bool json_string(text value, text *inside) {
    size_t length = (size_t)(value.end - value.at);
    if (length < 2 || *value.at != '"' || memchr(value.at, '\\', length)) return false;
    *inside = (text){value.at + 1, value.end - 1};
    return true;
}

static int sextet(char c) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(alphabet, c) : NULL;
    return found ? (int)(found - alphabet) : -1;
}

bool base64_decode(text encoded, uint8_t *bytes, size_t room, size_t *length) {
    size_t characters = (size_t)(encoded.end - encoded.at), padding = 0, n = 0;
    if (characters % 4 != 0) return false;
    while (padding < 2 && padding < characters && encoded.end[-1 - (int)padding] == '=') padding++;
    if (characters / 4 * 3 - padding > room) return false;
    uint32_t bits = 0;
    for (size_t i = 0; i < characters - padding; i++) {
        int value = sextet(encoded.at[i]);
        if (value < 0) return false;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 0) bytes[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    *length = n;
    return true;
}
