#include "server/body.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 4096

void srv_body_free(struct srv_body *body)
{
    free(body->text);
    *body = (struct srv_body){0};
}

void srv_body_clear(struct srv_body *body)
{
    body->bytes = 0;
    body->broken = false;
    if (body->text)
        body->text[0] = '\0';
}

/* Room for `more` bytes and the 0 behind them. */
static bool reserve(struct srv_body *body, size_t more)
{
    if (body->broken || more > SRV_BODY_BYTES_MAX - body->bytes) {
        body->broken = true;
        return false;
    }
    size_t room = body->room ? body->room : ROOM_FIRST;
    while (room < body->bytes + more + 1)
        room *= 2;
    if (room == body->room)
        return true;
    char *text = realloc(body->text, room);
    if (!text) {
        body->broken = true;
        return false;
    }
    body->text = text;
    body->room = room;
    return true;
}

void srv_body_add_bytes(struct srv_body *body, const void *bytes, size_t count)
{
    if (!reserve(body, count))
        return;
    memcpy(body->text + body->bytes, bytes, count);
    body->bytes += count;
    body->text[body->bytes] = '\0';
}

void srv_body_add(struct srv_body *body, const char *format, ...)
{
    char text[512];
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    int length = vsnprintf(text, sizeof(text), format, list);
    if (length < 0)
        body->broken = true;
    else if ((size_t)length < sizeof(text))
        srv_body_add_bytes(body, text, (size_t)length);
    else if (reserve(body, (size_t)length)) {
        vsnprintf(body->text + body->bytes, (size_t)length + 1, format, again);
        body->bytes += (size_t)length;
    }
    va_end(again);
    va_end(list);
}

void srv_body_comma(struct srv_body *body)
{
    if (body->bytes > 0 && body->text[body->bytes - 1] != '{' && body->text[body->bytes - 1] != '[')
        srv_body_add_bytes(body, ",", 1);
}

/* --- JSON strings (RFC 8259) --- */

/* Bytes of the character that begins here, 0 for none (RFC 3629). */
static size_t character_bytes(const uint8_t *text, size_t bytes)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t length = 1; length <= 4; length++) {
        if ((text[0] & forms[length - 1].mask) != forms[length - 1].lead)
            continue;
        if (length > bytes)
            return 0;
        uint32_t code = text[0] & (uint8_t)~forms[length - 1].mask;
        for (size_t i = 1; i < length; i++) {
            if ((text[i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (text[i] & 0x3f);
        }
        bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
        return code >= forms[length - 1].least && code <= 0x10ffff && !is_surrogate ? length : 0;
    }
    return 0;
}

void srv_body_add_json(struct srv_body *body, const char *text, size_t bytes)
{
    const uint8_t *at = (const uint8_t *)text, *end = at + bytes;
    srv_body_add_bytes(body, "\"", 1);
    while (at < end) {
        size_t length = character_bytes(at, (size_t)(end - at));
        if (length == 0)
            srv_body_add_bytes(body, "\\ufffd", 6);
        else if (*at == '"' || *at == '\\')
            srv_body_add(body, "\\%c", *at);
        else if (*at < 0x20 || *at == '<' || *at == 0x7f)
            srv_body_add(body, "\\u%04x", *at); /* '<': text of others never begins a tag */
        else
            srv_body_add_bytes(body, at, length);
        at += length ? length : 1;
    }
    srv_body_add_bytes(body, "\"", 1);
}
