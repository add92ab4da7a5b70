/* The status of a call as header fields: grpc-status, grpc-message, and a google.rpc.Status with
 * its details in grpc-status-details-bin. The messages of google.rpc are few and small: they are
 * written by hand. */
#include "net/grpc_conn.h"

#include "base/assert.h"

#include <stdio.h>
#include <string.h>

#define TYPE_ERROR_INFO "type.googleapis.com/google.rpc.ErrorInfo"
#define TYPE_RETRY_INFO "type.googleapis.com/google.rpc.RetryInfo"

/* Of `message` and `reason`, so that all of it fits what a trailer has. */
#define TEXT_BYTES_MAX 160

nghttp2_nv net_grpc_field(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)name,
                        .value = (uint8_t *)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value),
                        .flags = NGHTTP2_NV_FLAG_NONE};
}

/* --- protobuf, written from front to back into a buffer that is large enough --- */

struct writer {
    uint8_t *out;
    size_t bytes;
};

static void put_varint(struct writer *writer, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        writer->out[writer->bytes++] = (uint8_t)(value | 0x80);
    writer->out[writer->bytes++] = (uint8_t)value;
}

static void put_number(struct writer *writer, uint32_t field, uint64_t value)
{
    if (value == 0)
        return;
    put_varint(writer, field << 3);
    put_varint(writer, value);
}

static void put_bytes(struct writer *writer, uint32_t field, const void *data, size_t bytes)
{
    put_varint(writer, field << 3 | 2);
    put_varint(writer, bytes);
    memcpy(writer->out + writer->bytes, data, bytes);
    writer->bytes += bytes;
}

/* A text that is not there is a field that is not there. */
static void put_text(struct writer *writer, uint32_t field, const char *text)
{
    if (text)
        put_bytes(writer, field, text, strnlen(text, TEXT_BYTES_MAX));
}

static void put_detail(struct writer *status, const char *type, const struct writer *detail)
{
    uint8_t any[512];
    struct writer writer = {.out = any};
    put_text(&writer, 1, type);
    put_bytes(&writer, 2, detail->out, detail->bytes);
    put_bytes(status, 3, any, writer.bytes);
}

static size_t status_message(uint8_t *out, const struct net_grpc_status *status)
{
    struct writer writer = {.out = out};
    uint8_t detail[TEXT_BYTES_MAX + 64];
    put_number(&writer, 1, status->code);
    put_text(&writer, 2, status->message);
    struct writer info = {.out = detail};
    put_text(&info, 1, status->reason);
    put_text(&info, 2, NET_GRPC_DOMAIN);
    put_detail(&writer, TYPE_ERROR_INFO, &info);
    if (status->retry_ms > 0) {
        uint8_t duration[32];
        struct writer delay = {.out = duration};
        put_number(&delay, 1, status->retry_ms / 1000);
        put_number(&delay, 2, (uint64_t)(status->retry_ms % 1000) * 1000000);
        struct writer retry = {.out = detail};
        put_bytes(&retry, 1, duration, delay.bytes);
        put_detail(&writer, TYPE_RETRY_INFO, &retry);
    }
    return writer.bytes;
}

/* --- as text --- */

static void encode_base64(char *out, const uint8_t *data, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t at = 0;
    for (; at + 2 < bytes; at += 3) {
        uint32_t three = (uint32_t)data[at] << 16 | (uint32_t)data[at + 1] << 8 | data[at + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *out++ = digits[three >> shift & 63];
    }
    if (at < bytes) {
        uint32_t rest =
            (uint32_t)data[at] << 16 | (at + 1 < bytes ? (uint32_t)data[at + 1] << 8 : 0);
        *out++ = digits[rest >> 18 & 63];
        *out++ = digits[rest >> 12 & 63];
        if (at + 1 < bytes)
            *out++ = digits[rest >> 6 & 63];
    }
    *out = '\0';
}

/* What is no printable ASCII, and the sign of it, as %XX. */
static void encode_percent(char *out, size_t room, const char *text)
{
    size_t used = 0;
    for (size_t i = 0; text[i] != '\0' && i < TEXT_BYTES_MAX && used + 4 <= room; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c >= 0x20 && c <= 0x7e && c != '%')
            out[used++] = (char)c;
        else
            used += (size_t)snprintf(out + used, 4, "%%%02X", c);
    }
    out[used] = '\0';
}

void net_grpc_trailer_fill(struct net_grpc_trailer *trailer, const struct net_grpc_status *status)
{
    _Static_assert(sizeof(trailer->message) > 3ul * TEXT_BYTES_MAX, "any message fits");
    snprintf(trailer->code, sizeof(trailer->code), "%d", (int)status->code);
    trailer->fields[trailer->count++] = net_grpc_field("grpc-status", trailer->code);
    if (status->message) {
        encode_percent(trailer->message, sizeof(trailer->message), status->message);
        trailer->fields[trailer->count++] = net_grpc_field("grpc-message", trailer->message);
    }
    if (!status->reason)
        return;
    uint8_t message[sizeof(trailer->details) * 3 / 4];
    size_t bytes = status_message(message, status);
    tg_assert(bytes <= sizeof(message) - 3);
    encode_base64(trailer->details, message, bytes);
    trailer->fields[trailer->count++] = net_grpc_field("grpc-status-details-bin", trailer->details);
}
