/* Text that grows: the body of an answer of the admin listener, JSON or metrics.
 *
 * One thread. What cannot be had is remembered, not told at each call: whoever sends the body asks
 * srv_body_is_whole once, at its end. Lives in zeroed memory.
 *
 * Always: bytes < room when there is text, and text[bytes] is 0.
 */
#ifndef TG_SERVER_BODY_H
#define TG_SERVER_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No answer is larger; a page is cut by its limit long before. */
#define SRV_BODY_BYTES_MAX ((size_t)16 * 1024 * 1024)

struct srv_body {
    char *text; /* NULL: nothing yet */
    size_t bytes;
    size_t room;
    bool broken; /* something did not fit, or there was no memory: it is of no use */
};

void srv_body_free(struct srv_body *body);

/* Empties it and keeps the memory. */
void srv_body_clear(struct srv_body *body);

void srv_body_add(struct srv_body *body, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void srv_body_add_bytes(struct srv_body *body, const void *bytes, size_t count);

/* A JSON string, quotes included. What is no UTF-8 becomes U+FFFD. */
void srv_body_add_json(struct srv_body *body, const char *text, size_t bytes);

/* ',' unless it is the first of an object or array: what stands there last is '{' or '['. */
void srv_body_comma(struct srv_body *body);

static inline bool srv_body_is_whole(const struct srv_body *body)
{
    return !body->broken && body->text;
}

#endif
