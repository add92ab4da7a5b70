/* The gRPC listener and those who use it wrong: each is told what is wrong, and nobody else
 * notices. What right use gets is the interop tests' matter. */
#include "base/rng.h"
#include "tests/lib/caller.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLACE_ORDER "/tidegate.v1.TidegateService/PlaceOrder"
#define OK          0
#define INVALID     3
#define LATE        4
#define EXHAUSTED   8
#define UNKNOWN     12
#define UNAVAILABLE 14
#define CANCELLED   1
#define WINDOW      65535

static struct daemon served;

static struct tgc_client *start(const char *option, const char *value)
{
    served = (struct daemon){0};
    daemon_start(&served, "--grpc-listen", "127.0.0.1:0", option, value, NULL);
    struct tgc_client *client = sale_client(&served);
    sale_create(client, 1, "A", 1000, 0);
    return client;
}

static void stop(struct tgc_client *client)
{
    tgc_close(client);
    daemon_end(&served);
}

/* Somebody who behaves is served. */
static void expect_service(void)
{
    struct caller *caller = caller_open(&served, WINDOW);
    uint8_t order[200];
    static uint64_t user = 1000;
    size_t bytes = caller_order(order, 1, "A", ++user);
    struct caller_call *call = caller_say(caller, "PlaceOrder", NULL, NULL, order, bytes);
    caller_expect(caller, call, OK);
    cr_assert(call->answer_bytes > 5 && call->answer[5] == 1 << 3 &&
              call->answer[6] == TG_ACCEPTED);
    caller_close(caller);
}

/* --- wrong doors --- */

Test(grpc, http1_is_told_what_the_port_speaks)
{
    struct tgc_client *client = start(NULL, NULL);
    static const char get[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    char answer[2048];
    caller_raw(served.grpc_port, get, strlen(get), answer, sizeof(answer));
    cr_assert(strstr(answer, "HTTP/1.1 400 ") == answer && strstr(answer, "gRPC"), "%s", answer);
    caller_raw(served.port, get, strlen(get), answer, sizeof(answer));
    cr_assert(strstr(answer, "HTTP/1.1 400 ") == answer && strstr(answer, "native"), "%s", answer);
    expect_service();
    stop(client);
}

Test(grpc, http2_on_the_native_port_hears_goaway)
{
    struct tgc_client *client = start(NULL, NULL);
    struct daemon native = served;
    native.grpc_port = served.port;
    struct caller *caller = caller_open(&native, WINDOW);
    caller_wait_end(caller);
    cr_assert(caller->heard_goaway && strstr(caller->goaway_text, "native"));
    caller_close(caller);
    stop(client);
}

Test(grpc, tls_and_native_frames_and_noise_are_refused)
{
    struct tgc_client *client = start(NULL, NULL);
    char answer[2048];
    static const uint8_t hello[] = {0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0, 0, 1, 0};
    size_t bytes = caller_raw(served.grpc_port, hello, sizeof(hello), answer, sizeof(answer));
    cr_assert(bytes == 7 && answer[0] == 0x15, "an alert");
    bytes = caller_raw(served.port, hello, sizeof(hello), answer, sizeof(answer));
    cr_assert(bytes == 7 && answer[0] == 0x15, "an alert");
    struct tg_order order = sale_order(1, "A", 1, 1);
    uint8_t frame[TG_ORDER_FRAME_BYTES_MAX];
    size_t size = tg_order_frame(frame, 1, &order);
    bytes = caller_raw(served.grpc_port, frame, size, answer, sizeof(answer));
    cr_assert(bytes > 0 && memmem(answer, bytes, "gRPC", 4), "a native error");
    caller_raw(served.grpc_port, "\0\0\0\0", 4, answer, sizeof(answer));
    expect_service();
    stop(client);
}

/* --- wrong calls --- */

Test(grpc, a_call_that_is_wrong_is_told_why)
{
    struct tgc_client *client = start(NULL, NULL);
    struct caller *caller = caller_open(&served, WINDOW);
    static const uint8_t empty[5] = {0}, packed[6] = {1, 0, 0, 0, 1, 0}, cut[5] = {0, 0, 0, 0, 9};
    static const uint8_t two[10] = {0}, huge[5] = {0, 0x7f},
                         broken[7] = {0, 0, 0, 0, 2, 0xff, 0xff};

    caller_expect(caller, caller_begin(caller, "/no.such/Method", NULL, NULL, empty, 5, false),
                  UNKNOWN);
    struct caller_call *call = caller_begin(caller, PLACE_ORDER, NULL, NULL, packed, 6, false);
    caller_expect(caller, call, UNKNOWN);
    cr_assert_str_eq(call->accepts, "identity");
    call = caller_begin(caller, PLACE_ORDER, "grpc-encoding", "gzip", empty, 5, false);
    caller_expect(caller, call, UNKNOWN);
    cr_assert_str_eq(call->accepts, "identity");
    caller_expect(caller, caller_begin(caller, PLACE_ORDER, NULL, NULL, "", 0, false), INVALID);
    caller_expect(caller, caller_begin(caller, PLACE_ORDER, NULL, NULL, cut, 5, false), INVALID);
    caller_expect(caller, caller_begin(caller, PLACE_ORDER, NULL, NULL, two, 10, false), INVALID);
    caller_expect(caller, caller_begin(caller, PLACE_ORDER, NULL, NULL, huge, 5, false), EXHAUSTED);
    caller_expect(
        caller,
        caller_begin(caller, "/tidegate.v1.TidegateService/GetItem", NULL, NULL, broken, 7, false),
        INVALID);
    static const char *const timeouts[] = {"", "S", "5", "5s", "123456789S", "-1S", "0S"};
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
        call = caller_say(caller, "GetServerTime", "grpc-timeout", timeouts[i], "", 0);
        caller_wait(caller, call);
        cr_assert(call->status == INVALID || (i == 6 && call->status == LATE), "'%s': %d",
                  timeouts[i], call->status);
    }
    caller_expect(caller, caller_say(caller, "GetServerTime", "grpc-timeout", "5S", "", 0), OK);
    caller_close(caller);
    stop(client);
}

Test(grpc, what_is_no_grpc_is_answered_in_http)
{
    struct tgc_client *client = start(NULL, NULL);
    struct caller *caller = caller_open(&served, WINDOW);
    struct caller_call *call =
        caller_begin(caller, PLACE_ORDER, "content-type", "application/json", "{}", 2, false);
    caller_wait(caller, call);
    cr_assert_eq(call->http_status, 415);
    call = caller_begin(caller, PLACE_ORDER, "content-type", "application/grpc-web", "", 0, false);
    caller_wait(caller, call);
    cr_assert_eq(call->http_status, 415);
    call = caller_begin(caller, PLACE_ORDER, ":method", "GET", "", 0, false);
    caller_wait(caller, call);
    cr_assert_eq(call->http_status, 405);
    caller_expect(caller, caller_say(caller, "GetServerTime", NULL, NULL, "", 0), OK);
    caller_close(caller);
    stop(client);
}

Test(grpc, metadata_beyond_its_limit_is_refused)
{
    struct tgc_client *client = start(NULL, NULL);
    struct caller *caller = caller_open(&served, WINDOW);
    static char value[20000];
    memset(value, 'x', sizeof(value) - 1);
    caller_expect(caller, caller_say(caller, "GetServerTime", "x-large", value, "", 0), EXHAUSTED);
    caller_expect(caller, caller_say(caller, "GetServerTime", NULL, NULL, "", 0), OK);
    caller_close(caller);
    stop(client);
}

/* --- deadlines --- */

Test(grpc, an_order_whose_deadline_comes_while_it_waits_is_not_decided)
{
    served = (struct daemon){.with_faults = true};
    daemon_start(&served, "--grpc-listen", "127.0.0.1:0", "--set", "server.lane_backlog=1", NULL);
    struct tgc_client *client = sale_client(&served);
    sale_create(client, 1, "A", 1000, 0);
    struct caller *caller = caller_open(&served, WINDOW);
    uint8_t order[200];
    daemon_disk_hold(&served);
    struct caller_call *first =
        caller_say(caller, "PlaceOrder", NULL, NULL, order, caller_order(order, 1, "A", 1));
    caller_turn(caller, 50);
    daemon_disk_wait(&served);
    /* It waits in its lane, behind the one that the disk has. */
    struct caller_call *late = caller_say(caller, "PlaceOrder", "grpc-timeout", "200m", order,
                                          caller_order(order, 1, "A", 2));
    caller_expect(caller, late, LATE);
    cr_assert(strlen(late->details) > 0);
    daemon_disk_release(&served);
    caller_expect(caller, first, OK);
    struct caller_call *next =
        caller_say(caller, "PlaceOrder", NULL, NULL, order, caller_order(order, 1, "A", 3));
    caller_expect(caller, next, OK);
    cr_assert_eq(sale_list(client, 0, NULL, NULL), 2, "the late one took nothing");
    caller_close(caller);
    tgc_close(client);
    daemon_end(&served);
}

/* --- floods --- */

Test(grpc, streams_beyond_the_limit_are_refused_one_by_one)
{
    struct tgc_client *client = start("--set", "grpc.calls_max=8");
    struct caller *caller = caller_open(&served, WINDOW);
    struct caller_call *calls[20];
    for (int i = 0; i < 20; i++)
        calls[i] = caller_begin(caller, PLACE_ORDER, NULL, NULL, "", 0, true);
    caller_turn(caller, 200);
    int refused = 0;
    for (int i = 0; i < 20; i++)
        refused += calls[i]->is_closed && calls[i]->reset == NGHTTP2_REFUSED_STREAM;
    cr_assert_geq(refused, 1);
    cr_assert_not(caller->heard_goaway);
    expect_service();
    caller_close(caller);
    stop(client);
}

Test(grpc, rapid_resets_end_their_connection_alone)
{
    struct tgc_client *client = start(NULL, NULL);
    struct caller *caller = caller_open(&served, WINDOW);
    for (int round = 0; round < 100 && !caller->has_ended; round++) {
        caller->call_count = 0;
        for (int i = 0; i < 200; i++) {
            struct caller_call *call = caller_begin(caller, PLACE_ORDER, NULL, NULL, "", 0, true);
            caller_turn(caller, 0);
            nghttp2_submit_rst_stream(caller->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                      NGHTTP2_CANCEL);
        }
        caller_turn(caller, 0);
    }
    cr_assert(caller->has_ended || caller->heard_goaway);
    expect_service();
    caller_close(caller);
    stop(client);
}

/* The preface, SETTINGS, and `size` bytes behind them. */
static size_t after_preface(uint8_t *out, const void *bytes, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    memcpy(out, preface, 24);
    memcpy(out + 24, (uint8_t[]){0, 0, 0, 4, 0, 0, 0, 0, 0}, 9);
    memcpy(out + 33, bytes, size);
    return 33 + size;
}

Test(grpc, a_header_block_without_end_ends_its_connection)
{
    struct tgc_client *client = start(NULL, NULL);
    static uint8_t flood[16384], bytes[20000];
    static char answer[65536];
    size_t at = 0;
    /* HEADERS that do not end, then CONTINUATION frames of one byte that never do. */
    memcpy(flood, (uint8_t[]){0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82}, 10);
    for (at = 10; at + 10 <= sizeof(flood); at += 10)
        memcpy(flood + at, (uint8_t[]){0, 0, 1, 9, 0, 0, 0, 0, 1, 0x82}, 10);
    size_t size = after_preface(bytes, flood, at);
    caller_raw(served.grpc_port, bytes, size, answer, sizeof(answer));
    expect_service();
    stop(client);
}

Test(grpc, frames_of_noise_end_their_connection)
{
    struct tgc_client *client = start(NULL, NULL);
    static uint8_t noise[4096], bytes[8192];
    static char answer[65536];
    struct tg_rng rng;
    tg_rng_init(&rng, 7);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = (uint8_t)tg_rng_next(&rng);
        noise[0] = 0xff; /* a frame larger than may be */
        size_t size = after_preface(bytes, noise, sizeof(noise));
        caller_raw(served.grpc_port, bytes, size, answer, sizeof(answer));
    }
    expect_service();
    stop(client);
}

/* --- slow ones --- */

Test(grpc, half_a_preface_and_half_a_message_have_their_time)
{
    struct tgc_client *client = start("--set", "server.frame_timeout_s=1");
    char answer[256];
    caller_raw(served.grpc_port, "PRI * HTTP", 10, answer, sizeof(answer)); /* it ends */
    struct caller *caller = caller_open(&served, WINDOW);
    static const uint8_t half[] = {0, 0, 0, 0, 50, 1};
    struct caller_call *call =
        caller_begin(caller, PLACE_ORDER, NULL, NULL, half, sizeof(half), true);
    caller_expect(caller, call, CANCELLED);
    caller_expect(caller, caller_say(caller, "GetServerTime", NULL, NULL, "", 0), OK);
    caller_close(caller);
    stop(client);
}

Test(grpc, who_takes_no_answer_loses_it_and_nobody_else_waits)
{
    struct tgc_client *client = start("--set", "server.write_timeout_s=1");
    struct caller *closed = caller_open(&served, 0);
    struct caller_call *call = caller_say(closed, "GetServerTime", NULL, NULL, "", 0);
    caller_turn(closed, 100);
    cr_assert_eq(call->http_status, 200, "headers need no window");
    cr_assert_eq(call->answer_bytes, 0);
    expect_service();
    caller_wait(closed, call);
    cr_assert_eq(call->reset, NGHTTP2_ENHANCE_YOUR_CALM);
    cr_assert_not(closed->has_ended);
    caller_close(closed);
    stop(client);
}

/* --- the end --- */

Test(grpc, a_drain_says_goaway_answers_and_ends_streams)
{
    struct tgc_client *client = start(NULL, NULL);
    struct caller *caller = caller_open(&served, WINDOW);
    static const uint8_t empty[5] = {0};
    uint8_t watch[16] = {1 << 3, 1, 2 << 3 | 2, 1, 'A'};
    struct caller_call *stream = caller_say(caller, "WatchItem", NULL, NULL, watch, 5);
    struct caller_call *health =
        caller_begin(caller, "/grpc.health.v1.Health/Watch", NULL, NULL, empty, 5, false);
    caller_wait_bytes(caller, stream, 6);
    caller_wait_bytes(caller, health, 7);
    cr_assert_eq(kill(served.pid, SIGTERM), 0);
    caller_expect(caller, stream, UNAVAILABLE);
    caller_expect(caller, health, UNAVAILABLE);
    cr_assert_eq(health->answer_bytes, 14, "SERVING, then NOT_SERVING");
    cr_assert_eq(health->answer[13], 2);
    caller_wait_end(caller);
    cr_assert(caller->heard_goaway && caller->goaway_code == NGHTTP2_NO_ERROR);
    cr_assert_eq(daemon_wait(&served), 0);
    caller_close(caller);
    tgc_close(client);
    daemon_end(&served);
}
