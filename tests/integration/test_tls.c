/* A daemon that speaks TLS, and everything that does not, or not in time, or with the wrong papers.
 * After each, another connection is served as if nothing had happened. */
#include "tests/lib/certs.h"
#include "tests/lib/peer.h"
#include "tests/lib/run.h"
#include "tests/lib/sale.h"
#include "tests/lib/tree.h"

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STOCK 1000000

/* A daemon with TLS, sale 1 and item "A", and a client that is always served. */
struct scene {
    char dir[64]; /* certificates */
    struct daemon daemon;
    struct tgc_client *other;
    uint64_t served;
};

static enum tg_error connect_as(const struct scene *scene, const char *ca, const char *who,
                                struct tgc_client **client, struct tg_fault *fault)
{
    struct tgc_tls tls = {.ca = certs_path(scene->dir, ca, "pem"),
                          .certificate = who ? certs_path(scene->dir, who, "pem") : NULL,
                          .key = who ? certs_path(scene->dir, who, "key") : NULL};
    struct tgc_options options = {.server = scene->daemon.address,
                                  .connect_ms = DAEMON_WAIT_MS,
                                  .window = TGC_WINDOW_MAX,
                                  .tls = &tls};
    return tgc_open(&options, client, fault);
}

static struct tgc_client *connected(const struct scene *scene, const char *ca, const char *who)
{
    struct tgc_client *client;
    struct tg_fault fault;
    cr_assert_eq(connect_as(scene, ca, who, &client, &fault), TG_ERR_OK, "%s", fault.text);
    return client;
}

static void make_certificates(struct scene *scene)
{
    *scene = (struct scene){.dir = "/tmp/tidegate-tls-XXXXXX"};
    cr_assert_not_null(mkdtemp(scene->dir));
    certs_make_usual(scene->dir);
}

static void set(struct daemon *daemon, const char *key, const char *value)
{
    char pair[600];
    snprintf(pair, sizeof(pair), "%s=%s", key, value);
    daemon_arg(daemon, "--set");
    daemon_arg(daemon, pair);
}

static void use_tls(struct scene *scene)
{
    set(&scene->daemon, "tls.certificate", certs_path(scene->dir, "server", "pem"));
    set(&scene->daemon, "tls.key", certs_path(scene->dir, "server", "key"));
}

static void begin(struct scene *scene, const char *who)
{
    daemon_start(&scene->daemon, NULL);
    scene->other = connected(scene, "ca", who);
    sale_create(scene->other, 1, "A", STOCK, 0);
}

static void open_scene(struct scene *scene)
{
    make_certificates(scene);
    use_tls(scene);
    begin(scene, NULL);
}

static void expect_served(struct scene *scene)
{
    sale_assert_verdict(sale_buy(scene->other, 1, "A", 99, 1), TG_ACCEPTED);
    scene->served++;
    cr_assert_eq(sale_available(scene->other, 1, "A"), STOCK - scene->served);
}

static void close_scene(struct scene *scene)
{
    expect_served(scene);
    tgc_close(scene->other);
    daemon_end(&scene->daemon);
    tree_remove(scene->dir);
}

/* --- a client of plain OpenSSL, which can be stopped anywhere --- */

struct raw {
    struct peer peer;
    SSL_CTX *ctx;
    SSL *ssl;
};

static void raw_open(struct raw *raw, const struct scene *scene)
{
    peer_open(&raw->peer, &scene->daemon);
    raw->ctx = SSL_CTX_new(TLS_client_method());
    cr_assert_eq(SSL_CTX_load_verify_file(raw->ctx, certs_path(scene->dir, "ca", "pem")), 1);
    SSL_CTX_set_verify(raw->ctx, SSL_VERIFY_PEER, NULL);
    raw->ssl = SSL_new(raw->ctx);
    SSL_set_fd(raw->ssl, raw->peer.fd);
}

static void raw_close(struct raw *raw)
{
    SSL_free(raw->ssl);
    SSL_CTX_free(raw->ctx);
    peer_close(&raw->peer);
    ERR_clear_error();
}

/* What a client says first. */
static size_t hello(uint8_t *bytes, size_t room)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
    SSL_connect(ssl);
    int said = BIO_read(out, bytes, (int)room);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    ERR_clear_error();
    cr_assert_gt(said, 100);
    return (size_t)said;
}

/* All that comes until the end; how many bytes. */
static size_t hear_all(struct peer *peer, uint8_t *bytes, size_t room)
{
    size_t used = 0;
    ssize_t got;
    while ((got = read(peer->fd, bytes + used, room - used)) > 0)
        used += (size_t)got;
    return used;
}

/* --- what goes well --- */

Test(tls, orders_pages_and_batches_pass_unchanged)
{
    enum {
        ORDERS = 3000
    };
    struct scene scene;
    open_scene(&scene);
    static struct tg_order orders[ORDERS];
    static struct tg_answer answers[ORDERS];
    for (uint32_t i = 0; i < ORDERS; i++)
        orders[i] = sale_order(1, "A", 1000 + i, 1);
    sale_place_batch(scene.other, orders, ORDERS, answers); /* 200 KiB: many records */
    for (uint32_t i = 0; i < ORDERS; i++)
        sale_assert_verdict(answers[i].verdict, TG_ACCEPTED);
    scene.served = ORDERS;
    cr_assert_eq(sale_list(scene.other, 1, NULL, NULL), ORDERS);
    expect_served(&scene);
    cr_assert(tgc_is_connected(scene.other));
    close_scene(&scene);
}

static void on_answer(void *context, const Tidegate__V1__Response *response)
{
    uint32_t *accepted = context;
    *accepted += (int)response->place_order->verdict == TG_ACCEPTED;
}

/* More in flight than any buffer between them holds, answered in the order of their commits. */
Test(tls, thousands_in_flight_are_all_answered)
{
    enum {
        ORDERS = 20000
    };
    struct scene scene;
    open_scene(&scene);
    uint32_t accepted = 0, sent = 0;
    struct tg_fault fault;
    while (sent < ORDERS || tgc_in_flight(scene.other) > 0) {
        enum tg_error error = TG_ERR_FULL;
        if (sent < ORDERS) {
            struct tg_order order = sale_order(1, "A", sent, 1);
            Tidegate__V1__PlaceOrderRequest message = sale_order_message(&order);
            Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
            request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
            request.place_order = &message;
            error = tgc_send(scene.other, &request, on_answer, &accepted, &fault);
            sent += error == TG_ERR_OK;
        }
        if (error == TG_ERR_FULL)
            error = tgc_poll(scene.other, DAEMON_WAIT_MS, &fault);
        cr_assert_eq(error, TG_ERR_OK, "%s", fault.text);
    }
    cr_assert_eq(accepted, ORDERS);
    scene.served = ORDERS;
    close_scene(&scene);
}

Test(tls, the_tools_speak_it)
{
    struct scene scene;
    struct run run;
    open_scene(&scene);
    const char *ca = certs_path(scene.dir, "ca", "pem");
    run_start(&run, "tidegatectl", "--server", scene.daemon.address, "--tls-ca", ca, "sale", "show",
              "1", NULL);
    run_wait(&run);
    cr_assert_eq(run.status, 0, "%s", run.err);
    run_free(&run);
    run_start(&run, "tidegatectl", "--server", scene.daemon.address, "--tls-ca", ca, "--tls-name",
              "elsewhere", "time", NULL);
    run_wait(&run);
    cr_assert_eq(run.status, 3);
    cr_assert_not_null(strstr(run.err, "hostname mismatch"), "%s", run.err);
    run_free(&run);
    static const char *const scenarios[] = {"seckill", "lifecycle"};
    for (int i = 0; i < 2; i++) {
        run_start(&run, "tidegate-load", "--server", scene.daemon.address, "--tls-ca", ca,
                  "--scenario", scenarios[i], "--duration", "500ms", "--connections", "8", NULL);
        run_wait(&run);
        cr_assert_eq(run.status, 0, "%s%s", run.out, run.err);
        cr_assert_not_null(strstr(run.out, "audit        passed"), "%s", run.out);
        run_free(&run);
    }
    run_start(&run, "tidegate-load", "--server", scene.daemon.address, "--tls-ca",
              certs_path(scene.dir, "stranger", "pem"), "--duration", "500ms", NULL);
    run_wait(&run);
    cr_assert_neq(run.status, 0);
    cr_assert_not_null(strstr(run.err, "certificate does not hold"), "%s", run.err);
    run_free(&run);
    close_scene(&scene);
}

/* The client of a backend that comes back: its connection is new, its session is new. */
Test(tls, a_client_reconnects)
{
    struct scene scene;
    struct tg_fault fault;
    open_scene(&scene);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(tgc_reconnect(scene.other, 0, &fault), TG_ERR_OK, "%s", fault.text);
        expect_served(&scene);
    }
    close_scene(&scene);
}

/* Who is connected when the daemon drains is told the end as TLS has it. */
Test(tls, a_drain_says_goodbye)
{
    struct scene scene;
    struct raw raw;
    char bytes[64];
    /* GetServerTime, with correlation id 1. Its answer tells that the server is through with the
     * handshake, which our end is a message earlier. */
    static const uint8_t frame[] = {4, 0x08, 1, 0x3a, 0};
    open_scene(&scene);
    raw_open(&raw, &scene);
    cr_assert_eq(SSL_connect(raw.ssl), 1);
    cr_assert_eq(SSL_write(raw.ssl, frame, sizeof(frame)), (int)sizeof(frame));
    cr_assert_gt(SSL_read(raw.ssl, bytes, sizeof(bytes)), 0);
    tgc_close(scene.other);
    cr_assert_eq(kill(scene.daemon.pid, SIGTERM), 0);
    int result = SSL_read(raw.ssl, bytes, 1);
    cr_assert_eq(SSL_get_error(raw.ssl, result), SSL_ERROR_ZERO_RETURN, "no close_notify");
    raw_close(&raw);
    cr_assert_eq(daemon_wait(&scene.daemon), 0);
    daemon_restart(&scene.daemon);
    daemon_end(&scene.daemon);
    tree_remove(scene.dir);
}

/* A peer that says goodbye and stays gets its answers, and ours. */
Test(tls, a_goodbye_is_answered)
{
    struct scene scene;
    struct raw raw;
    uint8_t frame[4] = {0}, bytes[64];
    open_scene(&scene);
    raw_open(&raw, &scene);
    cr_assert_eq(SSL_connect(raw.ssl), 1);
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetServerTimeRequest body = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &body;
    size_t size = tidegate__v1__request__get_packed_size(&request);
    cr_assert_lt(size, sizeof(frame));
    frame[0] = (uint8_t)size;
    tidegate__v1__request__pack(&request, frame + 1);
    cr_assert_eq(SSL_write(raw.ssl, frame, (int)size + 1), (int)size + 1);
    SSL_shutdown(raw.ssl); /* the socket stays open */
    cr_assert_gt(SSL_read(raw.ssl, bytes, sizeof(bytes)), 2);
    int result = SSL_read(raw.ssl, bytes, sizeof(bytes));
    cr_assert_eq(SSL_get_error(raw.ssl, result), SSL_ERROR_ZERO_RETURN, "no close_notify");
    raw_close(&raw);
    close_scene(&scene);
}

/* HTTP/2 is agreed upon, and its settings, which are said before the handshake is over, come first.
 * Who wants the native protocol there is told so in the handshake. */
Test(tls, grpc_speaks_it_as_well)
{
    struct scene scene;
    struct raw raw;
    struct tgc_client *client;
    struct tg_fault fault;
    uint8_t bytes[9];
    make_certificates(&scene);
    use_tls(&scene);
    daemon_arg(&scene.daemon, "--grpc-listen");
    daemon_arg(&scene.daemon, "127.0.0.1:0");
    begin(&scene, NULL);
    struct scene grpc = scene;
    grpc.daemon.port = scene.daemon.grpc_port;
    snprintf(grpc.daemon.address, sizeof(grpc.daemon.address), "127.0.0.1:%u", grpc.daemon.port);
    raw_open(&raw, &grpc);
    SSL_set_alpn_protos(raw.ssl, (const uint8_t *)"\x02h2", 3);
    cr_assert_eq(SSL_connect(raw.ssl), 1);
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    cr_assert_eq(SSL_write(raw.ssl, preface, sizeof(preface) - 1), sizeof(preface) - 1);
    cr_assert_eq(SSL_read(raw.ssl, bytes, sizeof(bytes)), 9);
    cr_assert_eq(bytes[3], 4, "SETTINGS");
    raw_close(&raw);
    cr_assert_eq(connect_as(&grpc, "ca", NULL, &client, &fault), TG_ERR_PROTOCOL);
    cr_assert_not_null(strstr(fault.text, "no application protocol"), "%s", fault.text);
    close_scene(&scene);
}

/* --- what is no TLS --- */

Test(tls, plain_bytes_are_refused_in_what_they_speak)
{
    struct scene scene;
    struct peer peer;
    uint8_t bytes[1024];
    open_scene(&scene);

    peer_open(&peer, &scene.daemon);
    peer_send(&peer, "\x04\x08\x01\x3a\x00", 5); /* a native frame */
    Tidegate__V1__Response *response = peer_response(&peer);
    cr_assert_eq((int)response->error->code, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_FRAME);
    cr_assert_not_null(strstr(response->error->message, "--tls"), "%s", response->error->message);
    tgc_response_free(response);
    peer_expect_end(&peer);
    peer_close(&peer);
    expect_served(&scene);

    peer_open(&peer, &scene.daemon);
    peer_send(&peer, "G", 1);
    peer_send(&peer, "ET / HTTP/1.1\r\nHost: x\r\n\r\n", 26);
    size_t got = hear_all(&peer, bytes, sizeof(bytes) - 1);
    bytes[got] = '\0';
    cr_assert_eq(strncmp((char *)bytes, "HTTP/1.1 400 ", 13), 0, "%s", (char *)bytes);
    cr_assert_not_null(strstr((char *)bytes, "speaks TLS"));
    peer_close(&peer);

    peer_open(&peer, &scene.daemon);
    peer_send(&peer, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    got = hear_all(&peer, bytes, sizeof(bytes) - 1);
    bytes[got] = '\0';
    cr_assert_geq(got, 26);
    cr_assert_arr_eq(bytes, "\0\0\0\x04\0\0\0\0\0", 9, "SETTINGS come first");
    cr_assert_eq(bytes[12], 7, "then GOAWAY");
    cr_assert_eq(bytes[25], 12, "INADEQUATE_SECURITY");
    cr_assert_eq(((size_t)bytes[10] << 8 | bytes[11]) + 18, got, "of the length that it says");
    cr_assert_not_null(strstr((char *)bytes + 26, "speaks TLS"));
    peer_close(&peer);
    daemon_log_wait(&scene.daemon, "plain bytes on a port that speaks TLS, from 127.0.0.1:");
    close_scene(&scene);
}

/* The client says it in its own words. */
Test(tls, a_plain_client_is_told_to_speak_it)
{
    struct scene scene;
    struct tgc_client *client;
    struct tg_fault fault;
    open_scene(&scene);
    struct tgc_options options = {.server = scene.daemon.address};
    cr_assert_eq(tgc_open(&options, &client, &fault), TG_ERR_OK, "%s", fault.text);
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetServerTimeRequest body = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &body;
    Tidegate__V1__Response *response;
    cr_assert_eq(tgc_call(client, &request, DAEMON_WAIT_MS, &response, &fault), TG_ERR_PROTOCOL);
    cr_assert_not_null(strstr(fault.text, "this port speaks TLS"), "%s", fault.text);
    tgc_close(client);
    close_scene(&scene);
}

Test(tls, a_hello_on_a_plain_port_is_refused)
{
    struct scene scene;
    struct peer peer;
    struct tgc_client *client;
    struct tg_fault fault;
    uint8_t bytes[2048];
    make_certificates(&scene);
    daemon_start(&scene.daemon, NULL);
    scene.other = sale_client(&scene.daemon);
    sale_create(scene.other, 1, "A", STOCK, 0);
    size_t size = hello(bytes, sizeof(bytes));
    peer_open(&peer, &scene.daemon);
    peer_send(&peer, bytes, size);
    cr_assert_eq(hear_all(&peer, bytes, sizeof(bytes)), 7);
    cr_assert_arr_eq(bytes, "\x15\x03\x03\x00\x02\x02\x46", 7, "the alert protocol_version");
    peer_close(&peer);
    daemon_log_wait(&scene.daemon, "begins TLS on a port that speaks plain");
    cr_assert_eq(connect_as(&scene, "ca", NULL, &client, &fault), TG_ERR_PROTOCOL);
    cr_assert_not_null(strstr(fault.text, "a port does that does not speak TLS"), "%s", fault.text);
    close_scene(&scene);
}

Test(tls, garbage_is_answered_by_an_alert_and_the_end)
{
    struct scene scene;
    struct peer peer;
    uint8_t bytes[2048], heard[64];
    open_scene(&scene);
    size_t size = hello(bytes, sizeof(bytes));
    for (size_t at = 5; at < size; at += 37) {
        uint8_t kept = bytes[at];
        bytes[at] ^= 0xff;
        peer_open(&peer, &scene.daemon);
        peer_send(&peer, bytes, size);
        peer_send(&peer, bytes, size); /* and then a second hello */
        size_t got = hear_all(&peer, heard, sizeof(heard));
        cr_assert_geq(got, 7, "at %zu", at);
        peer_close(&peer);
        bytes[at] = kept;
    }
    peer_open(&peer, &scene.daemon);
    peer_send(&peer, "\x16\x03\x01\xff\xff garbage", 13); /* a record larger than there is */
    cr_assert_eq(hear_all(&peer, heard, sizeof(heard)), 7);
    cr_assert_eq(heard[0], 0x15, "an alert");
    peer_close(&peer);
    close_scene(&scene);
}

/* Within an open connection too: the bytes that were turned are never handed on. */
Test(tls, garbage_in_an_open_connection_ends_it)
{
    struct scene scene;
    struct raw raw;
    open_scene(&scene);
    raw_open(&raw, &scene);
    cr_assert_eq(SSL_connect(raw.ssl), 1);
    peer_send(&raw.peer, "\x17\x03\x03\x00\x20 01234567890123456789012345678901", 38);
    char byte;
    int result = SSL_read(raw.ssl, &byte, 1);
    cr_assert_eq(SSL_get_error(raw.ssl, result), SSL_ERROR_SSL);
    cr_assert_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    raw_close(&raw);
    daemon_log_wait(&scene.daemon, "a TLS connection broke, from 127.0.0.1:");
    close_scene(&scene);
}

/* --- papers --- */

Test(tls, callers_must_show_a_certificate_that_holds)
{
    struct scene scene;
    make_certificates(&scene);
    certs_make(scene.dir, "late",
               &(struct certs_wish){.signer = "ca", .from_s = -7200, .to_s = -3600});
    certs_make(scene.dir, "forged", &(struct certs_wish){.signer = "stranger"});
    use_tls(&scene);
    set(&scene.daemon, "tls.client_ca", certs_path(scene.dir, "ca", "pem"));
    begin(&scene, "client");
    static const char *const cases[][2] = {
        {NULL, "certificate required"}, {"late", "certificate expired"}, {"forged", "unknown CA"}};
    for (int i = 0; i < 3; i++) {
        struct tgc_client *client;
        struct tg_fault fault;
        /* In TLS 1.3 it is refused with its first request. */
        if (connect_as(&scene, "ca", cases[i][0], &client, &fault) == TG_ERR_OK) {
            Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
            Tidegate__V1__GetServerTimeRequest body = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
            request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
            request.get_server_time = &body;
            Tidegate__V1__Response *response;
            cr_assert_eq(tgc_call(client, &request, DAEMON_WAIT_MS, &response, &fault),
                         TG_ERR_PROTOCOL, "%s", fault.text);
            tgc_close(client);
        }
        cr_assert_not_null(strstr(fault.text, cases[i][1]), "%s", fault.text);
        expect_served(&scene);
    }
    daemon_log_wait(&scene.daemon, "the client shows no certificate, and must");
    daemon_log_wait(&scene.daemon,
                    "the client's certificate does not hold: certificate has expired");
    close_scene(&scene);
}

Test(tls, a_start_with_files_that_do_not_fit_is_refused)
{
    struct scene scene;
    make_certificates(&scene);
    set(&scene.daemon, "tls.certificate", certs_path(scene.dir, "server", "pem"));
    set(&scene.daemon, "tls.key", certs_path(scene.dir, "client", "key"));
    cr_assert_eq(daemon_start_refused(&scene.daemon), 1);
    cr_assert(daemon_log_has(&scene.daemon, "does not belong to the certificate"));
    set(&scene.daemon, "tls.key", "/nowhere/key.pem");
    cr_assert_eq(daemon_start_refused(&scene.daemon), 1);
    cr_assert(daemon_log_has(&scene.daemon, "cannot read the private key /nowhere/key.pem"));
    daemon_end(&scene.daemon);
    tree_remove(scene.dir);
}

static void reload(struct scene *scene, const char *told)
{
    cr_assert_eq(kill(scene->daemon.pid, SIGHUP), 0);
    daemon_log_wait(&scene->daemon, told);
}

/* Who is connected goes on, who comes sees the new one; a bad one is told and changes nothing. */
Test(tls, a_reload_takes_a_new_certificate_and_no_bad_one)
{
    struct scene scene;
    struct tgc_client *client;
    struct tg_fault fault;
    open_scene(&scene);
    certs_make(scene.dir, "server",
               &(struct certs_wish){.signer = "stranger", .names = "IP:127.0.0.1"});
    reload(&scene, "certificate and key read again");
    expect_served(&scene);
    cr_assert_eq(connect_as(&scene, "ca", NULL, &client, &fault), TG_ERR_PROTOCOL);
    client = connected(&scene, "stranger", NULL);
    tgc_close(client);

    FILE *file = fopen(certs_path(scene.dir, "server", "pem"), "we");
    fputs("half of it\n", file);
    fclose(file);
    reload(&scene, "the certificate stays as it was");
    cr_assert(daemon_log_has(&scene.daemon, "holds no certificate in PEM form"));
    expect_served(&scene);
    client = connected(&scene, "stranger", NULL);
    tgc_close(client);
    close_scene(&scene);
}

/* --- slowness --- */

/* Who does not shake hands is closed, whether it says nothing, a part or one byte at a time. */
Test(tls, a_handshake_that_does_not_end_is_closed)
{
    struct scene scene;
    uint8_t bytes[2048];
    make_certificates(&scene);
    use_tls(&scene);
    set(&scene.daemon, "tls.handshake_timeout_s", "1");
    begin(&scene, NULL);
    size_t size = hello(bytes, sizeof(bytes));
    struct peer silent, half, whole;
    peer_open(&silent, &scene.daemon);
    peer_open(&half, &scene.daemon);
    peer_open(&whole, &scene.daemon);
    peer_send(&half, bytes, size / 2);
    peer_send(&whole, bytes, size);
    expect_served(&scene);
    cr_assert_eq(hear_all(&silent, bytes, sizeof(bytes)), 0);
    cr_assert_eq(hear_all(&half, bytes, sizeof(bytes)), 0);
    cr_assert_gt(hear_all(&whole, bytes, sizeof(bytes)), 100, "its side of the handshake");
    peer_close(&silent);
    peer_close(&half);
    peer_close(&whole);
    close_scene(&scene);
}

/* All at once: each is answered, in a few turns, and the other is served between them. */
Test(tls, a_crowd_of_handshakes_is_served)
{
    enum {
        CROWD = 300
    };
    struct scene scene;
    static struct raw crowd[CROWD];
    uint8_t bytes[2048];
    open_scene(&scene);
    size_t size = hello(bytes, sizeof(bytes));
    for (int i = 0; i < CROWD; i++)
        raw_open(&crowd[i], &scene);
    expect_served(&scene);
    for (int i = 0; i < CROWD; i++)
        peer_send(&crowd[i].peer, bytes, size); /* never finished */
    expect_served(&scene);
    for (int i = 0; i < CROWD; i++) {
        cr_assert_eq(read(crowd[i].peer.fd, bytes, 1), 1);
        raw_close(&crowd[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        raw_open(&crowd[i], &scene);
        cr_assert_eq(SSL_connect(crowd[i].ssl), 1);
    }
    expect_served(&scene);
    for (int i = 0; i < CROWD; i++)
        raw_close(&crowd[i]);
    close_scene(&scene);
}
