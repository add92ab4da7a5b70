/* What the first bytes of a connection speak, and a helpful answer to whoever speaks the wrong
 * language to a port: a browser on the gRPC port, gRPC on the native one. Pure. */
#ifndef TG_NET_SPEECH_H
#define TG_NET_SPEECH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum net_speech {
    NET_SPEECH_UNKNOWN, /* too few bytes to tell */
    NET_SPEECH_OTHER,   /* native frames, or something that nobody knows */
    NET_SPEECH_HTTP1,   /* a request line */
    NET_SPEECH_HTTP2,   /* the client's preface */
    NET_SPEECH_TLS,     /* a ClientHello */
};

/* What every client of HTTP/2 begins with. */
#define NET_SPEECH_PREFACE       "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define NET_SPEECH_PREFACE_BYTES 24

/* The most that an answer has. */
#define NET_SPEECH_ANSWER_BYTES 512

/* Bytes that tell in any case. */
#define NET_SPEECH_TELLING_BYTES 16

/* By the first bytes of a connection. No native frame begins like the others: one that begins as a
 * TLS record does would begin with field 0. */
enum net_speech net_speech_of(const uint8_t *data, size_t bytes);

/* Why HTTP/2 ends: error codes of RFC 9113, 7. */
enum net_speech_end {
    NET_SPEECH_ENHANCE_YOUR_CALM = 11,
    NET_SPEECH_INADEQUATE_SECURITY = 12,
};

/* Writes, at most NET_SPEECH_ANSWER_BYTES, what tells the peer `message` in its own language;
 * returns its size, 0 for OTHER and UNKNOWN. `message` is one line of at most 200 bytes. */
size_t net_speech_answer(enum net_speech speech, enum net_speech_end end, uint8_t *out,
                         const char *message);

#endif
