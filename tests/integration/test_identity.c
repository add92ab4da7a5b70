/* Callers with tokens, without, and with the wrong ones: what each may do, and that nobody else
 * notices. */
#include "base/clock.h"
#include "base/log.h"
#include "base/token.h"
#include "server/roles.h"
#include "tests/lib/caller.h"
#include "tests/lib/peer.h"
#include "tests/lib/run.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TIMEOUT_MS 30000

/* A daemon that asks for tokens, and its file. */
struct gate {
    struct daemon daemon;
    char path[64];
};

static void write_tokens(const struct gate *gate, const char *text)
{
    FILE *file = fopen(gate->path, "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(gate->path, 0600), 0);
}

/* Makes a token of `roles` and appends its line. */
static void grant(const struct gate *gate, const char *id, const char *tenant, uint32_t roles,
                  char token[TG_TOKEN_BYTES_MAX + 1])
{
    struct tg_token_entry entry = {.roles = roles};
    char line[TG_TOKEN_LINE_BYTES];
    cr_assert(tg_token_make(id, token));
    snprintf(entry.id, sizeof(entry.id), "%s", id);
    snprintf(entry.tenant, sizeof(entry.tenant), "%s", tenant);
    tg_token_hash(token, strlen(token), entry.hash);
    tg_token_line(&entry, line);
    FILE *file = fopen(gate->path, "ae");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(line, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static void gate_prepare(struct gate *gate)
{
    *gate = (struct gate){.path = "/tmp/tidegate-tokens-XXXXXX"};
    int fd = mkstemp(gate->path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void gate_start(struct gate *gate, const char *more)
{
    char option[128];
    snprintf(option, sizeof(option), "security.token_file=%s", gate->path);
    daemon_start(&gate->daemon, "--set", option, "--set", more ? more : option, NULL);
}

/* Who shows `token` may do everything; `other` (may be NULL) has its id and is not in force. */
static void gate_open(struct gate *gate, char token[TG_TOKEN_BYTES_MAX + 1],
                      char other[TG_TOKEN_BYTES_MAX + 1], const char *more)
{
    gate_prepare(gate);
    grant(gate, "all", "shop", TG_ROLES_ALL, token);
    cr_assert(!other || tg_token_make("all", other));
    gate_start(gate, more);
}

static void gate_end(struct gate *gate)
{
    daemon_end(&gate->daemon);
    unlink(gate->path);
}

static void reload(const struct gate *gate)
{
    cr_assert_eq(kill(gate->daemon.pid, SIGHUP), 0);
}

static enum tg_error open_client(const struct gate *gate, const char *token,
                                 struct tgc_client **client, struct tg_fault *fault)
{
    return tgc_open(&(struct tgc_options){.server = gate->daemon.address, .token = token}, client,
                    fault);
}

static struct tgc_client *client_of(const struct gate *gate, const char *token)
{
    struct tgc_client *client;
    struct tg_fault fault;
    cr_assert_eq(open_client(gate, token, &client, &fault), TG_ERR_OK, "%s", fault.text);
    return client;
}

/* Asks for the time, which every token may; the error. */
static enum tg_error ask(struct tgc_client *client, struct tg_fault *fault)
{
    Tidegate__V1__GetServerTimeRequest body = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__Response *response;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &body;
    enum tg_error error = tgc_call(client, &request, TIMEOUT_MS, &response, fault);
    tgc_response_free(response);
    return error;
}

/* Sends a request of this kind whose body is `bytes`, as raw protobuf. */
static void send_kind(struct peer *peer, uint32_t kind, uint64_t correlation_id, const void *bytes,
                      size_t size)
{
    uint8_t body[512], *end = peer_put_number(body, 1, correlation_id);
    end = peer_put_bytes(end, kind, bytes, size);
    peer_frame(peer, body, (size_t)(end - body));
}

static void authenticate(struct peer *peer, const char *token)
{
    uint8_t body[256], *end = peer_put_bytes(body, 1, token, strlen(token));
    send_kind(peer, TIDEGATE__V1__REQUEST__KIND_AUTHENTICATE, 1, body, (size_t)(end - body));
}

/* The next answer to it must be an OK for this tenant. */
static void expect_authenticated(struct peer *peer, const char *tenant, size_t roles)
{
    Tidegate__V1__Response *response = peer_response(peer);
    cr_assert_not_null(response);
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_AUTHENTICATE);
    cr_assert_eq(response->authenticate->verdict, TIDEGATE__V1__VERDICT__VERDICT_OK);
    cr_assert_str_eq(response->authenticate->tenant, tenant);
    cr_assert_eq(response->authenticate->n_roles, roles);
    tidegate__v1__response__free_unpacked(response, NULL);
}

/* The next answer must be this error, and its words hold `word`. */
static void expect_refused(struct peer *peer, Tidegate__V1__ErrorCode code, const char *word)
{
    Tidegate__V1__Response *response = peer_response(peer);
    cr_assert_not_null(response);
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_ERROR, "kind %d",
                 response->kind_case);
    cr_assert_eq(response->error->code, code, "%d: %s", response->error->code,
                 response->error->message);
    cr_assert_not_null(strstr(response->error->message, word), "'%s' without '%s'",
                       response->error->message, word);
    tidegate__v1__response__free_unpacked(response, NULL);
}

#define UNAUTHENTICATED   TIDEGATE__V1__ERROR_CODE__ERROR_CODE_UNAUTHENTICATED
#define PERMISSION_DENIED TIDEGATE__V1__ERROR_CODE__ERROR_CODE_PERMISSION_DENIED

Test(identity, with_tokens_a_caller_works_as_without)
{
    struct gate gate;
    char token[TG_TOKEN_BYTES_MAX + 1];
    gate_open(&gate, token, NULL, NULL);
    struct tgc_client *client = client_of(&gate, token);
    sale_create(client, 1, "A", 10, 0);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    struct tg_fault fault;
    cr_assert_eq(tgc_reconnect(client, 0, &fault), TG_ERR_OK, "%s", fault.text);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    cr_assert_eq(sale_list(client, 0, NULL, NULL), 2);
    tgc_close(client);
    gate_end(&gate);
}

Test(identity, a_daemon_without_tokens_takes_every_token)
{
    struct daemon daemon = {0};
    struct peer peer;
    daemon_start(&daemon, NULL);
    peer_open(&peer, &daemon);
    authenticate(&peer, "whatever");
    expect_authenticated(&peer, "", TG_ROLE_COUNT);
    send_kind(&peer, TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME, 2, NULL, 0);
    Tidegate__V1__Response *response = peer_response(&peer);
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME);
    tidegate__v1__response__free_unpacked(response, NULL);
    peer_close(&peer);
    daemon_end(&daemon);
}

Test(identity, without_a_token_nothing_is_done_and_the_connection_stays)
{
    struct gate gate;
    char token[TG_TOKEN_BYTES_MAX + 1];
    gate_open(&gate, token, NULL, NULL);
    struct tgc_client *client = client_of(&gate, token);
    sale_create(client, 1, "A", 10, 0);
    struct peer peer;
    peer_open(&peer, &gate.daemon);
    struct tg_order order = sale_order(1, "A", 1, 1);
    uint8_t frame[TG_ORDER_FRAME_BYTES_MAX];
    size_t size = tg_order_frame(frame, 9, &order);
    peer_send(&peer, frame, size);
    peer_expect_error(&peer, UNAUTHENTICATED, 9);
    send_kind(&peer, 63, 3, NULL, 0);
    expect_refused(&peer, UNAUTHENTICATED, "send AuthenticateRequest first");
    cr_assert_eq(sale_available(client, 1, "A"), 10);
    authenticate(&peer, token);
    expect_authenticated(&peer, "shop", TG_ROLE_COUNT);
    peer_send(&peer, frame, size);
    Tidegate__V1__Response *response = peer_response(&peer);
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER);
    tidegate__v1__response__free_unpacked(response, NULL);
    cr_assert_eq(sale_available(client, 1, "A"), 9);
    authenticate(&peer, ""); /* signs out */
    expect_authenticated(&peer, "", 0);
    peer_send(&peer, frame, size);
    peer_expect_error(&peer, UNAUTHENTICATED, 9);
    peer_close(&peer);
    tgc_close(client);
    gate_end(&gate);
}

/* What becomes of a request of this kind whose body is `bytes`, with `role` alone: an answer of its
 * kind, whatever that says, or a refusal that names what it takes. */
static void try_pair(struct peer *peer, const char *name, uint32_t kind, const void *bytes,
                     size_t size, uint32_t role, uint32_t takes)
{
    char needs[TG_ROLES_TEXT_BYTES], has[TG_ROLES_TEXT_BYTES], words[192];
    send_kind(peer, kind, 7, bytes, size);
    if (!(role & takes)) {
        snprintf(words, sizeof(words), "takes the role %s; token one has %s",
                 tg_roles_text(takes, " or ", needs), tg_roles_text(role, ",", has));
        expect_refused(peer, PERMISSION_DENIED, words);
        return;
    }
    Tidegate__V1__Response *response = peer_response(peer);
    cr_assert_not_null(response, "%s", name);
    cr_assert_eq((uint32_t)response->kind_case, kind, "%s is answered by kind %d", name,
                 response->kind_case);
    tidegate__v1__response__free_unpacked(response, NULL);
}

/* Every kind of the contract, by its descriptor: a new one is tried as well. */
static void try_role(struct gate *gate, const char *token, uint32_t role)
{
    struct peer peer;
    uint8_t change[16];
    const ProtobufCMessageDescriptor *requests = &tidegate__v1__request__descriptor;
    const ProtobufCMessageDescriptor *changes = &tidegate__v1__change_order_request__descriptor;
    for (unsigned i = 0; i < requests->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &requests->fields[i];
        uint32_t takes = field->id < SRV_KINDS_MAX ? srv_roles_of_kind[field->id] : 0;
        if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) || takes == SRV_ROLES_NONE_NEEDED)
            continue;
        peer_open(&peer, &gate->daemon);
        authenticate(&peer, token);
        expect_authenticated(&peer, "shop", 1);
        try_pair(&peer, field->name, field->id, NULL, 0, role, takes);
        peer_close(&peer);
    }
    peer_open(&peer, &gate->daemon);
    authenticate(&peer, token);
    expect_authenticated(&peer, "shop", 1);
    for (unsigned i = 0; i < changes->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &changes->fields[i];
        if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
            continue;
        uint8_t *end = peer_put_bytes(change, field->id, NULL, 0);
        uint32_t takes = srv_roles_of_change[field->id];
        uint32_t outer = srv_roles_of_kind[TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER];
        try_pair(&peer, field->name, TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER, change,
                 (size_t)(end - change), role, role & outer ? takes : outer);
    }
    peer_close(&peer);
}

Test(identity, each_role_may_send_what_its_table_says_and_nothing_else)
{
    struct gate gate;
    char all[TG_TOKEN_BYTES_MAX + 1], one[TG_TOKEN_BYTES_MAX + 1];
    for (uint32_t role = 1; role <= TG_ROLES_ALL; role <<= 1) {
        gate_prepare(&gate);
        grant(&gate, "all", "shop", TG_ROLES_ALL, all);
        grant(&gate, "one", "shop", role, one);
        gate_start(&gate, NULL);
        struct tgc_client *client = client_of(&gate, all);
        sale_create(client, 1, "A", 10, 0);
        sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED); /* an event to push */
        try_role(&gate, one, role);
        tgc_close(client);
        gate_end(&gate);
    }
}

Test(identity, a_bad_token_ends_who_the_connection_was)
{
    struct gate gate;
    char token[TG_TOKEN_BYTES_MAX + 1], other[TG_TOKEN_BYTES_MAX + 1];
    gate_open(&gate, token, other, NULL);
    struct peer peer;
    peer_open(&peer, &gate.daemon);
    authenticate(&peer, token);
    expect_authenticated(&peer, "shop", TG_ROLE_COUNT);
    authenticate(&peer, other);
    expect_refused(&peer, UNAUTHENTICATED, "not in force");
    send_kind(&peer, TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME, 2, NULL, 0);
    expect_refused(&peer, UNAUTHENTICATED, "not in force");
    authenticate(&peer, token);
    expect_authenticated(&peer, "shop", TG_ROLE_COUNT);
    peer_close(&peer);
    struct tgc_client *client;
    struct tg_fault fault;
    cr_assert_eq(open_client(&gate, other, &client, &fault), TG_ERR_DENIED, "%s", fault.text);
    cr_assert_null(client);
    cr_assert_eq(open_client(&gate, "tg_x", &client, &fault), TG_ERR_DENIED, "%s", fault.text);
    gate_end(&gate);
}

Test(identity, a_removed_token_ends_on_open_connections_and_the_others_go_on)
{
    struct gate gate;
    char old[TG_TOKEN_BYTES_MAX + 1], kept[TG_TOKEN_BYTES_MAX + 1];
    gate_prepare(&gate);
    grant(&gate, "kept", "shop", TG_ROLES_ALL, kept);
    char *one = NULL;
    FILE *file = fopen(gate.path, "re");
    size_t room = 0;
    cr_assert(getline(&one, &room, file) > 0);
    fclose(file);
    grant(&gate, "old", "shop", TG_ROLES_ALL, old);
    gate_start(&gate, NULL);
    struct tgc_client *stays = client_of(&gate, kept), *goes = client_of(&gate, old);
    struct tg_fault fault;
    cr_assert_eq(ask(stays, &fault), TG_ERR_OK);
    cr_assert_eq(ask(goes, &fault), TG_ERR_OK);
    write_tokens(&gate, one);
    reload(&gate);
    daemon_log_wait(&gate.daemon, "1 tokens in force");
    daemon_log_wait(&gate.daemon, "configuration read again");
    cr_assert_eq(ask(goes, &fault), TG_ERR_DENIED);
    cr_assert_not_null(strstr(fault.text, "not in force any more"), "%s", fault.text);
    cr_assert_eq(ask(stays, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(tgc_authenticate(goes, kept, TIMEOUT_MS, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(ask(goes, &fault), TG_ERR_OK, "%s", fault.text);
    /* A bad file leaves the old one in force. */
    write_tokens(&gate, "token x\n");
    reload(&gate);
    daemon_log_wait(&gate.daemon, "the tokens stay as they were");
    cr_assert(daemon_log_has(&gate.daemon, "line 1: a token is"));
    cr_assert_eq(ask(stays, &fault), TG_ERR_OK, "%s", fault.text);
    tgc_close(stays);
    tgc_close(goes);
    free(one);
    gate_end(&gate);
}

/* --- tidegatectl --- */

/* Runs it to its end with this exit status; `words`, when there are any, must stand in what it
 * says. */
static void expect_run(struct run *run, int status, const char *words)
{
    run_wait(run);
    cr_assert_eq(run->status, status, "%d: %s%s", run->status, run->out, run->err);
    cr_assert(!words || strstr(run->out, words) || strstr(run->err, words), "%s%s without '%s'",
              run->out, run->err, words);
}

/* Keeps a token where --token-file finds it. */
static void write_secret(const char *path, const char *token, mode_t mode)
{
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(token, file), 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(path, mode), 0);
}

Test(identity, tidegatectl_makes_shows_and_revokes_tokens)
{
    struct gate gate;
    struct run run;
    char secret[96];
    gate_prepare(&gate);
    write_tokens(&gate, "# kept"); /* without an end of its line */
    run_start(&run, "tidegatectl", "token", "create", "--tenant", "shop", "--role", "read", "--id",
              "watcher", "--file", gate.path, NULL);
    expect_run(&run, 0, "tg_watcher_");
    snprintf(secret, sizeof(secret), "%s.secret", gate.path);
    write_secret(secret, run.out, 0600);
    run_free(&run);
    run_start(&run, "tidegatectl", "token", "create", "--tenant", "shop", "--role", "operate",
              "--id", "watcher", "--file", gate.path, NULL);
    expect_run(&run, 2, "has a token watcher already");
    run_free(&run);
    gate_start(&gate, NULL);

    run_start(&run, "tidegatectl", "--server", gate.daemon.address, "time", NULL);
    expect_run(&run, 1, "send AuthenticateRequest first");
    run_free(&run);
    run_start(&run, "tidegatectl", "--server", gate.daemon.address, "--token-file", secret, "time",
              NULL);
    expect_run(&run, 0, NULL);
    run_free(&run);
    run_start(&run, "tidegatectl", "--server", gate.daemon.address, "--token-file", secret, "sale",
              "close", "1", NULL);
    expect_run(&run, 1, "takes the role operate; token watcher has read");
    run_free(&run);
    write_secret(secret, "tg_watcher_ no token", 0600);
    run_start(&run, "tidegatectl", "--server", gate.daemon.address, "--token-file", secret, "time",
              NULL);
    expect_run(&run, 2, "holds no token");
    cr_assert_null(strstr(run.err, "tg_watcher_"), "what stands there is not repeated");
    run_free(&run);
    write_secret(secret, "x", 0604);
    run_start(&run, "tidegatectl", "--server", gate.daemon.address, "--token-file", secret, "time",
              NULL);
    expect_run(&run, 2, "chmod o-rwx");
    run_free(&run);

    run_start(&run, "tidegatectl", "token", "list", "--file", gate.path, NULL);
    expect_run(&run, 0, "watcher  shop    read");
    run_free(&run);
    struct stat before, after;
    gid_t group = geteuid() == 0 ? 1 : getegid(); /* of whom the daemon would be */
    cr_assert_eq(chown(gate.path, (uid_t)-1, group), 0);
    cr_assert_eq(chmod(gate.path, 0640), 0);
    cr_assert_eq(stat(gate.path, &before), 0);
    run_start(&run, "tidegatectl", "token", "revoke", "watcher", "--file", gate.path, NULL);
    expect_run(&run, 0, "send the daemon SIGHUP");
    run_free(&run);
    cr_assert_eq(stat(gate.path, &after), 0);
    cr_assert(after.st_uid == before.st_uid && after.st_gid == before.st_gid &&
                  after.st_mode == before.st_mode,
              "the daemon may not read what is left");
    run_start(&run, "tidegatectl", "token", "revoke", "watcher", "--file", gate.path, NULL);
    expect_run(&run, 1, "has no token watcher");
    run_free(&run);
    char left[64] = "";
    FILE *file = fopen(gate.path, "re");
    cr_assert_not_null(file);
    cr_assert_eq(fread(left, 1, sizeof(left), file), 7);
    cr_assert_str_eq(left, "# kept\n");
    fclose(file);
    unlink(secret);
    gate_end(&gate);
}

/* --- refused tokens are answered late --- */

Test(identity, each_refused_token_of_an_address_waits_longer_and_nobody_else_waits)
{
    struct gate gate;
    char token[TG_TOKEN_BYTES_MAX + 1], other[TG_TOKEN_BYTES_MAX + 1];
    gate_open(&gate, token, other, NULL);
    struct tgc_client *client = client_of(&gate, token);
    struct peer peers[4];
    struct tg_fault fault;
    int64_t sent_ns = tg_clock_mono_ns();
    for (int i = 0; i < 4; i++) {
        peer_open(&peers[i], &gate.daemon);
        authenticate(&peers[i], other);
        /* What is sent behind it is answered no sooner: it would tell the same. */
        send_kind(&peers[i], TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME, 2, NULL, 0);
    }
    sale_create(client, 1, "A", 10, 0); /* from the same address, meanwhile */
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    cr_assert_eq(tgc_authenticate(client, token, TIMEOUT_MS, &fault), TG_ERR_OK);
    for (int i = 0; i < 4; i++) {
        expect_refused(&peers[i], UNAUTHENTICATED, "not in force");
        expect_refused(&peers[i], UNAUTHENTICATED, "not in force");
    }
    cr_assert_geq(tg_clock_mono_ns() - sent_ns, 800 * TG_NS_PER_MS, "the fourth waits for 0.8 s");
    for (int i = 0; i < 4; i++)
        peer_close(&peers[i]);
    tgc_close(client);
    gate_end(&gate);
}

Test(identity, who_asks_on_and_on_with_a_refused_token_loses_the_connection)
{
    struct gate gate;
    char token[TG_TOKEN_BYTES_MAX + 1], other[TG_TOKEN_BYTES_MAX + 1];
    gate_open(&gate, token, other, NULL);
    struct peer peer;
    peer_open(&peer, &gate.daemon);
    for (int i = 0; i < 17; i++)
        authenticate(&peer, other);
    expect_refused(&peer, UNAUTHENTICATED, "too many requests");
    for (int i = 0; i < 16; i++) /* these are still said in their time */
        expect_refused(&peer, UNAUTHENTICATED, "not in force");
    peer_expect_end(&peer);
    peer_close(&peer);
    struct tgc_client *client = client_of(&gate, token);
    struct tg_fault fault;
    cr_assert_eq(ask(client, &fault), TG_ERR_OK, "%s", fault.text);
    tgc_close(client);
    gate_end(&gate);
}

Test(identity, a_drain_does_not_wait_for_late_answers)
{
    struct gate gate;
    char other[TG_TOKEN_BYTES_MAX + 1];
    gate_prepare(&gate);
    cr_assert(tg_token_make("all", other));
    gate_start(&gate, NULL);
    struct peer peer;
    peer_open(&peer, &gate.daemon);
    for (int i = 0; i < 10; i++)
        authenticate(&peer, other);
    expect_refused(&peer, UNAUTHENTICATED, "not in force"); /* all have been looked at */
    cr_assert_eq(kill(gate.daemon.pid, SIGTERM), 0);
    for (int i = 0; i < 9; i++)
        expect_refused(&peer, UNAUTHENTICATED, "not in force");
    peer_expect_end(&peer);
    cr_assert_eq(daemon_wait(&gate.daemon), 0);
    peer_close(&peer);
    gate_end(&gate);
}

/* --- limits --- */

Test(identity, a_tenant_over_its_limit_is_told_when_to_come_again_and_the_others_go_on)
{
    struct gate gate;
    char slow[TG_TOKEN_BYTES_MAX + 1], free_one[TG_TOKEN_BYTES_MAX + 1];
    gate_prepare(&gate);
    write_tokens(&gate, "tenant slow requests_per_s=2 orders_per_s=3\n");
    grant(&gate, "s", "slow", TG_ROLES_ALL, slow);
    grant(&gate, "f", "free", TG_ROLES_ALL, free_one);
    gate_start(&gate, NULL);
    struct tgc_client *fast = client_of(&gate, free_one);
    sale_create(fast, 1, "A", 1000, 0);
    struct tgc_client *client = client_of(&gate, slow);
    struct tg_fault fault;
    cr_assert_eq(ask(client, &fault), TG_ERR_OK);
    cr_assert_eq(ask(client, &fault), TG_ERR_OK);
    cr_assert_eq(ask(client, &fault), TG_ERR_LIMITED, "%s", fault.text);
    cr_assert(tgc_retry_after_ms(client) > 0 && tgc_retry_after_ms(client) <= 500);
    uint32_t accepted = 0, busy = 0;
    for (int i = 0; i < 20; i++) {
        struct tg_order order = sale_order(1, "A", 1, 1);
        struct tg_answer answer = sale_place(client, &order);
        accepted += answer.verdict == TG_ACCEPTED;
        busy +=
            answer.verdict == TG_BUSY && answer.retry_after_ms > 0 && answer.retry_after_ms <= 334;
    }
    cr_assert_eq(accepted + busy, 20);
    cr_assert_geq(accepted, 3);
    cr_assert_geq(busy, 1, "twenty orders took more than five seconds");
    for (int i = 0; i < 50; i++) {
        sale_assert_verdict(sale_buy(fast, 1, "A", 2, 1), TG_ACCEPTED);
        cr_assert_eq(ask(fast, &fault), TG_ERR_OK);
    }
    /* Whoever heeds the hint gets there: an order by its verdict, a request by its error. */
    struct tg_order order = sale_order(1, "A", 3, 1);
    struct tg_answer answer;
    cr_assert_eq(tgc_place_order(client, &order, TIMEOUT_MS, &answer, &fault), TG_ERR_OK);
    cr_assert_eq(answer.verdict, TG_ACCEPTED);
    cr_assert_eq(sale_available(fast, 1, "A"), 1000 - accepted - 50 - 1,
                 "what was BUSY did nothing");
    tgc_close(client);
    tgc_close(fast);
    gate_end(&gate);
}

/* Sends a frame of a kind that places orders; the verdict and the hint must be BUSY's. */
static void expect_busy(struct peer *peer, uint32_t kind, const void *bytes, size_t size)
{
    send_kind(peer, kind, 5, bytes, size);
    Tidegate__V1__Response *response = peer_response(peer);
    cr_assert_not_null(response);
    cr_assert_eq((uint32_t)response->kind_case, kind);
    struct tgc_outcome outcome = tgc_outcome_of(response);
    cr_assert_eq(outcome.verdict, TG_BUSY, "kind %u: %d", kind, outcome.verdict);
    cr_assert_geq(outcome.retry_after_ms, 1000);
    tidegate__v1__response__free_unpacked(response, NULL);
}

Test(identity, every_kind_that_places_orders_is_told_busy_and_counts_each_order)
{
    struct gate gate;
    char token[TG_TOKEN_BYTES_MAX + 1];
    uint8_t orders[64], *end = orders;
    gate_prepare(&gate);
    grant(&gate, "a", "shop", TG_ROLES_ALL, token);
    gate_start(&gate, "security.orders_per_s=1");
    struct peer peer;
    peer_open(&peer, &gate.daemon);
    authenticate(&peer, token);
    expect_authenticated(&peer, "shop", TG_ROLE_COUNT);
    for (int i = 0; i < 30; i++)
        end = peer_put_bytes(end, 1, NULL, 0);
    /* Let in whole, and paid for in the half minute that follows. */
    send_kind(&peer, TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS, 4, orders, (size_t)(end - orders));
    Tidegate__V1__Response *response = peer_response(&peer);
    cr_assert_eq(response->place_orders->n_results, 30);
    tidegate__v1__response__free_unpacked(response, NULL);
    expect_busy(&peer, TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER, NULL, 0);
    expect_busy(&peer, TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS, orders, 2);
    expect_busy(&peer, TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS, orders, 2);
    expect_busy(&peer, TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM, NULL, 0);
    expect_busy(&peer, TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM, NULL, 0);
    send_kind(&peer, TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME, 6, NULL, 0);
    response = peer_response(&peer);
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME,
                 "requests have a bucket of their own");
    tidegate__v1__response__free_unpacked(response, NULL);
    peer_close(&peer);
    gate_end(&gate);
}

/* --- consumers --- */

Test(identity, a_removed_token_ends_its_subscriptions_and_polls)
{
    struct gate gate;
    char old[TG_TOKEN_BYTES_MAX + 1], kept[TG_TOKEN_BYTES_MAX + 1];
    gate_prepare(&gate);
    grant(&gate, "kept", "shop", TG_ROLES_ALL, kept);
    grant(&gate, "old", "shop", TG_ROLE_CONSUME, old);
    gate_start(&gate, NULL);
    struct tgc_client *client = client_of(&gate, kept);
    sale_create(client, 1, "A", 10, 0);
    Tidegate__V1__CreateGroupRequest create = TIDEGATE__V1__CREATE_GROUP_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    create.group = (char *)"erp";
    create.from_now = true;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP;
    request.create_group = &create;
    tgc_response_free(sale_call(client, &request));
    struct peer peer;
    uint8_t body[64], *end = peer_put_bytes(body, 1, "erp", 3);
    peer_open(&peer, &gate.daemon);
    authenticate(&peer, old);
    expect_authenticated(&peer, "shop", 1);
    send_kind(&peer, TIDEGATE__V1__REQUEST__KIND_SUBSCRIBE_EVENTS, 8, body, (size_t)(end - body));
    send_kind(&peer, TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME, 9, NULL, 0);
    Tidegate__V1__Response *response = peer_response(&peer); /* the other one waits now */
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME);
    tidegate__v1__response__free_unpacked(response, NULL);
    char line[256] = "";
    FILE *file = fopen(gate.path, "re");
    cr_assert_not_null(fgets(line, sizeof(line), file));
    fclose(file);
    write_tokens(&gate, line);
    reload(&gate);
    peer_expect_error(&peer, UNAUTHENTICATED, 8);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED); /* it is not told of this */
    send_kind(&peer, TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME, 10, NULL, 0);
    peer_expect_error(&peer, UNAUTHENTICATED, 10);
    peer_close(&peer);
    tgc_close(client);
    gate_end(&gate);
}

/* --- gRPC --- */

/* The status of a call that shows this token. */
static int call_with(struct caller *caller, const char *token)
{
    static int calls;
    char value[16 + TG_TOKEN_BYTES_MAX];
    snprintf(value, sizeof(value), "%s %s", calls++ % 2 ? "bearer" : "Bearer", token);
    struct caller_call *call = caller_say(caller, "GetServerTime", "authorization", value, "", 0);
    caller_wait(caller, call);
    return call->status;
}

Test(identity, a_channel_whose_token_came_too_early_is_let_in_once_it_is_in_force)
{
    struct gate gate;
    char token[TG_TOKEN_BYTES_MAX + 1], line[TG_TOKEN_LINE_BYTES];
    gate_prepare(&gate);
    grant(&gate, "early", "shop", TG_ROLE_READ, token);
    FILE *file = fopen(gate.path, "re");
    cr_assert_not_null(fgets(line, sizeof(line), file));
    fclose(file);
    write_tokens(&gate, "# none yet\n");
    gate_start(&gate, "grpc.listen=127.0.0.1:0");
    struct caller *caller = caller_open(&gate.daemon, 65535);
    cr_assert_eq(call_with(caller, token), 16);
    write_tokens(&gate, line);
    reload(&gate);
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    while (call_with(caller, token) != 0)
        cr_assert(tg_clock_mono_ns() < deadline_ns, "its channel is refused for good");
    write_tokens(&gate, "# gone\n"); /* and back: it is another principal, on the same channel */
    reload(&gate);
    while (call_with(caller, token) == 0) {
        cr_assert(tg_clock_mono_ns() < deadline_ns, "it is still in force");
        usleep(100000);
    }
    write_tokens(&gate, line);
    reload(&gate);
    while (call_with(caller, token) != 0)
        cr_assert(tg_clock_mono_ns() < deadline_ns, "its channel is refused for good");
    caller_close(caller);
    gate_end(&gate);
}

Test(identity, who_calls_on_and_on_with_refused_tokens_loses_the_channel)
{
    struct gate gate;
    char token[TG_TOKEN_BYTES_MAX + 1], other[TG_TOKEN_BYTES_MAX + 1];
    gate_open(&gate, token, other, "grpc.listen=127.0.0.1:0");
    struct caller *caller = caller_open(&gate.daemon, 65535);
    char value[TG_TOKEN_BYTES_MAX + 16];
    snprintf(value, sizeof(value), "Bearer %s", other);
    struct caller_call *calls[17];
    for (int i = 0; i < 17; i++)
        calls[i] = caller_say(caller, "GetServerTime", "authorization", value, NULL, 0);
    caller_wait_end(caller);
    for (int i = 0; i < 17; i++)
        cr_assert(calls[i]->status != 0);
    cr_assert(caller->heard_goaway);
    caller_close(caller);
    caller = caller_open(&gate.daemon, 65535);
    cr_assert_eq(call_with(caller, token), 0);
    caller_close(caller);
    gate_end(&gate);
}

/* --- the audit log --- */

/* Waits until a line of the file holds all of these words, up to a NULL. */
static void await_line(const char *path, ...) __attribute__((sentinel));

static bool holds_all(const char *line, va_list words)
{
    const char *word;
    while ((word = va_arg(words, const char *)))
        if (!strstr(line, word))
            return false;
    return true;
}

static void await_line(const char *path, ...)
{
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    for (;;) {
        char line[4096];
        FILE *file = fopen(path, "re");
        bool found = false;
        while (file && !found && fgets(line, sizeof(line), file)) {
            va_list words;
            va_start(words, path);
            found = holds_all(line, words);
            va_end(words);
        }
        if (file)
            fclose(file);
        if (found)
            return;
        cr_assert(tg_clock_mono_ns() < deadline_ns, "no such line in %s", path);
        usleep(1000);
    }
}

static bool file_has(const char *path, const char *word)
{
    char line[4096];
    FILE *file = fopen(path, "re");
    bool found = false;
    while (file && !found && fgets(line, sizeof(line), file))
        found = strstr(line, word) != NULL;
    if (file)
        fclose(file);
    return found;
}

Test(identity, what_operators_do_is_in_the_audit_log_and_no_secret_is_anywhere)
{
    struct gate gate;
    char all[TG_TOKEN_BYTES_MAX + 1], reader[TG_TOKEN_BYTES_MAX + 1], other[TG_TOKEN_BYTES_MAX + 1];
    char path[96], option[160], rotated[112];
    gate_prepare(&gate);
    grant(&gate, "ops1", "shop-a", TG_ROLES_ALL, all);
    grant(&gate, "eye", "shop-b", TG_ROLE_READ, reader);
    cr_assert(tg_token_make("gone", other));
    snprintf(path, sizeof(path), "%s.audit", gate.path);
    snprintf(rotated, sizeof(rotated), "%s.1", path);
    snprintf(option, sizeof(option), "security.audit_log=%s", path);
    gate_start(&gate, option);
    await_line(path, "\"action\":\"Start\"", NULL);
    struct tgc_client *client = client_of(&gate, all);
    sale_create(client, 7, "A", 10, 0);
    await_line(path, "\"tenant\":\"shop-a\",\"token\":\"ops1\",\"peer\":\"127.0.0.1:",
               "\"action\":\"CreateSale\",\"target\":\"sale 7\",\"verdict\":\"OK\"", NULL);
    sale_assert_verdict(sale_pause(client, 7), TG_OK);
    await_line(path, "PauseSale", "sale 7", "\"OK\"", NULL);
    sale_assert_verdict(sale_resume(client, 7), TG_OK);
    sale_assert_verdict(sale_adjust(client, 7, "A", 5), TG_OK);
    await_line(path, "AdjustStock", "sale 7 sku A by 5: ", "\"OK\"", NULL);
    sale_assert_verdict(sale_close(client, 99), TG_UNKNOWN_SALE);
    await_line(path, "CloseSale", "sale 99", "UNKNOWN_SALE", NULL);
    sale_assert_verdict(sale_buy(client, 7, "A", 1, 1), TG_ACCEPTED);

    struct tgc_client *eye = client_of(&gate, reader), *none;
    struct tg_fault fault;
    Tidegate__V1__CloseSaleRequest body = TIDEGATE__V1__CLOSE_SALE_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__Response *response;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CLOSE_SALE;
    request.close_sale = &body;
    cr_assert_eq(tgc_call(eye, &request, TIMEOUT_MS, &response, &fault), TG_ERR_DENIED);
    await_line(path, "shop-b", "\"eye\"", "CloseSale", "PERMISSION_DENIED", NULL);
    cr_assert_eq(open_client(&gate, other, &none, &fault), TG_ERR_DENIED);
    await_line(path, "Authenticate", "token gone", "UNAUTHENTICATED", NULL);
    cr_assert_not(file_has(path, "PlaceOrder"), "orders are no operator's");

    cr_assert_eq(rename(path, rotated), 0); /* as logrotate does */
    reload(&gate);
    await_line(path, "ReloadTokens", "OK", NULL);
    await_line(path, "ReloadConfiguration", "0 keys differ", NULL);
    sale_assert_verdict(sale_close(client, 7), TG_OK);
    await_line(path, "CloseSale", "sale 7", "\"OK\"", NULL);
    cr_assert_not(file_has(rotated, "ReloadTokens"));
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600);
    tgc_close(eye);
    tgc_close(client);
    daemon_stop(&gate.daemon);
    await_line(path, "\"action\":\"Stop\"", NULL);
    const char *const secrets[] = {all, reader, other};
    for (int i = 0; i < 3; i++) {
        const char *secret = secrets[i] + strlen(secrets[i]) - TG_TOKEN_SECRET_BYTES;
        cr_assert_not(file_has(path, secret) || file_has(rotated, secret));
        cr_assert_not(daemon_log_has(&gate.daemon, secret));
    }
    unlink(path);
    unlink(rotated);
    gate_end(&gate);
}

Test(identity, refused_tokens_do_not_fill_the_audit_log)
{
    struct gate gate;
    char other[TG_TOKEN_BYTES_MAX + 1], all[TG_TOKEN_BYTES_MAX + 1], path[96], option[160];
    gate_prepare(&gate);
    grant(&gate, "ops1", "shop-a", TG_ROLES_ALL, all);
    cr_assert(tg_token_make("gone", other));
    snprintf(path, sizeof(path), "%s.audit", gate.path);
    snprintf(option, sizeof(option), "security.audit_log=%s", path);
    gate_start(&gate, option);
    struct peer peers[20];
    for (int i = 0; i < 20; i++) {
        peer_open(&peers[i], &gate.daemon);
        for (int j = 0; j < 10; j++)
            authenticate(&peers[i], other);
    }
    struct tgc_client *client = client_of(&gate, all);
    sale_create(client, 7, "A", 10, 0);
    await_line(path, "CreateSale", NULL);
    daemon_stop(&gate.daemon);
    uint32_t lines = 0;
    char line[4096];
    FILE *file = fopen(path, "re");
    while (fgets(line, sizeof(line), file))
        lines += strstr(line, "UNAUTHENTICATED") != NULL;
    fclose(file);
    cr_assert_leq(lines, TG_LOG_BURST);
    cr_assert_geq(lines, 1);
    for (int i = 0; i < 20; i++)
        peer_close(&peers[i]);
    tgc_close(client);
    unlink(path);
    gate_end(&gate);
}

/* --- connections of an address --- */

static void expect_time(struct peer *peer)
{
    send_kind(peer, TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME, 2, NULL, 0);
    Tidegate__V1__Response *response = peer_response(peer);
    cr_assert_not_null(response);
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME);
    tidegate__v1__response__free_unpacked(response, NULL);
}

Test(identity, an_address_has_no_more_connections_than_it_may_and_a_reload_changes_that)
{
    struct daemon daemon = {0};
    char path[] = "/tmp/tidegate-conf-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    static const char three[] = "[security]\nconnections_per_address = 3\n";
    static const char four[] = "[security]\nconnections_per_address = 4\n";
    cr_assert_eq(write(fd, three, strlen(three)), (ssize_t)strlen(three));
    daemon_start(&daemon, "--config", path, "--threads", "2", NULL);
    struct peer peers[3], one_more;
    for (int i = 0; i < 3; i++) { /* each is in before the next one comes, on whichever core */
        peer_open(&peers[i], &daemon);
        expect_time(&peers[i]);
    }
    peer_open(&one_more, &daemon);
    expect_refused(&one_more, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED,
                   "too many connections from this address");
    peer_expect_end(&one_more);
    peer_close(&one_more);
    for (int i = 0; i < 3; i++) /* those that are in are served */
        expect_time(&peers[i]);
    cr_assert_eq(pwrite(fd, four, strlen(four), 0), (ssize_t)strlen(four));
    cr_assert_eq(kill(daemon.pid, SIGHUP), 0);
    daemon_log_wait(&daemon, "configuration read again");
    peer_open(&one_more, &daemon);
    expect_time(&one_more);
    peer_half_close(&one_more);
    peer_expect_end(&one_more);
    /* Places come free: of a hundred in a row each is the fourth. */
    for (int i = 0; i < 100; i++) {
        struct tgc_client *client;
        struct tg_fault fault;
        while (tgc_open(&(struct tgc_options){.server = daemon.address}, &client, &fault) ||
               ask(client, &fault)) /* the daemon sees the end of the one before a moment later */
            tgc_close(client);
        tgc_close(client);
    }
    peer_close(&one_more);
    for (int i = 0; i < 3; i++)
        peer_close(&peers[i]);
    close(fd);
    unlink(path);
    daemon_end(&daemon);
}

Test(identity, a_removed_token_ends_what_it_watches)
{
    struct gate gate;
    char old[TG_TOKEN_BYTES_MAX + 1], kept[TG_TOKEN_BYTES_MAX + 1], line[256] = "";
    gate_prepare(&gate);
    grant(&gate, "kept", "shop", TG_ROLES_ALL, kept);
    FILE *file = fopen(gate.path, "re");
    cr_assert_not_null(fgets(line, sizeof(line), file));
    fclose(file);
    grant(&gate, "old", "shop", TG_ROLE_READ, old);
    gate_start(&gate, NULL);
    struct tgc_client *client = client_of(&gate, kept);
    sale_create(client, 1, "A", 10, 0);
    struct peer peer;
    uint8_t body[64], *end = peer_put_bytes(peer_put_number(body, 1, 1), 2, "A", 1);
    peer_open(&peer, &gate.daemon);
    authenticate(&peer, old);
    expect_authenticated(&peer, "shop", 1);
    send_kind(&peer, TIDEGATE__V1__REQUEST__KIND_WATCH_ITEM, 8, body, (size_t)(end - body));
    Tidegate__V1__Response *response = peer_response(&peer);
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_WATCH_ITEM);
    cr_assert_eq((int)response->watch_item->verdict, TG_OK);
    tidegate__v1__response__free_unpacked(response, NULL);
    write_tokens(&gate, line);
    reload(&gate);
    peer_expect_error(&peer, UNAUTHENTICATED, 8);
    peer_close(&peer);
    tgc_close(client);
    gate_end(&gate);
}
