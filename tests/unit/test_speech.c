/* What the first bytes of a connection speak. */
#include "net/speech.h"

#include <criterion/criterion.h>

static enum net_speech speech_of(const char *text, size_t bytes)
{
    return net_speech_of((const uint8_t *)text, bytes);
}

Test(speech, is_told_by_the_first_bytes)
{
    cr_assert_eq(speech_of("", 0), NET_SPEECH_UNKNOWN);
    cr_assert_eq(speech_of("\x16", 1), NET_SPEECH_UNKNOWN);
    cr_assert_eq(speech_of("\x16\x03", 2), NET_SPEECH_TLS);
    cr_assert_eq(speech_of("\x16\x08\x01", 3), NET_SPEECH_OTHER, "a native frame of 22 bytes");
    cr_assert_eq(speech_of("G", 1), NET_SPEECH_UNKNOWN);
    cr_assert_eq(speech_of("GET / HTTP/1.1\r\n", 16), NET_SPEECH_HTTP1);
    cr_assert_eq(speech_of("P", 1), NET_SPEECH_UNKNOWN);
    cr_assert_eq(speech_of("POST", 4), NET_SPEECH_UNKNOWN);
    cr_assert_eq(speech_of("POST /", 6), NET_SPEECH_HTTP1);
    cr_assert_eq(speech_of("PRI * HTTP/2", 12), NET_SPEECH_UNKNOWN);
    cr_assert_eq(speech_of("PRI * HTTP/2.0\r\n\r\nSM", 20), NET_SPEECH_HTTP2);
    cr_assert_eq(speech_of("GETX", 4), NET_SPEECH_OTHER);
    cr_assert_eq(speech_of("\x05\x08\x01", 3), NET_SPEECH_OTHER);
}
