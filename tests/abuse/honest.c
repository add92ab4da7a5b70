#include "tests/abuse/honest.h"

#include "base/clock.h"
#include "base/rng.h"
#include "client/tidegate.h"
#include "proto/codec.h"
#include "tests/abuse/scene.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_FLIGHT_MAX 256 /* of one client: more than its patience lets it have */
#define INPUT_BYTES   65536
#define PERIOD_NS     (TG_NS_PER_S / HONEST_RATE)
#define LOOK_EVERY_NS (20 * TG_NS_PER_MS)
#define PATIENCE_NS   (HONEST_PATIENCE_MS * TG_NS_PER_MS)
#define SCRATCH_BYTES 1024

_Static_assert(HONEST_PATIENCE_MS / 1000 * HONEST_RATE * 2 < IN_FLIGHT_MAX,
               "every one has a place");

enum asks {
    ASK_ORDER,
    ASK_PAY,
    ASK_READ,
};

struct pending {
    bool is_open;
    bool was_busy;
    enum asks asks;
    uint64_t number; /* of the client's requests; names its request id */
    uint64_t order_id;
    int64_t due_ns;
    int64_t again_ns; /* after BUSY; 0: it is on its way */
    struct honest_phase *phase;
};

struct client {
    int fd;
    uint32_t index;
    uint64_t number;
    int64_t next_ns;
    uint64_t last_order_id;
    uint32_t open; /* of `pending` */
    size_t used;
    struct pending pending[IN_FLIGHT_MAX];
    uint8_t input[INPUT_BYTES];
};

struct honest {
    uint64_t seed;
    struct honest_phase *phase; /* of what falls due now; NULL: nothing does */
    struct honest_tally tally;
    struct pollfd polls[HONEST_CLIENTS];
    struct client clients[HONEST_CLIENTS];
};

const struct honest_tally *honest_tally(const struct honest *honest)
{
    return &honest->tally;
}

static void fail(struct honest *honest, const struct client *client, const char *what)
{
    if (honest->tally.failures++ == 0)
        snprintf(honest->tally.first_failure, sizeof(honest->tally.first_failure),
                 "client %u: %.120s", client->index, what);
}

/* --- connecting --- */

static int connect_to(uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
        fcntl(fd, F_SETFL, O_NONBLOCK))
        scene_fail("an honest client cannot connect");
    return fd;
}

struct honest *honest_open(uint16_t port, uint64_t seed)
{
    struct honest *honest = calloc(1, sizeof(*honest));
    if (!honest)
        scene_fail("no memory for the honest clients");
    honest->seed = seed;
    for (uint32_t i = 0; i < HONEST_CLIENTS; i++) {
        honest->clients[i].fd = connect_to(port);
        honest->clients[i].index = i;
        honest->polls[i] = (struct pollfd){.fd = honest->clients[i].fd, .events = POLLIN};
    }
    return honest;
}

void honest_close(struct honest *honest)
{
    for (uint32_t i = 0; i < HONEST_CLIENTS; i++)
        if (honest->clients[i].fd >= 0)
            close(honest->clients[i].fd);
    free(honest);
}

/* --- sending --- */

static void close_client(struct honest *honest, struct client *client, const char *why)
{
    honest->tally.closed++;
    honest->tally.failures += client->open;
    honest->tally.unknown += client->open;
    if (client->open == 0)
        fail(honest, client, why);
    else if (honest->tally.first_failure[0] == '\0')
        snprintf(honest->tally.first_failure, sizeof(honest->tally.first_failure),
                 "client %u: %.120s", client->index, why);
    close(client->fd);
    client->fd = honest->polls[client->index].fd = -1;
    client->open = 0;
    memset(client->pending, 0, sizeof(client->pending));
}

static void fill_request_id(const struct honest *honest, const struct client *client,
                            uint64_t number, uint8_t id[TG_REQUEST_ID_BYTES])
{
    uint64_t words[2] = {tg_mix64(honest->seed + client->index), number};
    memcpy(id, words, sizeof(words));
}

static size_t pack_request(const Tidegate__V1__Request *request, uint8_t *frame)
{
    size_t size = tidegate__v1__request__get_packed_size(request);
    size_t prefix = tg_frame_prefix(frame, (uint32_t)size);
    return prefix + tidegate__v1__request__pack(request, frame + prefix);
}

static size_t build_order(const struct client *client, uint8_t id[TG_REQUEST_ID_BYTES],
                          uint64_t correlation_id, uint8_t *frame)
{
    struct tg_order order = {.sale_id = SCENE_SALE,
                             .user_id = client->index + 1,
                             .unit_price_minor = SCENE_PRICE,
                             .sku = (const uint8_t *)SCENE_SKU,
                             .sku_bytes = sizeof(SCENE_SKU) - 1,
                             .quantity = 1};
    memcpy(order.request_id, id, TG_REQUEST_ID_BYTES);
    return tg_order_frame(frame, correlation_id, &order);
}

static size_t build_payment(const struct pending *pending, uint8_t id[TG_REQUEST_ID_BYTES],
                            uint64_t correlation_id, uint8_t *frame)
{
    Tidegate__V1__ChangeOrderRequest change = TIDEGATE__V1__CHANGE_ORDER_REQUEST__INIT;
    Tidegate__V1__Payment payment = TIDEGATE__V1__PAYMENT__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    change.request_id = (ProtobufCBinaryData){.len = TG_REQUEST_ID_BYTES, .data = id};
    change.order_id = pending->order_id;
    change.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
    change.record_payment = &payment;
    payment.payment_id = change.request_id;
    payment.amount_minor = SCENE_PRICE;
    payment.currency = (char *)(uintptr_t)SCENE_CURRENCY;
    request.correlation_id = correlation_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    request.change_order = &change;
    return pack_request(&request, frame);
}

static size_t build_read(const struct pending *pending, uint64_t correlation_id, uint8_t *frame)
{
    Tidegate__V1__GetOrderRequest get = TIDEGATE__V1__GET_ORDER_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    get.order_id = pending->order_id;
    request.correlation_id = correlation_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ORDER;
    request.get_order = &get;
    return pack_request(&request, frame);
}

static void transmit(struct honest *honest, struct client *client, struct pending *pending)
{
    uint8_t id[TG_REQUEST_ID_BYTES], frame[SCRATCH_BYTES];
    uint64_t correlation_id = (uint64_t)(pending - client->pending) + 1;
    size_t size = 0;
    fill_request_id(honest, client, pending->number, id);
    pending->again_ns = 0;
    switch (pending->asks) {
    case ASK_ORDER:
        size = build_order(client, id, correlation_id, frame);
        break;
    case ASK_PAY:
        size = build_payment(pending, id, correlation_id, frame);
        break;
    case ASK_READ:
        size = build_read(pending, correlation_id, frame);
        break;
    }
    /* A few small frames always fit the socket, unless the server does not read at all. */
    if (send(client->fd, frame, size, MSG_NOSIGNAL) != (ssize_t)size)
        close_client(honest, client, "a request could not be sent");
}

static enum asks choose(const struct client *client)
{
    if (client->last_order_id == 0)
        return ASK_ORDER;
    return client->number % 10 == 4 ? ASK_PAY : client->number % 10 == 9 ? ASK_READ : ASK_ORDER;
}

static void ask(struct honest *honest, struct client *client, int64_t due_ns)
{
    struct pending *pending = client->pending;
    while (pending < client->pending + IN_FLIGHT_MAX && pending->is_open)
        pending++;
    if (pending == client->pending + IN_FLIGHT_MAX) {
        fail(honest, client, "too many requests without an answer");
        return;
    }
    *pending = (struct pending){.is_open = true,
                                .asks = choose(client),
                                .number = ++client->number,
                                .order_id = client->last_order_id,
                                .due_ns = due_ns,
                                .phase = honest->phase};
    if (pending->asks == ASK_PAY)
        client->last_order_id = 0; /* paid once */
    client->open++;
    honest->tally.sent++;
    transmit(honest, client, pending);
}

/* --- answers --- */

static void record(struct honest_phase *phase, int64_t due_ns, int64_t latency_ns)
{
    int64_t window = (due_ns - phase->begun_ns) / HONEST_WINDOW_NS;
    tg_histogram_record(&phase->latency, (uint64_t)latency_ns, 1);
    if (window >= 0 && (uint64_t)window < phase->worst_count &&
        phase->worst_ns[window] < (uint64_t)latency_ns)
        phase->worst_ns[window] = (uint64_t)latency_ns;
}

static void done(struct client *client, struct pending *pending)
{
    pending->is_open = false;
    client->open--;
}

static void take_answer(struct honest *honest, struct client *client,
                        const Tidegate__V1__Response *response, int64_t now_ns)
{
    uint64_t slot = response->correlation_id - 1;
    if (slot >= IN_FLIGHT_MAX || !client->pending[slot].is_open) {
        fail(honest, client,
             response->kind_case == TIDEGATE__V1__RESPONSE__KIND_ERROR ? response->error->message
                                                                       : "an answer to nothing");
        return;
    }
    struct pending *pending = &client->pending[slot];
    struct tgc_outcome outcome = tgc_outcome_of(response);
    if (outcome.verdict == TG_BUSY && !pending->was_busy) {
        honest->tally.busy++;
        pending->was_busy = true;
        pending->again_ns = now_ns + outcome.retry_after_ms * TG_NS_PER_MS;
        return;
    }
    int wanted = pending->asks == ASK_ORDER ? TG_ACCEPTED : TG_OK;
    if (outcome.verdict != wanted)
        fail(honest, client, tg_verdict_name((enum tg_verdict)outcome.verdict));
    if (pending->asks == ASK_ORDER && outcome.verdict == TG_ACCEPTED) {
        client->last_order_id = response->place_order->order_id;
        honest->tally.accepted++;
    }
    record(pending->phase, pending->due_ns, now_ns - pending->due_ns);
    honest->tally.answered++;
    done(client, pending);
}

static void cut_answers(struct honest *honest, struct client *client, int64_t now_ns)
{
    struct tg_bytes rest = {client->input, client->used}, body;
    size_t used;
    while (client->fd >= 0 && tg_frame_next_response(rest, &body, &used) == TG_FRAME_WHOLE) {
        Tidegate__V1__Response *response =
            tidegate__v1__response__unpack(NULL, body.size, body.data);
        if (response)
            take_answer(honest, client, response, now_ns);
        else
            fail(honest, client, "an answer that is none");
        tidegate__v1__response__free_unpacked(response, NULL);
        rest = (struct tg_bytes){rest.data + used, rest.size - used};
    }
    memmove(client->input, rest.data, rest.size);
    client->used = rest.size;
}

static void receive(struct honest *honest, struct client *client)
{
    ssize_t got = recv(client->fd, client->input + client->used, INPUT_BYTES - client->used, 0);
    int64_t now_ns = tg_clock_mono_ns();
    if (got > 0) {
        client->used += (size_t)got;
        cut_answers(honest, client, now_ns);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        close_client(honest, client, got == 0 ? "closed by the server" : strerror(errno));
    }
}

/* --- time --- */

/* Sends again what was BUSY and gives up what is too late; returns when to look again. */
static int64_t check_pending(struct honest *honest, struct client *client, int64_t now_ns)
{
    int64_t next_ns = INT64_MAX;
    if (client->open == 0)
        return next_ns;
    for (uint32_t i = 0; i < IN_FLIGHT_MAX; i++) {
        struct pending *pending = &client->pending[i];
        if (!pending->is_open)
            continue;
        if (pending->again_ns != 0 && pending->again_ns <= now_ns)
            transmit(honest, client, pending);
        else if (pending->again_ns != 0 && pending->again_ns < next_ns)
            next_ns = pending->again_ns;
        if (pending->is_open && now_ns - pending->due_ns > PATIENCE_NS) {
            fail(honest, client, "no answer");
            honest->tally.unknown += pending->asks == ASK_ORDER;
            record(pending->phase, pending->due_ns, now_ns - pending->due_ns);
            done(client, pending);
        }
    }
    return next_ns;
}

/* Sends what is due; returns when the next thing is. */
static int64_t send_due(struct honest *honest, int64_t now_ns)
{
    int64_t next_ns = INT64_MAX;
    for (uint32_t i = 0; i < HONEST_CLIENTS; i++) {
        struct client *client = &honest->clients[i];
        if (client->fd < 0)
            continue;
        while (honest->phase && client->fd >= 0 && client->next_ns <= now_ns) {
            int64_t due_ns = client->next_ns;
            client->next_ns += PERIOD_NS;
            ask(honest, client, due_ns);
        }
        int64_t again_ns = check_pending(honest, client, now_ns);
        next_ns = again_ns < next_ns ? again_ns : next_ns;
        if (honest->phase && client->next_ns < next_ns)
            next_ns = client->next_ns;
    }
    return next_ns;
}

/* Waits until something came, or until `until_ns`. */
static void wait_for_answers(struct honest *honest, int64_t until_ns)
{
    int64_t left_ns = until_ns - tg_clock_mono_ns();
    struct timespec timeout = {.tv_sec = left_ns > 0 ? left_ns / TG_NS_PER_S : 0,
                               .tv_nsec = left_ns > 0 ? left_ns % TG_NS_PER_S : 0};
    if (ppoll(honest->polls, HONEST_CLIENTS, &timeout, NULL) <= 0)
        return;
    for (uint32_t i = 0; i < HONEST_CLIENTS; i++)
        if (honest->polls[i].revents != 0 && honest->clients[i].fd >= 0)
            receive(honest, &honest->clients[i]);
}

static void restart_clocks(struct honest *honest, int64_t begin_ns)
{
    for (uint32_t i = 0; i < HONEST_CLIENTS; i++)
        honest->clients[i].next_ns = begin_ns + (int64_t)i * PERIOD_NS / HONEST_CLIENTS;
}

void honest_run(struct honest *honest, struct honest_phase *phase, int64_t duration_ns,
                void (*look)(void *context), void *context)
{
    int64_t begin_ns = tg_clock_mono_ns(), look_ns = begin_ns;
    /* Clients that go on from an earlier phase keep their time. */
    if (!honest->phase)
        restart_clocks(honest, begin_ns);
    if (phase->begun_ns == 0)
        phase->begun_ns = begin_ns;
    honest->phase = phase;
    for (;;) {
        int64_t now_ns = tg_clock_mono_ns();
        if (now_ns - begin_ns >= duration_ns)
            return;
        int64_t until_ns = send_due(honest, now_ns);
        if (now_ns >= look_ns) {
            if (look)
                look(context);
            look_ns = now_ns + LOOK_EVERY_NS;
        }
        until_ns = until_ns < look_ns ? until_ns : look_ns;
        if (until_ns > begin_ns + duration_ns)
            until_ns = begin_ns + duration_ns;
        wait_for_answers(honest, until_ns);
    }
}

static uint32_t open_requests(const struct honest *honest)
{
    uint32_t open = 0;
    for (uint32_t i = 0; i < HONEST_CLIENTS; i++)
        open += honest->clients[i].open;
    return open;
}

void honest_finish(struct honest *honest)
{
    honest->phase = NULL;
    while (open_requests(honest) > 0) {
        int64_t now_ns = tg_clock_mono_ns();
        int64_t until_ns = send_due(honest, now_ns);
        if (until_ns > now_ns + LOOK_EVERY_NS)
            until_ns = now_ns + LOOK_EVERY_NS;
        wait_for_answers(honest, until_ns);
    }
}
