/* The client against a scripted peer: a thread that owns a listening loopback socket and plays one
 * script, step by step, with blocking reads and writes. Where the order of things between the two
 * matters it is forced by a semaphore, never by a pause. */
#include "client/tidegate.h"

#include "base/assert.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LONG_MS 60000 /* never waited for, unless the promise is broken */

/* --- the peer --- */

struct peer {
    int listener;
    int fd; /* the connection that the script talks on */
    char address[32];
    sem_t go; /* posted by the test when the script may go on */
    pthread_t thread;
    void (*script)(struct peer *peer);
};

static void *peer_run(void *context)
{
    struct peer *peer = context;
    peer->script(peer);
    return NULL;
}

static void peer_start(struct peer *peer, void (*script)(struct peer *peer))
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t at_bytes = sizeof(at);
    peer->script = script;
    peer->fd = -1;
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(peer->listener >= 0);
    cr_assert_eq(bind(peer->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    cr_assert_eq(listen(peer->listener, 16), 0);
    cr_assert_eq(getsockname(peer->listener, (struct sockaddr *)&at, &at_bytes), 0);
    snprintf(peer->address, sizeof(peer->address), "127.0.0.1:%u", ntohs(at.sin_port));
    cr_assert_eq(sem_init(&peer->go, 0, 0), 0);
    cr_assert_eq(pthread_create(&peer->thread, NULL, peer_run, peer), 0);
}

static void peer_join(struct peer *peer)
{
    cr_assert_eq(pthread_join(peer->thread, NULL), 0);
    if (peer->fd >= 0)
        close(peer->fd);
    if (peer->listener >= 0)
        close(peer->listener);
    sem_destroy(&peer->go);
}

static void peer_accept(struct peer *peer)
{
    peer->fd = accept(peer->listener, NULL, NULL);
    tg_assert(peer->fd >= 0);
}

static void peer_hang_up(struct peer *peer)
{
    close(peer->fd);
    peer->fd = -1;
}

static void peer_wait(struct peer *peer)
{
    while (sem_wait(&peer->go) != 0)
        continue;
}

static void peer_read(struct peer *peer, uint8_t *bytes, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = read(peer->fd, bytes + got, size - got);
        tg_assert(n > 0);
        got += (size_t)n;
    }
}

static Tidegate__V1__Request *peer_request(struct peer *peer)
{
    uint32_t size = 0;
    uint8_t byte = 0x80;
    for (uint32_t shift = 0; byte & 0x80; shift += 7) {
        peer_read(peer, &byte, 1);
        size |= (uint32_t)(byte & 0x7f) << shift;
    }
    uint8_t *body = malloc(size + 1);
    peer_read(peer, body, size);
    Tidegate__V1__Request *request = tidegate__v1__request__unpack(NULL, size, body);
    tg_assert(request);
    free(body);
    return request;
}

/* Reads a request and returns its id alone. */
static uint64_t peer_request_id(struct peer *peer)
{
    Tidegate__V1__Request *request = peer_request(peer);
    uint64_t id = request->correlation_id;
    tidegate__v1__request__free_unpacked(request, NULL);
    return id;
}

static void peer_write(struct peer *peer, const uint8_t *bytes, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(peer->fd, bytes + sent, size - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the client may hang up on purpose */
        sent += (size_t)n;
    }
}

/* The frame of a response in memory of malloc. */
static uint8_t *frame_of(const Tidegate__V1__Response *response, size_t *size)
{
    size_t body = tidegate__v1__response__get_packed_size(response), prefix = 0;
    uint8_t *frame = malloc(body + 5);
    for (size_t left = body; left || !prefix; left >>= 7)
        frame[prefix++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    *size = prefix + tidegate__v1__response__pack(response, frame + prefix);
    return frame;
}

static void peer_send(struct peer *peer, const Tidegate__V1__Response *response)
{
    size_t size;
    uint8_t *frame = frame_of(response, &size);
    peer_write(peer, frame, size);
    free(frame);
}

static void init_time_answer(Tidegate__V1__Response *response,
                             Tidegate__V1__GetServerTimeResponse *body, uint64_t id,
                             int64_t time_ms)
{
    tidegate__v1__response__init(response);
    tidegate__v1__get_server_time_response__init(body);
    body->server_time_ms = time_ms;
    response->correlation_id = id;
    response->kind_case = TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME;
    response->get_server_time = body;
}

static void peer_answer_time(struct peer *peer, uint64_t id, int64_t time_ms)
{
    Tidegate__V1__Response response;
    Tidegate__V1__GetServerTimeResponse body;
    init_time_answer(&response, &body, id, time_ms);
    peer_send(peer, &response);
}

static void peer_answer_error(struct peer *peer, uint64_t id, Tidegate__V1__ErrorCode code,
                              char *message)
{
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    Tidegate__V1__ErrorResponse body = TIDEGATE__V1__ERROR_RESPONSE__INIT;
    body.code = code;
    body.message = message;
    response.correlation_id = id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_ERROR;
    response.error = &body;
    peer_send(peer, &response);
}

static void peer_answer_order(struct peer *peer, uint64_t id,
                              const Tidegate__V1__PlaceOrderResponse *body)
{
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    Tidegate__V1__PlaceOrderResponse copy = *body;
    response.correlation_id = id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER;
    response.place_order = &copy;
    peer_send(peer, &response);
}

/* --- the client's side --- */

static struct tgc_client *open_client(const struct peer *peer, uint32_t window)
{
    struct tgc_options options = {.server = peer->address, .window = window};
    struct tgc_client *client;
    struct tg_fault fault = {0};
    cr_assert_eq(tgc_open(&options, &client, &fault), TG_ERR_OK, "%s", fault.text);
    return client;
}

struct heard {
    int64_t time_ms;
    uint32_t times;
};

static void hear_time(void *context, const Tidegate__V1__Response *response)
{
    struct heard *heard = context;
    tg_assert(response->kind_case == TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME);
    heard->time_ms = response->get_server_time->server_time_ms;
    heard->times++;
}

static enum tg_error ask_time(struct tgc_client *client, struct heard *heard,
                              struct tg_fault *fault)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetServerTimeRequest body = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &body;
    return tgc_send(client, &request, hear_time, heard, fault);
}

static enum tg_error call_time(struct tgc_client *client, uint32_t timeout_ms, int64_t *time_ms,
                               struct tg_fault *fault)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetServerTimeRequest body = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    Tidegate__V1__Response *response;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &body;
    enum tg_error error = tgc_call(client, &request, timeout_ms, &response, fault);
    if (!error)
        *time_ms = response->get_server_time->server_time_ms;
    else
        cr_assert_null(response);
    tgc_response_free(response);
    return error;
}

static struct tg_order an_order(void)
{
    return (struct tg_order){
        .request_id = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
        .sale_id = 7,
        .user_id = 8,
        .unit_price_minor = 9900,
        .sku = (const uint8_t *)"A01-001-M-BL",
        .sku_bytes = 12,
        .external_id = (const uint8_t *)"x\0y",
        .external_bytes = 3,
        .quantity = 2,
        .channel = 3,
        .lane = TG_LANE_PREPAID,
    };
}

static void expect_fault_names(const struct tg_fault *fault, const struct peer *peer,
                               const char *words)
{
    cr_assert_not_null(strstr(fault->text, peer->address), "%s", fault->text);
    cr_assert_not_null(strstr(fault->text, words), "%s", fault->text);
}

/* --- answers --- */

static void answer_backwards(struct peer *peer)
{
    uint64_t ids[3];
    peer_accept(peer);
    for (int i = 0; i < 3; i++)
        ids[i] = peer_request_id(peer);
    for (int i = 2; i >= 0; i--)
        peer_answer_time(peer, ids[i], 100 + i);
}

Test(client, gives_each_answer_to_its_own_callback_in_any_order, .timeout = 20)
{
    struct peer peer;
    struct heard heard[3] = {0};
    struct tg_fault fault;
    peer_start(&peer, answer_backwards);
    struct tgc_client *client = open_client(&peer, 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(ask_time(client, &heard[i], &fault), TG_ERR_OK);
    cr_assert_eq(tgc_in_flight(client), 3);
    while (tgc_in_flight(client))
        cr_assert_eq(tgc_poll(client, LONG_MS, &fault), TG_ERR_OK, "%s", fault.text);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(heard[i].time_ms, 100 + i);
        cr_assert_eq(heard[i].times, 1);
    }
    tgc_close(client);
    peer_join(&peer);
}

/* One byte at a time, each only after the client has looked at those before it. */
static void answer_bytewise(struct peer *peer)
{
    Tidegate__V1__Response response;
    Tidegate__V1__GetServerTimeResponse body;
    size_t size;
    peer_accept(peer);
    init_time_answer(&response, &body, peer_request_id(peer), 42);
    uint8_t *frame = frame_of(&response, &size);
    for (size_t i = 0; i < size; i++) {
        peer_wait(peer);
        peer_write(peer, frame + i, 1);
    }
    free(frame);
}

Test(client, puts_an_answer_together_from_its_bytes, .timeout = 20)
{
    struct peer peer;
    struct heard heard = {0};
    struct tg_fault fault;
    peer_start(&peer, answer_bytewise);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(ask_time(client, &heard, &fault), TG_ERR_OK);
    while (!heard.times) {
        sem_post(&peer.go);
        enum tg_error error = tgc_poll(client, 1, &fault);
        cr_assert(error == TG_ERR_OK || error == TG_ERR_TIMEOUT, "%s", fault.text);
    }
    cr_assert_eq(heard.time_ms, 42);
    tgc_close(client);
    peer_join(&peer);
}

/* A page of orders far above the 64 KiB that a request may have. */
static void answer_long_page(struct peer *peer)
{
    enum {
        COUNT = 4096
    };
    static Tidegate__V1__Order orders[COUNT], *list[COUNT];
    for (int i = 0; i < COUNT; i++) {
        tidegate__v1__order__init(&orders[i]);
        orders[i].order_id = (uint64_t)i + 1;
        orders[i].sku = (char *)"A01-001-M-BL";
        list[i] = &orders[i];
    }
    peer_accept(peer);
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    Tidegate__V1__ListOrdersResponse body = TIDEGATE__V1__LIST_ORDERS_RESPONSE__INIT;
    body.n_orders = COUNT;
    body.orders = list;
    response.correlation_id = peer_request_id(peer);
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_LIST_ORDERS;
    response.list_orders = &body;
    peer_send(peer, &response);
    peer_answer_time(peer, peer_request_id(peer), 43);
}

Test(client, takes_answers_longer_than_any_request, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__ListOrdersRequest body = TIDEGATE__V1__LIST_ORDERS_REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS;
    request.list_orders = &body;
    peer_start(&peer, answer_long_page);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(tgc_call(client, &request, LONG_MS, &response, &fault), TG_ERR_OK, "%s",
                 fault.text);
    cr_assert_eq(response->list_orders->n_orders, 4096);
    cr_assert_eq(response->list_orders->orders[4095]->order_id, 4096);
    tgc_response_free(response);
    int64_t time_ms = 0;
    cr_assert_eq(call_time(client, LONG_MS, &time_ms, &fault), TG_ERR_OK);
    cr_assert_eq(time_ms, 43);
    tgc_close(client);
    peer_join(&peer);
}

struct chain {
    struct tgc_client *client;
    struct heard heard;
    uint32_t sends_left;
    enum tg_error nested; /* what a forbidden call from the callback gave */
};

static void hear_and_ask_again(void *context, const Tidegate__V1__Response *response)
{
    struct chain *chain = context;
    hear_time(&chain->heard, response);
    chain->nested = tgc_poll(chain->client, 0, NULL);
    if (chain->sends_left-- == 0)
        return;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__GetServerTimeRequest body = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &body;
    tg_assert(tgc_send(chain->client, &request, hear_and_ask_again, chain, NULL) == TG_ERR_OK);
}

static void answer_four(struct peer *peer)
{
    peer_accept(peer);
    for (int i = 0; i < 4; i++)
        peer_answer_time(peer, peer_request_id(peer), i);
}

Test(client, lets_a_callback_send_into_a_window_of_one_but_not_wait, .timeout = 20)
{
    struct peer peer;
    peer_start(&peer, answer_four);
    struct chain chain = {.client = open_client(&peer, 1), .sends_left = 4};
    Tidegate__V1__Response first = TIDEGATE__V1__RESPONSE__INIT;
    Tidegate__V1__GetServerTimeResponse body = TIDEGATE__V1__GET_SERVER_TIME_RESPONSE__INIT;
    init_time_answer(&first, &body, 0, 0);
    hear_and_ask_again(&chain, &first); /* sends the first; outside of a callback it may poll */
    while (tgc_in_flight(chain.client))
        cr_assert_eq(tgc_poll(chain.client, LONG_MS, NULL), TG_ERR_OK);
    cr_assert_eq(chain.heard.times, 5);
    cr_assert_eq(chain.heard.time_ms, 3);
    cr_assert_eq(chain.nested, TG_ERR_INVALID);
    tgc_close(chain.client);
    peer_join(&peer);
}

/* --- bounds --- */

static void answer_two_when_told(struct peer *peer)
{
    peer_accept(peer);
    uint64_t first = peer_request_id(peer), second = peer_request_id(peer);
    peer_wait(peer);
    peer_answer_time(peer, first, 1);
    peer_answer_time(peer, second, 2);
    peer_answer_time(peer, peer_request_id(peer), 3);
}

Test(client, says_full_when_the_window_is_and_goes_on_after_answers, .timeout = 20)
{
    struct peer peer;
    struct heard heard[3] = {0};
    struct tg_fault fault;
    peer_start(&peer, answer_two_when_told);
    struct tgc_client *client = open_client(&peer, 2);
    cr_assert_eq(ask_time(client, &heard[0], &fault), TG_ERR_OK);
    cr_assert_eq(ask_time(client, &heard[1], &fault), TG_ERR_OK);
    cr_assert_eq(ask_time(client, &heard[2], &fault), TG_ERR_FULL);
    expect_fault_names(&fault, &peer, "2 places");
    sem_post(&peer.go);
    while (tgc_in_flight(client))
        cr_assert_eq(tgc_poll(client, LONG_MS, &fault), TG_ERR_OK);
    cr_assert_eq(ask_time(client, &heard[2], &fault), TG_ERR_OK);
    cr_assert_eq(tgc_poll(client, LONG_MS, &fault), TG_ERR_OK);
    cr_assert_eq(heard[0].times + heard[1].times + heard[2].times, 3);
    cr_assert_eq(heard[2].time_ms, 3);
    tgc_close(client);
    peer_join(&peer);
}

Test(client, waits_in_a_call_until_the_window_has_room, .timeout = 20)
{
    struct peer peer;
    struct heard heard[2] = {0};
    struct tg_fault fault;
    int64_t time_ms = 0;
    peer_start(&peer, answer_two_when_told);
    struct tgc_client *client = open_client(&peer, 2);
    cr_assert_eq(ask_time(client, &heard[0], &fault), TG_ERR_OK);
    cr_assert_eq(ask_time(client, &heard[1], &fault), TG_ERR_OK);
    sem_post(&peer.go);
    cr_assert_eq(call_time(client, LONG_MS, &time_ms, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(time_ms, 3);
    cr_assert_eq(heard[0].times, 1);
    cr_assert_eq(heard[1].times, 1);
    tgc_close(client);
    peer_join(&peer);
}

static void read_nothing(struct peer *peer)
{
    peer_accept(peer);
    peer_wait(peer);
}

/* A CreateSale of nearly a megabyte: its name alone. */
static enum tg_error send_large(struct tgc_client *client, size_t name_bytes,
                                Tidegate__V1__Request__KindCase kind, struct tg_fault *fault)
{
    char *name = malloc(name_bytes + 1);
    memset(name, 'n', name_bytes);
    name[name_bytes] = '\0';
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__Sale sale = TIDEGATE__V1__SALE__INIT;
    Tidegate__V1__CreateSaleRequest create = TIDEGATE__V1__CREATE_SALE_REQUEST__INIT;
    Tidegate__V1__GetItemRequest item = TIDEGATE__V1__GET_ITEM_REQUEST__INIT;
    sale.name = name;
    create.sale = &sale;
    item.sku = name;
    request.kind_case = kind;
    if (kind == TIDEGATE__V1__REQUEST__KIND_CREATE_SALE)
        request.create_sale = &create;
    else
        request.get_item = &item;
    enum tg_error error = tgc_send(client, &request, NULL, NULL, fault);
    free(name);
    return error;
}

Test(client, refuses_to_queue_without_end_for_a_peer_that_does_not_read, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    enum tg_error error = TG_ERR_OK;
    peer_start(&peer, read_nothing);
    struct tgc_client *client = open_client(&peer, 0);
    uint32_t sent = 0;
    while (!error && sent < 1000) {
        error = send_large(client, 1000000, TIDEGATE__V1__REQUEST__KIND_CREATE_SALE, &fault);
        sent += !error;
    }
    cr_assert_eq(error, TG_ERR_FULL);
    cr_assert_eq(tgc_in_flight(client), sent);
    expect_fault_names(&fault, &peer, "wait to be sent");
    cr_assert_eq(tgc_poll(client, 0, &fault), TG_ERR_TIMEOUT);
    tgc_close(client);
    sem_post(&peer.go);
    peer_join(&peer);
}

Test(client, refuses_a_request_above_the_frame_of_its_kind, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    Tidegate__V1__Request nothing = TIDEGATE__V1__REQUEST__INIT;
    peer_start(&peer, read_nothing);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(send_large(client, 65536, TIDEGATE__V1__REQUEST__KIND_GET_ITEM, &fault),
                 TG_ERR_INVALID);
    cr_assert_eq(send_large(client, 1048576, TIDEGATE__V1__REQUEST__KIND_CREATE_SALE, &fault),
                 TG_ERR_INVALID);
    cr_assert_eq(tgc_send(client, &nothing, NULL, NULL, &fault), TG_ERR_INVALID);
    cr_assert_eq(tgc_in_flight(client), 0);
    cr_assert(tgc_is_connected(client));
    tgc_close(client);
    sem_post(&peer.go);
    peer_join(&peer);
}

/* --- time --- */

static void answer_late(struct peer *peer)
{
    peer_accept(peer);
    uint64_t late = peer_request_id(peer);
    uint64_t next = peer_request_id(peer);
    peer_answer_time(peer, late, 1);
    peer_answer_time(peer, next, 2);
}

Test(client, drops_the_late_answer_of_a_call_that_timed_out, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    int64_t time_ms = 0;
    peer_start(&peer, answer_late);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(call_time(client, 1, &time_ms, &fault), TG_ERR_TIMEOUT);
    expect_fault_names(&fault, &peer, "no answer");
    cr_assert_eq(tgc_in_flight(client), 1);
    cr_assert_eq(call_time(client, LONG_MS, &time_ms, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(time_ms, 2);
    cr_assert_eq(tgc_in_flight(client), 0);
    tgc_close(client);
    peer_join(&peer);
}

Test(client, does_not_wait_with_a_timeout_of_zero, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    peer_start(&peer, read_nothing);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(tgc_poll(client, 0, &fault), TG_ERR_TIMEOUT);
    cr_assert(tgc_is_connected(client));
    tgc_close(client);
    sem_post(&peer.go);
    peer_join(&peer);
}

/* --- what goes wrong --- */

static void answer_unknown_request(struct peer *peer)
{
    peer_accept(peer);
    peer_answer_error(peer, peer_request_id(peer),
                      TIDEGATE__V1__ERROR_CODE__ERROR_CODE_UNKNOWN_REQUEST, (char *)"kind 99");
    peer_answer_time(peer, peer_request_id(peer), 5);
}

Test(client, reports_an_error_response_and_keeps_the_connection, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    int64_t time_ms = 0;
    peer_start(&peer, answer_unknown_request);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(call_time(client, LONG_MS, &time_ms, &fault), TG_ERR_PROTOCOL);
    expect_fault_names(&fault, &peer, "kind 99");
    cr_assert_eq(call_time(client, LONG_MS, &time_ms, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(time_ms, 5);
    tgc_close(client);
    peer_join(&peer);
}

static void answer_malformed_and_hang_up(struct peer *peer)
{
    peer_accept(peer);
    peer_request_id(peer);
    peer_answer_error(peer, 0, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_FRAME,
                      (char *)"send frames");
    peer_hang_up(peer);
}

Test(client, tells_the_words_of_a_server_that_ends_the_connection, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    int64_t time_ms = 0;
    peer_start(&peer, answer_malformed_and_hang_up);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(call_time(client, LONG_MS, &time_ms, &fault), TG_ERR_PROTOCOL);
    expect_fault_names(&fault, &peer, "send frames");
    cr_assert_not(tgc_is_connected(client));
    tgc_close(client);
    peer_join(&peer);
}

static void answer_half_and_hang_up(struct peer *peer)
{
    Tidegate__V1__Response response;
    Tidegate__V1__GetServerTimeResponse body;
    size_t size;
    peer_accept(peer);
    peer_answer_time(peer, peer_request_id(peer), 1);
    init_time_answer(&response, &body, peer_request_id(peer), 2);
    uint8_t *frame = frame_of(&response, &size);
    peer_write(peer, frame, size - 1);
    free(frame);
    peer_hang_up(peer);
}

Test(client, hands_out_what_arrived_before_the_connection_closed, .timeout = 20)
{
    struct peer peer;
    struct heard heard[2] = {0};
    struct tg_fault fault;
    enum tg_error error;
    peer_start(&peer, answer_half_and_hang_up);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(ask_time(client, &heard[0], &fault), TG_ERR_OK);
    cr_assert_eq(ask_time(client, &heard[1], &fault), TG_ERR_OK);
    do {
        error = tgc_poll(client, LONG_MS, &fault);
    } while (!error);
    cr_assert_eq(error, TG_ERR_CLOSED);
    expect_fault_names(&fault, &peer, "in the middle of an answer");
    cr_assert_eq(heard[0].times, 1);
    cr_assert_eq(heard[1].times, 0);
    cr_assert_eq(tgc_in_flight(client), 0);
    cr_assert_not(tgc_is_connected(client));
    cr_assert_eq(ask_time(client, &heard[1], &fault), TG_ERR_CLOSED);
    cr_assert_eq(tgc_poll(client, LONG_MS, &fault), TG_ERR_CLOSED);
    tgc_close(client);
    peer_join(&peer);
}

static void reset_then_answer_anew(struct peer *peer)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    peer_accept(peer);
    uint64_t old = peer_request_id(peer);
    setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    peer_hang_up(peer);
    peer_accept(peer);
    tg_assert(peer_request_id(peer) != old);
    peer_answer_time(peer, old, 1);
}

Test(client, takes_no_answer_to_a_request_of_an_earlier_connection, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    int64_t time_ms = 0;
    peer_start(&peer, reset_then_answer_anew);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(call_time(client, LONG_MS, &time_ms, &fault), TG_ERR_CLOSED);
    expect_fault_names(&fault, &peer, "broke");
    cr_assert_eq(tgc_reconnect(client, 0, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(call_time(client, LONG_MS, &time_ms, &fault), TG_ERR_PROTOCOL);
    expect_fault_names(&fault, &peer, "does not wait");
    tgc_close(client);
    peer_join(&peer);
}

static void answer_twice(struct peer *peer)
{
    peer_accept(peer);
    uint64_t id = peer_request_id(peer);
    peer_answer_time(peer, id, 1);
    peer_answer_time(peer, id, 2);
}

Test(client, takes_an_answer_only_once, .timeout = 20)
{
    struct peer peer;
    struct heard heard = {0};
    struct tg_fault fault;
    enum tg_error error;
    peer_start(&peer, answer_twice);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(ask_time(client, &heard, &fault), TG_ERR_OK);
    do {
        error = tgc_poll(client, LONG_MS, &fault);
    } while (!error);
    cr_assert_eq(error, TG_ERR_PROTOCOL);
    cr_assert_eq(heard.times, 1);
    tgc_close(client);
    peer_join(&peer);
}

static void answer_another_kind(struct peer *peer)
{
    Tidegate__V1__PlaceOrderResponse body = TIDEGATE__V1__PLACE_ORDER_RESPONSE__INIT;
    peer_accept(peer);
    body.verdict = (Tidegate__V1__Verdict)TG_ACCEPTED;
    peer_answer_order(peer, peer_request_id(peer), &body);
}

Test(client, takes_no_answer_of_another_kind, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    int64_t time_ms = 0;
    peer_start(&peer, answer_another_kind);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(call_time(client, LONG_MS, &time_ms, &fault), TG_ERR_PROTOCOL);
    expect_fault_names(&fault, &peer, "kind 2");
    tgc_close(client);
    peer_join(&peer);
}

static void send_frame_of_1_mib_and_1(struct peer *peer)
{
    static const uint8_t length[] = {0x81, 0x80, 0x40};
    peer_accept(peer);
    peer_request_id(peer);
    peer_write(peer, length, sizeof(length));
    peer_wait(peer);
}

static void send_endless_length(struct peer *peer)
{
    static const uint8_t length[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    peer_accept(peer);
    peer_request_id(peer);
    peer_write(peer, length, sizeof(length));
    peer_wait(peer);
}

static void send_garbage(struct peer *peer)
{
    static const uint8_t garbage[] = {4, 0xff, 0xff, 0xff, 0xff};
    peer_accept(peer);
    peer_request_id(peer);
    peer_write(peer, garbage, sizeof(garbage));
    peer_wait(peer);
}

static void send_empty_frame(struct peer *peer)
{
    static const uint8_t empty[] = {0};
    peer_accept(peer);
    peer_request_id(peer);
    peer_write(peer, empty, sizeof(empty));
    peer_wait(peer);
}

static void expect_protocol_error(void (*script)(struct peer *peer), const char *words)
{
    struct peer peer;
    struct tg_fault fault;
    int64_t time_ms = 0;
    peer_start(&peer, script);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(call_time(client, LONG_MS, &time_ms, &fault), TG_ERR_PROTOCOL);
    expect_fault_names(&fault, &peer, words);
    cr_assert_not(tgc_is_connected(client));
    tgc_close(client);
    sem_post(&peer.go);
    peer_join(&peer);
}

Test(client, ends_the_connection_on_frames_that_break_the_protocol, .timeout = 20)
{
    expect_protocol_error(send_frame_of_1_mib_and_1, "above 1048576 bytes");
    expect_protocol_error(send_endless_length, "no varint");
    expect_protocol_error(send_garbage, "no answer");
    expect_protocol_error(send_empty_frame, "does not wait");
}

/* --- subscriptions --- */

struct stream {
    uint32_t answers;
    uint64_t last_sequence;
    int verdict;
};

static void hear_events(void *context, const Tidegate__V1__Response *response)
{
    struct stream *stream = context;
    tg_assert(response->kind_case == TIDEGATE__V1__RESPONSE__KIND_SUBSCRIBE_EVENTS);
    stream->answers++;
    stream->last_sequence = response->subscribe_events->next_sequence;
    stream->verdict = (int)response->subscribe_events->verdict;
}

static void peer_push(struct peer *peer, uint64_t id, enum tg_verdict verdict, uint64_t sequence)
{
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    Tidegate__V1__SubscribeEventsResponse body = TIDEGATE__V1__SUBSCRIBE_EVENTS_RESPONSE__INIT;
    body.verdict = (Tidegate__V1__Verdict)verdict;
    body.next_sequence = sequence;
    response.correlation_id = id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_SUBSCRIBE_EVENTS;
    response.subscribe_events = &body;
    peer_send(peer, &response);
}

/* Events before, between and behind the answers of other requests; then the stream ends. */
static void push_events_among_answers(struct peer *peer)
{
    peer_accept(peer);
    Tidegate__V1__Request *request = peer_request(peer);
    tg_assert(request->kind_case == TIDEGATE__V1__REQUEST__KIND_SUBSCRIBE_EVENTS);
    tg_assert(strcmp(request->subscribe_events->group, "erp") == 0);
    uint64_t id = request->correlation_id;
    tidegate__v1__request__free_unpacked(request, NULL);
    peer_push(peer, id, TG_OK, 10);
    peer_answer_time(peer, peer_request_id(peer), 1);
    peer_push(peer, id, TG_OK, 20);
    peer_answer_time(peer, peer_request_id(peer), 2);
    peer_push(peer, id, TG_UNKNOWN_GROUP, 30);
    peer_push(peer, id, TG_OK, 40);
}

Test(client, hands_out_a_subscription_until_its_first_answer_that_is_not_ok, .timeout = 20)
{
    struct peer peer;
    struct stream stream = {0};
    struct tg_fault fault;
    enum tg_error error;
    int64_t time_ms = 0;
    Tidegate__V1__SubscribeEventsRequest subscribe = TIDEGATE__V1__SUBSCRIBE_EVENTS_REQUEST__INIT;
    subscribe.group = (char *)"erp";
    peer_start(&peer, push_events_among_answers);
    struct tgc_client *client = open_client(&peer, 2);
    cr_assert_eq(tgc_subscribe(client, &subscribe, hear_events, &stream, &fault), TG_ERR_OK);
    cr_assert_eq(call_time(client, LONG_MS, &time_ms, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_geq(stream.last_sequence, 10);
    cr_assert_eq(tgc_in_flight(client), 1, "it keeps its place");
    cr_assert_eq(call_time(client, LONG_MS, &time_ms, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(time_ms, 2);
    cr_assert_geq(stream.last_sequence, 20);
    do {
        error = tgc_poll(client, LONG_MS, &fault);
    } while (!error);
    cr_assert_eq(stream.answers, 3);
    cr_assert_eq(stream.verdict, TG_UNKNOWN_GROUP);
    /* When it came together with the last answer to a call, that call has seen the fault already.
     */
    cr_assert(error == TG_ERR_PROTOCOL || error == TG_ERR_CLOSED,
              "nothing may follow the end of a subscription");
    cr_assert_not(tgc_is_connected(client));
    tgc_close(client);
    peer_join(&peer);
}

Test(client, does_not_take_a_subscription_for_a_call, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__SubscribeEventsRequest body = TIDEGATE__V1__SUBSCRIBE_EVENTS_REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_SUBSCRIBE_EVENTS;
    request.subscribe_events = &body;
    peer_start(&peer, read_nothing);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(tgc_call(client, &request, LONG_MS, &response, &fault), TG_ERR_INVALID);
    cr_assert_null(response);
    cr_assert_eq(tgc_in_flight(client), 0);
    tgc_close(client);
    sem_post(&peer.go);
    peer_join(&peer);
}

/* Finds a port where nobody listens: one that was just given back. */
static void free_address(char address[32])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t at_bytes = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &at_bytes), 0);
    close(fd);
    snprintf(address, 32, "127.0.0.1:%u", ntohs(at.sin_port));
}

Test(client, names_the_address_where_nothing_listens, .timeout = 20)
{
    char address[32];
    struct tgc_options options = {.server = address};
    struct tgc_client *client;
    struct tg_fault fault;
    free_address(address);
    cr_assert_eq(tgc_open(&options, &client, &fault), TG_ERR_SYSTEM);
    cr_assert_null(client);
    cr_assert_not_null(strstr(fault.text, address), "%s", fault.text);
    cr_assert_not_null(strstr(fault.text, "nothing listens"), "%s", fault.text);
}

Test(client, refuses_a_wrong_address_and_a_wrong_window)
{
    struct tgc_client *client;
    struct tg_fault fault;
    struct tgc_options address = {.server = "127.0.0.1"};
    struct tgc_options window = {.server = "127.0.0.1:1", .window = TGC_WINDOW_MAX + 1};
    cr_assert_eq(tgc_open(&address, &client, &fault), TG_ERR_INVALID);
    cr_assert_eq(tgc_open(&window, &client, &fault), TG_ERR_INVALID);
}

/* --- placing an order --- */

/* Reads the order and checks that all of it came through. */
static uint64_t peer_order_id(struct peer *peer)
{
    Tidegate__V1__Request *request = peer_request(peer);
    struct tg_order order = an_order();
    tg_assert(request->kind_case == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER);
    const Tidegate__V1__PlaceOrderRequest *body = request->place_order;
    tg_assert(body->request_id.len == sizeof(order.request_id));
    tg_assert(memcmp(body->request_id.data, order.request_id, sizeof(order.request_id)) == 0);
    tg_assert(body->sale_id == 7 && body->user_id == 8 && body->unit_price_minor == 9900);
    tg_assert(strcmp(body->sku, "A01-001-M-BL") == 0);
    tg_assert(body->quantity == 2 && body->channel == 3);
    tg_assert(body->lane == TIDEGATE__V1__LANE__LANE_PREPAID);
    tg_assert(body->external_id.len == 3 && memcmp(body->external_id.data, "x\0y", 3) == 0);
    uint64_t id = request->correlation_id;
    tidegate__v1__request__free_unpacked(request, NULL);
    return id;
}

static void accept_order(struct peer *peer, bool replayed)
{
    Tidegate__V1__PlaceOrderResponse body = TIDEGATE__V1__PLACE_ORDER_RESPONSE__INIT;
    body.verdict = (Tidegate__V1__Verdict)TG_ACCEPTED;
    body.order_id = 1025;
    body.unit_price_minor = 9900;
    body.accepted_at_ms = 77;
    body.replayed = replayed;
    peer_answer_order(peer, peer_order_id(peer), &body);
}

static void busy_order(struct peer *peer)
{
    Tidegate__V1__PlaceOrderResponse body = TIDEGATE__V1__PLACE_ORDER_RESPONSE__INIT;
    body.verdict = (Tidegate__V1__Verdict)TG_BUSY;
    body.retry_after_ms = 1;
    peer_answer_order(peer, peer_order_id(peer), &body);
}

static void place_over_two_losses_and_a_busy(struct peer *peer)
{
    peer_accept(peer);
    peer_order_id(peer);
    peer_hang_up(peer);
    peer_accept(peer);
    peer_order_id(peer);
    peer_hang_up(peer);
    peer_accept(peer);
    busy_order(peer);
    accept_order(peer, true);
}

Test(client, places_an_order_over_lost_connections_and_busy, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    struct tg_answer answer;
    struct tg_order order = an_order();
    peer_start(&peer, place_over_two_losses_and_a_busy);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(tgc_place_order(client, &order, LONG_MS, &answer, &fault), TG_ERR_OK, "%s",
                 fault.text);
    cr_assert_eq(answer.verdict, TG_ACCEPTED);
    cr_assert_eq(answer.order_id, 1025);
    cr_assert_eq(answer.unit_price_minor, 9900);
    cr_assert_eq(answer.accepted_at_ms, 77);
    cr_assert_eq(answer.replayed, 1);
    tgc_close(client);
    peer_join(&peer);
}

static void place_busy_for_long(struct peer *peer)
{
    Tidegate__V1__PlaceOrderResponse body = TIDEGATE__V1__PLACE_ORDER_RESPONSE__INIT;
    peer_accept(peer);
    body.verdict = (Tidegate__V1__Verdict)TG_BUSY;
    body.retry_after_ms = LONG_MS + 1;
    peer_answer_order(peer, peer_order_id(peer), &body);
}

Test(client, gives_busy_when_the_hint_is_beyond_the_time, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    struct tg_answer answer;
    struct tg_order order = an_order();
    peer_start(&peer, place_busy_for_long);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(tgc_place_order(client, &order, LONG_MS, &answer, &fault), TG_ERR_OK);
    cr_assert_eq(answer.verdict, TG_BUSY);
    cr_assert_eq(answer.retry_after_ms, LONG_MS + 1);
    tgc_close(client);
    peer_join(&peer);
}

static void place_lost_then_busy_for_long(struct peer *peer)
{
    peer_accept(peer);
    peer_order_id(peer);
    peer_hang_up(peer);
    place_busy_for_long(peer);
}

Test(client, does_not_take_busy_for_an_answer_to_a_lost_attempt, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    struct tg_answer answer;
    struct tg_order order = an_order();
    peer_start(&peer, place_lost_then_busy_for_long);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(tgc_place_order(client, &order, LONG_MS, &answer, &fault), TG_ERR_TIMEOUT);
    cr_assert_not_null(strstr(fault.text, "0102030405060708090a0b0c0d0e0f10"), "%s", fault.text);
    cr_assert_not_null(strstr(fault.text, "may stand"), "%s", fault.text);
    tgc_close(client);
    peer_join(&peer);
}

static void place_swallow(struct peer *peer)
{
    peer_accept(peer);
    peer_order_id(peer);
    peer_wait(peer);
}

Test(client, says_that_an_unanswered_order_may_stand, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    struct tg_answer answer;
    struct tg_order order = an_order();
    peer_start(&peer, place_swallow);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(tgc_place_order(client, &order, 1, &answer, &fault), TG_ERR_TIMEOUT);
    cr_assert_not_null(strstr(fault.text, "may stand"), "%s", fault.text);
    sem_post(&peer.go);
    tgc_close(client);
    peer_join(&peer);
}

static void accept_and_vanish(struct peer *peer)
{
    peer_accept(peer);
    peer_hang_up(peer);
    close(peer->listener);
    peer->listener = -1;
}

Test(client, says_that_the_server_was_not_reached_at_all, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    struct tg_answer answer;
    struct tg_order order = an_order();
    peer_start(&peer, accept_and_vanish);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(tgc_poll(client, LONG_MS, &fault), TG_ERR_CLOSED);
    pthread_t thread = peer.thread;
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(tgc_place_order(client, &order, 30, &answer, &fault), TG_ERR_SYSTEM);
    cr_assert_eq(fault.error, TG_ERR_SYSTEM);
    expect_fault_names(&fault, &peer, "nothing listens");
    tgc_close(client);
    sem_destroy(&peer.go);
}

static void refuse_quantity(struct peer *peer)
{
    Tidegate__V1__PlaceOrderResponse body = TIDEGATE__V1__PLACE_ORDER_RESPONSE__INIT;
    peer_accept(peer);
    body.verdict = (Tidegate__V1__Verdict)TG_INVALID_ARGUMENT;
    body.field = (char *)tg_field_name(TG_FIELD_PER_ORDER);
    body.message = (char *)tg_field_advice(TG_FIELD_PER_ORDER);
    peer_answer_order(peer, peer_order_id(peer), &body);
    body.message = (char *)"";
    peer_answer_order(peer, peer_order_id(peer), &body);
}

Test(client, reads_back_the_field_of_an_invalid_argument, .timeout = 20)
{
    struct peer peer;
    struct tg_answer answer;
    struct tg_order order = an_order();
    peer_start(&peer, refuse_quantity);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(tgc_place_order(client, &order, LONG_MS, &answer, NULL), TG_ERR_OK);
    cr_assert_eq(answer.verdict, TG_INVALID_ARGUMENT);
    cr_assert_eq(answer.field, TG_FIELD_PER_ORDER);
    cr_assert_eq(tgc_place_order(client, &order, LONG_MS, &answer, NULL), TG_ERR_OK);
    cr_assert_eq(answer.field, TG_FIELD_QUANTITY);
    tgc_close(client);
    peer_join(&peer);
}

Test(client, does_not_send_an_order_that_does_not_fit_its_fields, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    struct tg_answer answer;
    struct tg_order order = an_order();
    peer_start(&peer, read_nothing);
    struct tgc_client *client = open_client(&peer, 0);
    order.sku_bytes = TG_SKU_BYTES_MAX + 1;
    cr_assert_eq(tgc_place_order(client, &order, LONG_MS, &answer, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "sku"));
    order = an_order();
    order.external_bytes = TG_EXTERNAL_BYTES_MAX + 1;
    cr_assert_eq(tgc_place_order(client, &order, LONG_MS, &answer, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "external_id"));
    sem_post(&peer.go);
    tgc_close(client);
    peer_join(&peer);
}

/* --- any request that is safe to repeat --- */

static void init_change(Tidegate__V1__Request *request, Tidegate__V1__ChangeOrderRequest *change,
                        Tidegate__V1__CancelOrder *cancel)
{
    static uint8_t id[TG_REQUEST_ID_BYTES] = {0xab, 0xcd};
    tidegate__v1__request__init(request);
    tidegate__v1__change_order_request__init(change);
    tidegate__v1__cancel_order__init(cancel);
    change->request_id = (ProtobufCBinaryData){sizeof(id), id};
    change->order_id = 1025;
    change->change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_CANCEL;
    change->cancel = cancel;
    request->kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    request->change_order = change;
}

/* Reads the change, which must be the same each time. */
static uint64_t peer_change_id(struct peer *peer)
{
    Tidegate__V1__Request *request = peer_request(peer);
    tg_assert(request->kind_case == TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER);
    tg_assert(request->change_order->order_id == 1025);
    tg_assert(request->change_order->request_id.data[0] == 0xab);
    uint64_t id = request->correlation_id;
    tidegate__v1__request__free_unpacked(request, NULL);
    return id;
}

static void peer_answer_change(struct peer *peer, enum tg_verdict verdict, uint32_t retry_after_ms)
{
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    Tidegate__V1__ChangeOrderResponse body = TIDEGATE__V1__CHANGE_ORDER_RESPONSE__INIT;
    body.verdict = (Tidegate__V1__Verdict)verdict;
    body.retry_after_ms = retry_after_ms;
    body.replayed = verdict == TG_OK;
    response.correlation_id = peer_change_id(peer);
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER;
    response.change_order = &body;
    peer_send(peer, &response);
}

static void change_over_a_loss_and_a_busy(struct peer *peer)
{
    peer_accept(peer);
    peer_change_id(peer);
    peer_hang_up(peer);
    peer_accept(peer);
    peer_answer_change(peer, TG_BUSY, 1);
    peer_answer_change(peer, TG_OK, 0);
}

Test(client, sends_a_change_again_over_a_lost_connection_and_busy, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request;
    Tidegate__V1__ChangeOrderRequest change;
    Tidegate__V1__CancelOrder cancel;
    init_change(&request, &change, &cancel);
    peer_start(&peer, change_over_a_loss_and_a_busy);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(tgc_call_until_answered(client, &request, LONG_MS, &response, &fault), TG_ERR_OK,
                 "%s", fault.text);
    cr_assert_eq(tgc_outcome_of(response).verdict, TG_OK);
    cr_assert(response->change_order->replayed);
    tgc_response_free(response);
    tgc_close(client);
    peer_join(&peer);
}

static void change_refused(struct peer *peer)
{
    peer_accept(peer);
    peer_answer_change(peer, TG_NOT_PAID, 0);
}

Test(client, takes_a_refusal_of_a_change_for_an_answer, .timeout = 20)
{
    struct peer peer;
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request;
    Tidegate__V1__ChangeOrderRequest change;
    Tidegate__V1__CancelOrder cancel;
    init_change(&request, &change, &cancel);
    peer_start(&peer, change_refused);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(tgc_call_until_answered(client, &request, LONG_MS, &response, NULL), TG_ERR_OK);
    cr_assert_eq(tgc_outcome_of(response).verdict, TG_NOT_PAID);
    tgc_response_free(response);
    tgc_close(client);
    peer_join(&peer);
}

static void change_lost_then_busy_for_long(struct peer *peer)
{
    peer_accept(peer);
    peer_change_id(peer);
    peer_hang_up(peer);
    peer_accept(peer);
    peer_answer_change(peer, TG_BUSY, LONG_MS + 1);
}

Test(client, names_the_request_id_of_a_change_that_may_have_been_done, .timeout = 20)
{
    struct peer peer;
    struct tg_fault fault;
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request;
    Tidegate__V1__ChangeOrderRequest change;
    Tidegate__V1__CancelOrder cancel;
    init_change(&request, &change, &cancel);
    peer_start(&peer, change_lost_then_busy_for_long);
    struct tgc_client *client = open_client(&peer, 0);
    cr_assert_eq(tgc_call_until_answered(client, &request, LONG_MS, &response, &fault),
                 TG_ERR_TIMEOUT);
    cr_assert_null(response);
    cr_assert_not_null(strstr(fault.text, "abcd0000000000000000000000000000"), "%s", fault.text);
    tgc_close(client);
    peer_join(&peer);
}

Test(client, finds_the_outcome_where_an_answer_keeps_it)
{
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    Tidegate__V1__OpenTeamResponse team = TIDEGATE__V1__OPEN_TEAM_RESPONSE__INIT;
    Tidegate__V1__PlaceOrderResponse order = TIDEGATE__V1__PLACE_ORDER_RESPONSE__INIT;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_OPEN_TEAM;
    response.open_team = &team;
    cr_assert_eq(tgc_outcome_of(&response).verdict, TG_UNSPECIFIED, "without its order");
    team.order = &order;
    order.verdict = (Tidegate__V1__Verdict)TG_BUSY;
    order.retry_after_ms = 7;
    cr_assert_eq(tgc_outcome_of(&response).verdict, TG_BUSY);
    cr_assert_eq(tgc_outcome_of(&response).retry_after_ms, 7);
}
