#include "net/speech.h"

#include <stdio.h>
#include <string.h>

/* HTTP/2: a frame's header, and the two frames that end a connection before it began. */
#define FRAME_HEADER_BYTES 9
#define FRAME_SETTINGS     4
#define FRAME_GOAWAY       7

static bool begins(const uint8_t *data, size_t bytes, const char *word)
{
    size_t length = strlen(word);
    return memcmp(data, word, bytes < length ? bytes : length) == 0;
}

enum net_speech net_speech_of(const uint8_t *data, size_t bytes)
{
    static const char *const methods[] = {"GET ",   "POST ",    "PUT ",     "HEAD ", "DELETE ",
                                          "PATCH ", "OPTIONS ", "CONNECT ", "TRACE "};
    if (bytes == 0)
        return NET_SPEECH_UNKNOWN;
    if (data[0] == 0x16 && bytes == 1)
        return NET_SPEECH_UNKNOWN;
    if (data[0] == 0x16) /* a record of a handshake, whose version begins with 3 */
        return data[1] == 3 ? NET_SPEECH_TLS : NET_SPEECH_OTHER;
    if (begins(data, bytes, NET_SPEECH_PREFACE))
        return bytes < NET_SPEECH_TELLING_BYTES ? NET_SPEECH_UNKNOWN : NET_SPEECH_HTTP2;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (begins(data, bytes, methods[i]))
            return bytes < strlen(methods[i]) ? NET_SPEECH_UNKNOWN : NET_SPEECH_HTTP1;
    return NET_SPEECH_OTHER;
}

static size_t answer_http1(uint8_t *out, const char *message)
{
    return (size_t)snprintf((char *)out, NET_SPEECH_ANSWER_BYTES,
                            "HTTP/1.1 400 Bad Request\r\n"
                            "Content-Type: text/plain; charset=utf-8\r\n"
                            "Content-Length: %zu\r\n"
                            "Connection: close\r\n"
                            "\r\n"
                            "%s\n",
                            strlen(message) + 1, message);
}

static size_t put_frame(uint8_t *out, uint8_t type, size_t payload_bytes)
{
    const uint8_t header[FRAME_HEADER_BYTES] = {0, (uint8_t)(payload_bytes >> 8),
                                                (uint8_t)payload_bytes, type};
    memcpy(out, header, sizeof(header));
    return sizeof(header);
}

/* Our settings, none, and GOAWAY, whose text most clients show to their user. */
static size_t answer_http2(uint8_t *out, enum net_speech_end end, const char *message)
{
    size_t text_bytes = strlen(message);
    size_t bytes = put_frame(out, FRAME_SETTINGS, 0);
    bytes += put_frame(out + bytes, FRAME_GOAWAY, 8 + text_bytes);
    memset(out + bytes, 0, 8);
    out[bytes + 7] = (uint8_t)end;
    memcpy(out + bytes + 8, message, text_bytes);
    return bytes + 8 + text_bytes;
}

size_t net_speech_answer(enum net_speech speech, enum net_speech_end end, uint8_t *out,
                         const char *message)
{
    /* A fatal alert, protocol_version: who asks gets no text from TLS. */
    static const uint8_t alert[] = {0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46};
    switch (speech) {
    case NET_SPEECH_HTTP1:
        return answer_http1(out, message);
    case NET_SPEECH_HTTP2:
        return answer_http2(out, end, message);
    case NET_SPEECH_TLS:
        memcpy(out, alert, sizeof(alert));
        return sizeof(alert);
    case NET_SPEECH_UNKNOWN:
    case NET_SPEECH_OTHER:
        break;
    }
    return 0;
}
