/* Server reflection, v1 and v1alpha, which differ in nothing but their name: what a client with no
 * .proto needs to make one. The descriptors of all services are embedded at build time
 * (net/descriptors.h); they are walked where they lie, which is quick enough for people. */
#include "net/descriptors.h"
#include "net/grpc_conn.h"

#include <stdlib.h>
#include <string.h>

/* Fields of ServerReflectionRequest and, where they have other numbers, of its response. */
enum {
    BY_FILENAME = 3,
    BY_SYMBOL = 4,
    BY_EXTENSION = 5,
    EXTENSION_NUMBERS = 6,
    LIST_SERVICES = 7,
    RESPONSE_HOST = 1,
    RESPONSE_REQUEST = 2,
    RESPONSE_FILES = 4,
    RESPONSE_SERVICES = 6,
    RESPONSE_ERROR = 7,
};

/* Fields of the descriptors. */
enum {
    SET_FILE = 1,
    NAME = 1, /* of a file, a message, an enum, a service, a method */
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    SERVICE_METHOD = 2,
};

#define FILES_MAX 16
#define DEPTH_MAX 8

/* --- protobuf, read and written --- */

struct field {
    uint32_t number;
    struct tg_bytes bytes; /* of a field with a length, else none */
};

static bool read_varint(struct tg_bytes *rest, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; rest->size > 0 && shift < 64; shift += 7) {
        uint8_t byte = *rest->data++;
        rest->size--;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool skip(struct tg_bytes *rest, uint64_t bytes)
{
    if (bytes > rest->size)
        return false;
    rest->data += bytes;
    rest->size -= bytes;
    return true;
}

/* The next field of a message; false at its end, or where it breaks off. */
static bool next(struct tg_bytes *rest, struct field *field)
{
    uint64_t tag, value;
    if (!read_varint(rest, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
        return false;
    *field = (struct field){.number = (uint32_t)(tag >> 3)};
    switch (tag & 7) {
    case 0:
        return read_varint(rest, &value);
    case 1:
        return skip(rest, 8);
    case 2:
        if (!read_varint(rest, &value))
            return false;
        field->bytes = (struct tg_bytes){.data = rest->data, .size = value};
        return skip(rest, value);
    case 5:
        return skip(rest, 4);
    default:
        return false;
    }
}

/* The first field of that number; no bytes when there is none. */
static struct tg_bytes find(struct tg_bytes message, uint32_t number)
{
    struct field field;
    while (next(&message, &field))
        if (field.number == number)
            return field.bytes;
    return (struct tg_bytes){.size = 0};
}

static bool equal(struct tg_bytes a, struct tg_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Grows; without memory it is broken, which is looked at in the end. */
struct text {
    uint8_t *data;
    size_t size;
    size_t room;
    bool is_broken;
};

static void put(struct text *text, const void *data, size_t bytes)
{
    if (text->size + bytes > text->room) {
        size_t room = (text->size + bytes) * 2;
        uint8_t *grown = text->is_broken ? NULL : realloc(text->data, room);
        if (!grown) {
            text->is_broken = true;
            return;
        }
        text->data = grown;
        text->room = room;
    }
    if (bytes > 0)
        memcpy(text->data + text->size, data, bytes);
    text->size += bytes;
}

static void put_varint(struct text *text, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put(text, &(uint8_t){(uint8_t)(value | 0x80)}, 1);
    put(text, &(uint8_t){(uint8_t)value}, 1);
}

static void put_field(struct text *text, uint32_t number, struct tg_bytes bytes)
{
    put_varint(text, number << 3 | 2);
    put_varint(text, bytes.size);
    put(text, bytes.data, bytes.size);
}

static struct tg_bytes bytes_of(const struct text *text)
{
    return (struct tg_bytes){.data = text->data, .size = text->size};
}

static void put_text_field(struct text *text, uint32_t number, struct text *inner)
{
    put_field(text, number, bytes_of(inner));
    text->is_broken = text->is_broken || inner->is_broken;
    free(inner->data);
}

/* --- files and symbols --- */

static struct tg_bytes all_files(void)
{
    return (struct tg_bytes){.data = net_descriptors, .size = net_descriptors_bytes};
}

/* What stands in `symbol` behind `prefix` and a dot; all of it when the prefix is empty, no bytes
 * when it does not begin so. */
static struct tg_bytes behind(struct tg_bytes symbol, struct tg_bytes prefix)
{
    if (prefix.size == 0)
        return symbol;
    if (symbol.size <= prefix.size + 1 || memcmp(symbol.data, prefix.data, prefix.size) != 0 ||
        symbol.data[prefix.size] != '.')
        return (struct tg_bytes){.size = 0};
    return (struct tg_bytes){.data = symbol.data + prefix.size + 1,
                             .size = symbol.size - prefix.size - 1};
}

/* `symbol`, within a message, is that message, or something in it. Fields count as in it. */
static bool message_has(struct tg_bytes message, struct tg_bytes symbol, int depth)
{
    struct tg_bytes name = find(message, NAME);
    if (equal(name, symbol))
        return true;
    struct tg_bytes inner = behind(symbol, name);
    struct field field;
    if (inner.size == 0 || depth == DEPTH_MAX)
        return false;
    while (next(&message, &field)) {
        if (field.number == MESSAGE_NESTED && message_has(field.bytes, inner, depth + 1))
            return true;
        if (field.number == MESSAGE_ENUM && equal(find(field.bytes, NAME), inner))
            return true;
    }
    return false;
}

static bool service_has(struct tg_bytes service, struct tg_bytes symbol)
{
    struct tg_bytes name = find(service, NAME);
    if (equal(name, symbol))
        return true;
    struct tg_bytes method = behind(symbol, name);
    struct field field;
    while (method.size > 0 && next(&service, &field))
        if (field.number == SERVICE_METHOD && equal(find(field.bytes, NAME), method))
            return true;
    return false;
}

static bool file_has(struct tg_bytes file, struct tg_bytes symbol)
{
    struct tg_bytes inner = behind(symbol, find(file, FILE_PACKAGE));
    struct field field;
    while (inner.size > 0 && next(&file, &field)) {
        if (field.number == FILE_MESSAGE && message_has(field.bytes, inner, 0))
            return true;
        if (field.number == FILE_ENUM && equal(find(field.bytes, NAME), inner))
            return true;
        if (field.number == FILE_SERVICE && service_has(field.bytes, inner))
            return true;
    }
    return false;
}

/* The file of that name, or with that symbol; no bytes when there is none. */
static struct tg_bytes find_file(struct tg_bytes wanted, bool by_name)
{
    struct tg_bytes set = all_files();
    struct field file;
    while (next(&set, &file))
        if (by_name ? equal(find(file.bytes, NAME), wanted) : file_has(file.bytes, wanted))
            return file.bytes;
    return (struct tg_bytes){.size = 0};
}

/* --- answers --- */

/* The file and all that it imports, each once. */
static void put_files(struct text *answer, struct tg_bytes file)
{
    struct tg_bytes files[FILES_MAX] = {file};
    size_t count = 1;
    for (size_t at = 0; at < count; at++) {
        struct tg_bytes rest = files[at];
        struct field field;
        put_field(answer, 1, files[at]);
        while (next(&rest, &field)) {
            struct tg_bytes found = field.number == FILE_DEPENDENCY ? find_file(field.bytes, true)
                                                                    : (struct tg_bytes){.size = 0};
            bool is_new = found.size > 0 && count < FILES_MAX;
            for (size_t i = 0; i < count && is_new; i++)
                is_new = files[i].data != found.data;
            if (is_new)
                files[count++] = found;
        }
    }
}

static void put_services(struct text *answer)
{
    struct tg_bytes set = all_files();
    struct field file, field;
    while (next(&set, &file)) {
        struct tg_bytes package = find(file.bytes, FILE_PACKAGE);
        while (next(&file.bytes, &field)) {
            if (field.number != FILE_SERVICE)
                continue;
            struct tg_bytes service = find(field.bytes, NAME);
            struct text name = {.size = 0}, entry = {.size = 0};
            put(&name, package.data, package.size);
            put(&name, ".", package.size > 0);
            put(&name, service.data, service.size);
            put_text_field(&entry, 1, &name);
            put_text_field(answer, 1, &entry);
        }
    }
}

static void put_error(struct text *answer, enum net_grpc_code code, const char *message)
{
    put_varint(answer, 1 << 3);
    put_varint(answer, code);
    put_field(answer, 2,
              (struct tg_bytes){.data = (const uint8_t *)message, .size = strlen(message)});
}

/* Fills in the answer to what is asked; returns the field of the response that it is. */
static uint32_t answer_to(const struct field *asked, struct text *answer)
{
    struct tg_bytes file = {.size = 0};
    switch (asked->number) {
    case LIST_SERVICES:
        put_services(answer);
        return RESPONSE_SERVICES;
    case BY_FILENAME:
    case BY_SYMBOL:
        file = find_file(asked->bytes, asked->number == BY_FILENAME);
        if (file.size > 0) {
            put_files(answer, file);
            return RESPONSE_FILES;
        }
        put_error(answer, NET_GRPC_NOT_FOUND, "this server has no such file or symbol");
        return RESPONSE_ERROR;
    case BY_EXTENSION:
    case EXTENSION_NUMBERS:
        put_error(answer, NET_GRPC_NOT_FOUND, "the contract is proto3: it has no extensions");
        return RESPONSE_ERROR;
    default:
        put_error(answer, NET_GRPC_INVALID_ARGUMENT, "the request asks for nothing");
        return RESPONSE_ERROR;
    }
}

void net_grpc_reflect(struct net_grpc_call *call, const uint8_t *message, size_t bytes)
{
    struct field field, asked = {.number = 0};
    struct tg_bytes request = {.data = message, .size = bytes}, rest = request;
    while (next(&rest, &field))
        if (field.number >= BY_FILENAME && field.number <= LIST_SERVICES)
            asked = field;
    struct text answer = {.size = 0}, response = {.size = 0};
    uint32_t number = answer_to(&asked, &answer);
    put_field(&response, RESPONSE_HOST, find(request, 1));
    put_field(&response, RESPONSE_REQUEST, request);
    put_text_field(&response, number, &answer);
    if (!response.is_broken)
        net_grpc_call_say_copy(call, response.data, response.size);
    free(response.data);
}
