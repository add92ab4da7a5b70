/* Sessions over memory, both ends in one thread: what one says is carried to the other by hand, in
 * pieces of any size. Where our own client is too well-behaved, plain OpenSSL plays the other end.
 */
#include "tls/session.h"

#include "base/rng.h"
#include "tests/lib/certs.h"
#include "tests/lib/tree.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WIRE_BYTES ((size_t)4 * 1024 * 1024)

static char dir[] = "/tmp/tidegate-tls-XXXXXX";

static void make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir));
    certs_make_usual(dir);
}

static void remove_dir(void)
{
    tree_remove(dir);
}

TestSuite(tls, .init = make_dir, .fini = remove_dir);

/* --- two ends --- */

struct end {
    struct tls_session *session;
    uint8_t *wire; /* what it said and nobody carried yet */
    size_t wire_bytes;
    size_t room; /* in all that it may say */
    uint8_t *clear;
    size_t clear_bytes;
};

static bool on_out(void *context, const void *data, size_t bytes)
{
    struct end *end = context;
    if (bytes > end->room)
        return false;
    end->room -= bytes;
    memcpy(end->wire + end->wire_bytes, data, bytes);
    end->wire_bytes += bytes;
    return true;
}

static void end_open(struct end *end, struct tls_context *context, const char *name)
{
    struct tls_session_options options = {
        .protocol = TLS_PROTOCOL_NATIVE, .name = name, .out = on_out, .out_context = end};
    struct tg_fault fault;
    *end =
        (struct end){.room = WIRE_BYTES, .wire = malloc(WIRE_BYTES), .clear = malloc(WIRE_BYTES)};
    cr_assert_eq(tls_session_open(context, &options, &end->session, &fault), TG_ERR_OK, "%s",
                 fault.text);
}

static void end_close(struct end *end)
{
    tls_session_close(end->session);
    free(end->wire);
    free(end->clear);
}

/* Feeds `bytes` to it and takes what comes out, `room` bytes at a time. */
static void hear(struct end *end, const void *data, size_t bytes, size_t room)
{
    size_t got;
    tls_session_feed(end->session, data, bytes);
    while ((got = tls_session_read(end->session, end->clear + end->clear_bytes, room)) > 0)
        end->clear_bytes += got;
    cr_assert_not(tls_session_has_more(end->session));
}

/* Carries what `from` said to `to`, in pieces; false when it had said nothing. */
static bool carry(struct end *from, struct end *to, size_t piece)
{
    size_t bytes = from->wire_bytes;
    uint8_t *said = malloc(bytes + 1);
    memcpy(said, from->wire, bytes);
    from->wire_bytes = 0;
    for (size_t at = 0; at < bytes; at += piece)
        hear(to, said + at, bytes - at < piece ? bytes - at : piece, 4096);
    free(said);
    return bytes > 0;
}

static void talk(struct end *client, struct end *server, size_t piece)
{
    tls_session_read(client->session, client->clear, 1); /* it begins */
    while (carry(client, server, piece) || carry(server, client, piece))
        continue;
}

/* --- contexts --- */

static struct tls_context *server_of(const char *name, const char *client_ca)
{
    struct tls_server_options options = {.certificate = certs_path(dir, name, "pem"),
                                         .key = certs_path(dir, name, "key"),
                                         .client_ca =
                                             client_ca ? certs_path(dir, client_ca, "pem") : NULL};
    struct tls_context *context;
    struct tg_fault fault;
    cr_assert_eq(tls_server_open(&options, &context, &fault), TG_ERR_OK, "%s", fault.text);
    return context;
}

static struct tls_context *client_of(const char *ca, const char *name)
{
    struct tls_client_options options = {.ca = certs_path(dir, ca, "pem"),
                                         .certificate = name ? certs_path(dir, name, "pem") : NULL,
                                         .key = name ? certs_path(dir, name, "key") : NULL};
    struct tls_context *context;
    struct tg_fault fault;
    cr_assert_eq(tls_client_open(&options, &context, &fault), TG_ERR_OK, "%s", fault.text);
    return context;
}

struct pair {
    struct tls_context *server_context, *client_context;
    struct end server, client;
};

/* Takes over both contexts. */
static void pair_open(struct pair *pair, struct tls_context *server, struct tls_context *client)
{
    pair->server_context = server;
    pair->client_context = client;
    end_open(&pair->server, server, NULL);
    end_open(&pair->client, client, "localhost");
}

static void pair_close(struct pair *pair)
{
    end_close(&pair->server);
    end_close(&pair->client);
    tls_context_close(pair->server_context);
    tls_context_close(pair->client_context);
}

static void expect_open(const struct pair *pair)
{
    cr_assert_eq(tls_session_state(pair->server.session), TLS_OPEN, "%s",
                 tls_session_why(pair->server.session));
    cr_assert_eq(tls_session_state(pair->client.session), TLS_OPEN, "%s",
                 tls_session_why(pair->client.session));
}

static void expect_failed(const struct end *end, const char *why)
{
    cr_assert_eq(tls_session_state(end->session), TLS_FAILED, "expected: %s", why);
    cr_assert_not_null(strstr(tls_session_why(end->session), why), "'%s' says nothing of '%s'",
                       tls_session_why(end->session), why);
}

static void open_usual(struct pair *pair)
{
    pair_open(pair, server_of("server", NULL), client_of("ca", NULL));
    talk(&pair->client, &pair->server, 4096);
    expect_open(pair);
}

/* --- what goes well --- */

Test(tls, both_ends_agree_whatever_the_pieces)
{
    static const size_t pieces[] = {1, 2, 5, 7, 100, 517, 1400, 65536};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct pair pair;
        pair_open(&pair, server_of("server", NULL), client_of("ca", NULL));
        talk(&pair.client, &pair.server, pieces[i]);
        expect_open(&pair);
        cr_assert(tls_session_write(pair.client.session, "one order", 9));
        cr_assert(tls_session_write(pair.server.session, "its answer", 10));
        talk(&pair.client, &pair.server, pieces[i]);
        cr_assert_eq(pair.server.clear_bytes, 9);
        cr_assert_arr_eq(pair.server.clear, "one order", 9);
        cr_assert_eq(pair.client.clear_bytes, 10);
        cr_assert_arr_eq(pair.client.clear, "its answer", 10);
        pair_close(&pair);
    }
}

Test(tls, it_is_1_3_and_the_figures_count_it)
{
    struct pair pair;
    struct tls_stats stats;
    char text[100];
    open_usual(&pair);
    tls_session_describe(pair.server.session, text, sizeof(text));
    cr_assert_str_eq(text, "TLSv1.3, TLS_AES_128_GCM_SHA256");
    tls_context_stats(pair.server_context, &stats);
    cr_assert_eq(stats.open, 1);
    cr_assert_eq(stats.handshakes, 1);
    cr_assert_eq(stats.failed, 0);
    cr_assert_gt(stats.expires_at_ms, (int64_t)time(NULL) * 1000);
    end_close(&pair.server);
    tls_context_stats(pair.server_context, &stats);
    cr_assert_eq(stats.open, 0);
    end_open(&pair.server, pair.server_context, NULL);
    pair_close(&pair);
}

Test(tls, a_name_may_be_an_address)
{
    static const char *const names[] = {"127.0.0.1", "::1", "localhost"};
    for (size_t i = 0; i < 3; i++) {
        struct pair pair;
        pair_open(&pair, server_of("server", NULL), client_of("ca", NULL));
        end_close(&pair.client);
        end_open(&pair.client, pair.client_context, names[i]);
        talk(&pair.client, &pair.server, 4096);
        expect_open(&pair);
        pair_close(&pair);
    }
}

/* A frame of the largest kind and many more, both ways at once, with reads that are smaller than a
 * record. */
Test(tls, much_goes_through_unchanged)
{
    enum {
        BYTES = 3 * 1024 * 1024
    };
    struct pair pair;
    struct tg_rng rng;
    tg_rng_init(&rng, 7);
    uint8_t *there = malloc(BYTES), *back = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++) {
        there[i] = (uint8_t)tg_rng_next(&rng);
        back[i] = (uint8_t)tg_rng_next(&rng);
    }
    open_usual(&pair);
    cr_assert(tls_session_write(pair.client.session, there, BYTES));
    cr_assert(tls_session_write(pair.server.session, back, BYTES));
    talk(&pair.client, &pair.server, 8192);
    cr_assert_eq(pair.server.clear_bytes, BYTES);
    cr_assert_eq(memcmp(pair.server.clear, there, BYTES), 0);
    cr_assert_eq(pair.client.clear_bytes, BYTES);
    cr_assert_eq(memcmp(pair.client.clear, back, BYTES), 0);
    pair_close(&pair);
    free(there);
    free(back);
}

Test(tls, a_read_without_room_leaves_the_rest)
{
    struct pair pair;
    open_usual(&pair);
    cr_assert(tls_session_write(pair.client.session, "abcdefgh", 8));
    cr_assert(tls_session_write(pair.client.session, "ijkl", 4));
    tls_session_feed(pair.server.session, pair.client.wire, pair.client.wire_bytes);
    char got[3];
    char all[13] = "";
    for (size_t at = 0, n; (n = tls_session_read(pair.server.session, got, 3)) > 0; at += n) {
        cr_assert(tls_session_has_more(pair.server.session));
        memcpy(all + at, got, n);
    }
    cr_assert_not(tls_session_has_more(pair.server.session));
    cr_assert_str_eq(all, "abcdefghijkl");
    pair.client.wire_bytes = 0;
    pair_close(&pair);
}

Test(tls, a_goodbye_ends_one_way_alone)
{
    struct pair pair;
    open_usual(&pair);
    cr_assert(tls_session_write(pair.client.session, "last", 4));
    tls_session_finish(pair.client.session);
    carry(&pair.client, &pair.server, 4096);
    cr_assert_eq(tls_session_state(pair.server.session), TLS_ENDED);
    cr_assert_eq(pair.server.clear_bytes, 4);
    cr_assert(tls_session_write(pair.server.session, "answer", 6));
    tls_session_finish(pair.server.session);
    carry(&pair.server, &pair.client, 4096);
    cr_assert_eq(pair.client.clear_bytes, 6);
    cr_assert_eq(tls_session_state(pair.client.session), TLS_ENDED);
    hear(&pair.server, "what comes behind it", 20, 100);
    cr_assert_eq(pair.server.clear_bytes, 4);
    pair_close(&pair);
}

/* --- whom to believe --- */

struct distrust {
    const char *server;
    const char *ca;
    const char *name;
    const char *why;
};

Test(tls, a_client_believes_no_other_server)
{
    certs_make(dir, "late",
               &(struct certs_wish){
                   .signer = "ca", .names = "DNS:localhost", .from_s = -7200, .to_s = -3600});
    certs_make(dir, "early",
               &(struct certs_wish){
                   .signer = "ca", .names = "DNS:localhost", .from_s = 3600, .to_s = 7200});
    certs_make(dir, "self", &(struct certs_wish){.names = "DNS:localhost"});
    certs_make(dir, "nameless", &(struct certs_wish){.signer = "ca"});
    static const struct distrust cases[] = {
        {"server", "stranger", "localhost", "unable to get local issuer"},
        {"server", "ca", "elsewhere.example", "hostname mismatch"},
        {"server", "ca", "127.0.0.2", "IP address mismatch"},
        {"nameless", "ca", "localhost", "hostname mismatch"},
        {"late", "ca", "localhost", "certificate has expired"},
        {"early", "ca", "localhost", "certificate is not yet valid"},
        {"self", "ca", "localhost", "self-signed certificate"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pair pair;
        struct tls_stats stats;
        pair_open(&pair, server_of(cases[i].server, NULL), client_of(cases[i].ca, NULL));
        end_close(&pair.client);
        end_open(&pair.client, pair.client_context, cases[i].name);
        talk(&pair.client, &pair.server, 4096);
        expect_failed(&pair.client, cases[i].why);
        expect_failed(&pair.server, "the peer says: ");
        tls_context_stats(pair.server_context, &stats);
        cr_assert_eq(stats.failed, 1);
        cr_assert_eq(stats.handshakes, 0);
        pair_close(&pair);
    }
}

Test(tls, a_client_shows_its_certificate_when_asked)
{
    struct pair pair;
    pair_open(&pair, server_of("server", "ca"), client_of("ca", "client"));
    talk(&pair.client, &pair.server, 4096);
    expect_open(&pair);
    pair_close(&pair);
    /* Nobody asks: nothing is shown, and nothing is amiss. */
    pair_open(&pair, server_of("server", NULL), client_of("ca", "client"));
    talk(&pair.client, &pair.server, 4096);
    expect_open(&pair);
    pair_close(&pair);
}

Test(tls, a_server_believes_no_other_client)
{
    certs_make(dir, "late", &(struct certs_wish){.signer = "ca", .from_s = -7200, .to_s = -3600});
    certs_make(dir, "forged", &(struct certs_wish){.signer = "stranger"});
    static const char *const cases[][2] = {
        {NULL, "shows no certificate"},
        {"late", "the client's certificate does not hold: certificate has expired"},
        {"forged", "unable to get local issuer"},
    };
    for (size_t i = 0; i < 3; i++) {
        struct pair pair;
        pair_open(&pair, server_of("server", "ca"), client_of("ca", cases[i][0]));
        talk(&pair.client, &pair.server, 4096);
        expect_failed(&pair.server, cases[i][1]);
        /* In 1.3 a client is done before the server has looked: it learns by the alert. */
        expect_failed(&pair.client, "the peer says: ");
        cr_assert_eq(pair.server.clear_bytes, 0);
        pair_close(&pair);
    }
}

/* --- what goes wrong --- */

Test(tls, garbage_fails_at_once_and_is_answered_by_an_alert)
{
    struct tg_rng rng;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct pair pair;
        uint8_t noise[600];
        tg_rng_init(&rng, seed);
        pair_open(&pair, server_of("server", NULL), client_of("ca", NULL));
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = (uint8_t)tg_rng_next(&rng);
        if (seed % 2 == 0)
            memcpy(noise, "\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03", 11);
        hear(&pair.server, noise, sizeof(noise), 4096);
        cr_assert_eq(tls_session_state(pair.server.session), TLS_FAILED, "seed %llu",
                     (unsigned long long)seed);
        cr_assert_eq(pair.server.clear_bytes, 0);
        hear(&pair.server, noise, sizeof(noise), 4096); /* and nothing more is taken */
        pair_close(&pair);
    }
}

/* One turned bit anywhere in what either says: never an open session with other bytes in it. */
Test(tls, a_turned_bit_is_never_taken)
{
    struct tg_rng rng;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct pair pair;
        tg_rng_init(&rng, seed);
        pair_open(&pair, server_of("server", NULL), client_of("ca", NULL));
        uint64_t step = tg_rng_next(&rng) % 5;
        struct end *ends[2] = {&pair.client, &pair.server};
        tls_session_read(pair.client.session, pair.client.clear, 1);
        for (uint64_t i = 0; i < 5; i++) {
            struct end *from = ends[i % 2], *to = ends[1 - i % 2];
            if (tls_session_state(from->session) == TLS_OPEN)
                tls_session_write(from->session, "0123456789", 10);
            if (i == step && from->wire_bytes > 0)
                from->wire[tg_rng_next(&rng) % from->wire_bytes] ^= (uint8_t)(1u << seed % 8);
            carry(from, to, 4096);
        }
        for (size_t e = 0; e < 2; e++)
            for (size_t i = 0; i < ends[e]->clear_bytes; i++)
                cr_assert_eq(ends[e]->clear[i], '0' + i % 10, "seed %llu",
                             (unsigned long long)seed);
        pair_close(&pair);
    }
}

/* Cut off after any number of bytes: it waits, holds little, and can be thrown away. */
Test(tls, a_handshake_that_stops_anywhere_just_waits)
{
    struct pair whole;
    pair_open(&whole, server_of("server", NULL), client_of("ca", NULL));
    tls_session_read(whole.client.session, whole.client.clear, 1);
    for (size_t bytes = 0; bytes < whole.client.wire_bytes; bytes += 1 + bytes / 10) {
        struct end server;
        end_open(&server, whole.server_context, NULL);
        hear(&server, whole.client.wire, bytes, 4096);
        cr_assert_eq(tls_session_state(server.session), TLS_HANDSHAKE);
        cr_assert_eq(server.wire_bytes, 0);
        cr_assert_not(tls_session_write(server.session, "early", 5));
        end_close(&server);
    }
    pair_close(&whole);
}

Test(tls, output_without_room_fails_the_session)
{
    struct pair pair;
    pair_open(&pair, server_of("server", NULL), client_of("ca", NULL));
    pair.server.room = 100;
    talk(&pair.client, &pair.server, 4096);
    expect_failed(&pair.server, "its output found no room");
    pair_close(&pair);

    open_usual(&pair);
    pair.client.room = 5;
    cr_assert_not(tls_session_write(pair.client.session, "too much", 8));
    expect_failed(&pair.client, "its output found no room");
    pair_close(&pair);
}

Test(tls, a_client_says_so_when_the_peer_speaks_something_else)
{
    struct pair pair;
    open_usual(&pair);
    end_close(&pair.client);
    end_open(&pair.client, pair.client_context, "localhost");
    tls_session_read(pair.client.session, pair.client.clear, 1);
    hear(&pair.client, "\x05\x08\x01\x12\x01\x00 and more", 15, 100);
    expect_failed(&pair.client, "does not speak TLS here");
    pair_close(&pair);
}

Test(tls, a_name_that_is_none_is_refused)
{
    struct tls_context *context = client_of("ca", NULL);
    struct tls_session_options options = {.protocol = TLS_PROTOCOL_NATIVE, .name = ""};
    struct tls_session *session;
    struct tg_fault fault;
    char name[600];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    options.name = name;
    cr_assert_eq(tls_session_open(context, &options, &session, &fault), TG_ERR_INVALID);
    cr_assert_null(session);
    tls_context_close(context);
}

/* --- plain OpenSSL as the client --- */

struct raw {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
};

static void raw_open(struct raw *raw)
{
    raw->ctx = SSL_CTX_new(TLS_client_method());
    cr_assert_eq(SSL_CTX_load_verify_file(raw->ctx, certs_path(dir, "ca", "pem")), 1);
    SSL_CTX_set_verify(raw->ctx, SSL_VERIFY_PEER, NULL);
}

static void raw_connect(struct raw *raw)
{
    raw->ssl = SSL_new(raw->ctx);
    raw->in = BIO_new(BIO_s_mem());
    raw->out = BIO_new(BIO_s_mem());
    SSL_set_bio(raw->ssl, raw->in, raw->out);
    SSL_set_connect_state(raw->ssl);
}

static void raw_close(struct raw *raw)
{
    SSL_free(raw->ssl);
    SSL_CTX_free(raw->ctx);
}

/* Until neither has anything to say. The result of the last SSL_do_handshake. */
static int raw_talk(struct raw *raw, struct end *server)
{
    int result, said;
    char bytes[20000];
    do {
        result = SSL_do_handshake(raw->ssl);
        if (result == 1)
            SSL_read(raw->ssl, bytes, 1); /* tickets */
        said = BIO_read(raw->out, bytes, sizeof(bytes));
        if (said > 0)
            hear(server, bytes, (size_t)said, 4096);
        BIO_write(raw->in, server->wire, (int)server->wire_bytes);
    } while (said > 0 || server->wire_bytes > 0 ? (server->wire_bytes = 0, true) : false);
    return result;
}

Test(tls, a_client_of_1_2_is_served_unless_only_1_3_is)
{
    for (int only = 0; only < 2; only++) {
        struct tls_server_options options = {.certificate = certs_path(dir, "server", "pem"),
                                             .key = certs_path(dir, "server", "key"),
                                             .only_1_3 = only};
        struct tls_context *context;
        struct tg_fault fault;
        cr_assert_eq(tls_server_open(&options, &context, &fault), TG_ERR_OK, "%s", fault.text);
        struct raw raw;
        struct end server;
        char text[100], got[8];
        raw_open(&raw);
        SSL_CTX_set_max_proto_version(raw.ctx, TLS1_2_VERSION);
        raw_connect(&raw);
        end_open(&server, context, NULL);
        int result = raw_talk(&raw, &server);
        if (only) {
            expect_failed(&server, "unsupported protocol");
        } else {
            cr_assert_eq(result, 1);
            tls_session_describe(server.session, text, sizeof(text));
            cr_assert_str_eq(text, "TLSv1.2, ECDHE-ECDSA-AES256-GCM-SHA384");
            cr_assert(tls_session_write(server.session, "answer", 6));
            BIO_write(raw.in, server.wire, (int)server.wire_bytes);
            cr_assert_eq(SSL_read(raw.ssl, got, 8), 6);
        }
        raw_close(&raw);
        end_close(&server);
        tls_context_close(context);
    }
}

Test(tls, nothing_older_and_nothing_weak_is_spoken)
{
    static const char *const ciphers[] = {"AES128-GCM-SHA256@SECLEVEL=0",
                                          "ECDHE-ECDSA-AES128-SHA@SECLEVEL=0"};
    for (int i = 0; i < 4; i++) {
        struct tls_context *context = server_of("server", NULL);
        struct raw raw;
        struct end server;
        raw_open(&raw);
        SSL_CTX_set_max_proto_version(raw.ctx, i == 0   ? TLS1_VERSION
                                               : i == 1 ? TLS1_1_VERSION
                                                        : TLS1_2_VERSION);
        cr_assert_eq(SSL_CTX_set_cipher_list(raw.ctx, i < 2 ? "ALL@SECLEVEL=0" : ciphers[i - 2]),
                     1);
        raw_connect(&raw);
        end_open(&server, context, NULL);
        cr_assert_neq(raw_talk(&raw, &server), 1);
        expect_failed(&server, i < 2 ? "unsupported protocol" : "no shared cipher");
        raw_close(&raw);
        end_close(&server);
        tls_context_close(context);
    }
}

Test(tls, a_client_that_speaks_another_protocol_inside_is_refused)
{
    static const char *const offers[] = {"\x02h2", "\x02h2\x0atidegate/1", ""};
    for (int i = 0; i < 3; i++) {
        struct tls_context *context = server_of("server", NULL);
        struct raw raw;
        struct end server;
        raw_open(&raw);
        SSL_CTX_set_alpn_protos(raw.ctx, (const uint8_t *)offers[i], (unsigned)strlen(offers[i]));
        raw_connect(&raw);
        end_open(&server, context, NULL);
        cr_assert_eq(raw_talk(&raw, &server) == 1, i > 0);
        if (i == 0)
            expect_failed(&server, "no application protocol");
        raw_close(&raw);
        end_close(&server);
        tls_context_close(context);
    }
}

/* A client of 1.2 that asks for a new handshake within an open session. */
Test(tls, there_is_no_second_handshake)
{
    struct tls_context *context = server_of("server", NULL);
    struct raw raw;
    struct end server;
    raw_open(&raw);
    SSL_CTX_set_max_proto_version(raw.ctx, TLS1_2_VERSION);
    raw_connect(&raw);
    end_open(&server, context, NULL);
    cr_assert_eq(raw_talk(&raw, &server), 1);
    SSL_renegotiate(raw.ssl);
    cr_assert_neq(raw_talk(&raw, &server), 1);
    raw_close(&raw);
    end_close(&server);
    tls_context_close(context);
}

static SSL_SESSION *ticket;

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(ticket);
    ticket = session;
    return 1;
}

/* With certificates of clients there are no tickets: each is looked at anew. */
Test(tls, a_ticket_resumes_unless_clients_are_asked_who_they_are)
{
    for (int asks = 0; asks < 2; asks++) {
        struct tls_context *context = server_of("server", asks ? "ca" : NULL);
        struct raw raw;
        struct end server;
        raw_open(&raw);
        SSL_CTX_set_session_cache_mode(raw.ctx, SSL_SESS_CACHE_CLIENT);
        SSL_CTX_sess_set_new_cb(raw.ctx, keep_ticket);
        SSL_CTX_use_certificate_file(raw.ctx, certs_path(dir, "client", "pem"), SSL_FILETYPE_PEM);
        SSL_CTX_use_PrivateKey_file(raw.ctx, certs_path(dir, "client", "key"), SSL_FILETYPE_PEM);
        for (int round = 0; round < 2; round++) {
            raw_connect(&raw);
            if (ticket)
                SSL_set_session(raw.ssl, ticket);
            end_open(&server, context, NULL);
            cr_assert_eq(raw_talk(&raw, &server), 1);
            SSL_shutdown(raw.ssl);
            end_close(&server);
            if (round == 0)
                SSL_free(raw.ssl);
        }
        struct tls_stats stats;
        tls_context_stats(context, &stats);
        cr_assert_eq(stats.handshakes, 2);
        cr_assert_eq(stats.resumed, asks ? 0 : 1);
        SSL_SESSION_free(ticket);
        ticket = NULL;
        raw_close(&raw);
        tls_context_close(context);
    }
}

/* --- files --- */

static void expect_refused(const char *certificate, const char *key, const char *ca,
                           const char *word)
{
    struct tls_server_options options = {.certificate = certificate, .key = key, .client_ca = ca};
    struct tls_context *context;
    struct tg_fault fault;
    cr_assert_eq(tls_server_open(&options, &context, &fault), TG_ERR_INVALID, "%s", word);
    cr_assert_null(context);
    cr_assert_not_null(strstr(fault.text, word), "'%s' says nothing of '%s'", fault.text, word);
}

Test(tls, files_that_do_not_hold_together_are_refused_by_name)
{
    certs_make(dir, "locked", &(struct certs_wish){.passphrase = "secret"});
    FILE *file = fopen(certs_path(dir, "text", "pem"), "we");
    fputs("this is no certificate\n", file);
    fclose(file);
    const char *certificate = certs_path(dir, "server", "pem");
    const char *key = certs_path(dir, "server", "key");
    const char *text = certs_path(dir, "text", "pem");
    expect_refused("/nowhere/c.pem", key, NULL, "/nowhere/c.pem: No such file");
    expect_refused(certificate, "/nowhere/k.pem", NULL, "/nowhere/k.pem: No such file");
    expect_refused(certificate, key, "/nowhere/a.pem", "/nowhere/a.pem: No such file");
    expect_refused(text, key, NULL, "text.pem holds no certificate");
    expect_refused(certificate, text, NULL, "text.pem holds no private key");
    expect_refused(certificate, key, text, "text.pem holds no certificate");
    expect_refused(certificate, dir, NULL, "holds no private key");
    expect_refused(certificate, certs_path(dir, "client", "key"), NULL, "does not belong to");
    expect_refused(certs_path(dir, "locked", "pem"), certs_path(dir, "locked", "key"), NULL,
                   "has a passphrase");
}

Test(tls, a_client_without_its_key_is_refused)
{
    struct tls_client_options options = {.certificate = certs_path(dir, "client", "pem")};
    struct tls_context *context;
    struct tg_fault fault;
    cr_assert_eq(tls_client_open(&options, &context, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "the key is missing"), "%s", fault.text);
}

/* An expired certificate is told and taken: nobody's sale stays shut for it. */
Test(tls, what_is_only_doubtful_is_taken)
{
    certs_make(dir, "late", &(struct certs_wish){.from_s = -7200, .to_s = -3600});
    chmod(certs_path(dir, "late", "key"), 0644);
    tls_context_close(server_of("late", NULL));
}

Test(tls, rsa_works_as_well)
{
    struct pair pair;
    certs_make(dir, "rsa",
               &(struct certs_wish){.signer = "ca", .names = "DNS:localhost", .is_rsa = true});
    pair_open(&pair, server_of("rsa", NULL), client_of("ca", NULL));
    talk(&pair.client, &pair.server, 4096);
    expect_open(&pair);
    pair_close(&pair);
}

Test(tls, a_reload_is_for_new_sessions_and_a_bad_one_for_none)
{
    struct pair before, after;
    struct tg_fault fault;
    certs_make(dir, "site", &(struct certs_wish){.signer = "ca", .names = "DNS:localhost"});
    pair_open(&before, server_of("site", NULL), client_of("ca", NULL));
    talk(&before.client, &before.server, 4096);

    /* Signed by another: who believes the first no longer gets in, who is in stays. */
    certs_make(dir, "site", &(struct certs_wish){.signer = "stranger", .names = "DNS:localhost"});
    cr_assert_eq(tls_context_reload(before.server_context, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert(tls_session_write(before.client.session, "go on", 5));
    carry(&before.client, &before.server, 4096);
    cr_assert_eq(before.server.clear_bytes, 5);
    after.client_context = client_of("stranger", NULL);
    end_open(&after.server, before.server_context, NULL);
    end_open(&after.client, after.client_context, "localhost");
    talk(&after.client, &after.server, 4096);
    cr_assert_eq(tls_session_state(after.client.session), TLS_OPEN, "%s",
                 tls_session_why(after.client.session));
    end_close(&after.server);
    end_close(&after.client);

    /* The certificate is new, the key is not yet: the second one stays in force. */
    cr_assert_eq(rename(certs_path(dir, "client", "pem"), certs_path(dir, "site", "pem")), 0);
    cr_assert_eq(tls_context_reload(before.server_context, &fault), TG_ERR_INVALID);
    end_open(&after.server, before.server_context, NULL);
    end_open(&after.client, after.client_context, "localhost");
    talk(&after.client, &after.server, 4096);
    cr_assert_eq(tls_session_state(after.client.session), TLS_OPEN);
    end_close(&after.server);
    end_close(&after.client);
    tls_context_close(after.client_context);
    pair_close(&before);
}

/* --- memory --- */

/* What is allocated in this process; 0 under a sanitizer, whose allocator does not tell. */
static size_t allocated(void)
{
    return mallinfo2().uordblks;
}

static void expect_within(const struct tls_session *session, size_t before, size_t most,
                          const char *when)
{
    size_t bytes = allocated() - before;
    cr_assert_lt(bytes, most, "%zu bytes %s, %s", bytes, when, tls_session_why(session));
}

/* Between calls: in the handshake, with a record cut off, and when nothing is under way. */
Test(tls, a_session_stays_within_what_is_promised)
{
    struct pair pair;
    uint8_t some[10000] = {0};
    open_usual(&pair); /* what OpenSSL keeps for the process */
    pair_close(&pair);
    pair_open(&pair, server_of("server", "ca"), client_of("ca", "client"));
    tls_session_close(pair.server.session);
    tls_session_read(pair.client.session, pair.client.clear, 1);

    size_t before = allocated();
    struct tls_session_options options = {
        .protocol = TLS_PROTOCOL_NATIVE, .out = on_out, .out_context = &pair.server};
    cr_assert_eq(tls_session_open(pair.server_context, &options, &pair.server.session, NULL),
                 TG_ERR_OK);
    const struct tls_session *session = pair.server.session;
    hear(&pair.server, pair.client.wire, pair.client.wire_bytes, 4096);
    expect_within(session, before, TLS_SESSION_BYTES_MAX, "in the handshake");

    pair.client.wire_bytes = 0;
    carry(&pair.server, &pair.client, 4096);
    carry(&pair.client, &pair.server, 4096);
    expect_open(&pair);
    cr_assert(tls_session_write(pair.client.session, some, sizeof(some)));
    size_t client_rest = pair.client.wire_bytes;
    hear(&pair.server, pair.client.wire, client_rest - 1, 4096);
    expect_within(session, before, TLS_SESSION_BYTES_MAX, "with a cut record");
    hear(&pair.server, pair.client.wire + client_rest - 1, 1, 4096);
    pair.client.wire_bytes = 0;

    size_t open = allocated();
    tls_session_close(pair.server.session);
    pair.server.session = NULL;
    size_t idle = open - allocated();
    cr_assert_lt(idle, TLS_SESSION_BYTES, "%zu bytes while it waits", idle);
    pair_close(&pair);
}
