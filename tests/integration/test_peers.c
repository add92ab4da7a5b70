/* Peers that stall, flood, vanish or simply stand there: each costs what its limits say, and the
 * others are served meanwhile. */
#include "base/clock.h"
#include "tests/lib/peer.h"
#include "tests/lib/sale.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

Test(peers, half_a_frame_waits_no_longer_than_its_timeout)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "server.frame_timeout_s=1", NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 1000000, 0);
    struct tg_order order = sale_order(1, "A", 1, 1);
    uint8_t frame[TG_ORDER_FRAME_BYTES_MAX];
    size_t size = tg_order_frame(frame, 1, &order);
    struct peer peer;
    peer_open(&peer, &daemon);
    int64_t sent_ns = tg_clock_mono_ns();
    peer_send(&peer, frame, size / 2);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    peer_expect_end(&peer);
    cr_assert(tg_clock_mono_ns() - sent_ns >= TG_NS_PER_S, "closed before its time");
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    cr_assert_eq(sale_list(client, 0, NULL, NULL), 2);
    peer_close(&peer);
    tgc_close(client);
    daemon_end(&daemon);
}

Test(peers, a_frame_that_trickles_is_held_to_the_same_time)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "server.frame_timeout_s=1", NULL);
    struct peer peer;
    peer_open(&peer, &daemon);
    uint8_t frame[64] = {60, 8};
    int64_t sent_ns = tg_clock_mono_ns();
    size_t sent = 0;
    /* A byte now and then must not buy more time. */
    while (peer_flood(&peer, frame + sent, 1, 1, 1000) == 1 && ++sent < 40)
        usleep(100 * 1000);
    peer_expect_end(&peer);
    cr_assert(sent < 40, "the connection lived for %zu bytes", sent);
    cr_assert(tg_clock_mono_ns() - sent_ns >= TG_NS_PER_S, "closed before its time");
    peer_close(&peer);
    daemon_end(&daemon);
}

Test(peers, an_idle_connection_is_closed_in_time)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "server.idle_timeout_s=1", NULL);
    struct peer peer;
    peer_open(&peer, &daemon);
    int64_t opened_ns = tg_clock_mono_ns();
    peer_expect_end(&peer);
    cr_assert(tg_clock_mono_ns() - opened_ns >= TG_NS_PER_S - 10 * TG_NS_PER_MS,
              "closed before its time");
    peer_close(&peer);
    daemon_end(&daemon);
}

/* Floods the daemon from `count` connections that never read; each must stop being read before
 * 64 MiB, and the other client must be served after each. Returns by how much resident memory
 * grew at most. */
static size_t flood_from(struct peer *peers, int count, struct daemon *daemon,
                         struct tgc_client *other, const uint8_t *bytes, size_t size)
{
    size_t before = daemon_resident_bytes(daemon), highest = before;
    for (int i = 0; i < count; i++) {
        peer_open(&peers[i], daemon);
        size_t sent = peer_flood(&peers[i], bytes, size, 64 * MIB, 1000);
        cr_assert(sent < 64 * MIB, "it is read for ever");
        sale_assert_verdict(sale_buy(other, 1, "A", 1, 1), TG_ACCEPTED);
        size_t now = daemon_resident_bytes(daemon);
        highest = now > highest ? now : highest;
    }
    return highest - before;
}

/* Each must be closed although it reads nothing; with requests unread that is a reset. */
static void expect_all_closed(struct peer *peers, int count)
{
    for (int i = 0; i < count; i++) {
        struct pollfd event = {.fd = peers[i].fd}; /* errors and hang-ups are always told */
        cr_assert_eq(poll(&event, 1, DAEMON_WAIT_MS), 1, "it was never closed");
        peer_close(&peers[i]);
    }
}

/* AddressSanitizer adds its shadow, and keeps for a while what was freed. */
#ifdef __SANITIZE_ADDRESS__
#define GROWN_MAX (256 * MIB)
#else
#define GROWN_MAX (96 * MIB)
#endif

Test(peers, one_that_never_reads_its_answers_is_read_no_further_and_closed)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "server.write_timeout_s=1", NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 1000000, 0);
    uint8_t *orders = malloc(1024 * TG_ORDER_FRAME_BYTES_MAX);
    cr_assert(orders);
    size_t size = 0;
    for (uint64_t i = 0; i < 1024; i++) {
        struct tg_order order = sale_order(1, "NONE", i, 1);
        size += tg_order_frame(orders + size, i, &order);
    }
    struct peer peers[4];
    size_t grown = flood_from(peers, 4, &daemon, client, orders, size);
    cr_assert(grown < GROWN_MAX, "resident memory grew by %zu MiB", grown / MIB);
    expect_all_closed(peers, 4);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    free(orders);
    tgc_close(client);
    daemon_end(&daemon);
}

/* Frames of the same read, over and over; its answer is much larger than the request. */
static size_t build_reads(uint8_t *bytes, uint32_t count)
{
    uint8_t body[16], get[8], *at = bytes;
    uint8_t *end = peer_put_number(get, 1, 2);
    size_t size = (size_t)(peer_put_bytes(body, TIDEGATE__V1__REQUEST__KIND_GET_SALE, get,
                                          (size_t)(end - get)) -
                           body);
    for (uint32_t i = 0; i < count; i++) {
        at += tg_frame_prefix(at, (uint32_t)size);
        memcpy(at, body, size);
        at += size;
    }
    return (size_t)(at - bytes);
}

Test(peers, small_requests_with_large_answers_cost_no_more_than_their_connections_bounds)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "server.write_timeout_s=1", NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 1000000, 0);
    sale_create_many(client, 2, 100, 10);
    uint8_t *reads = malloc(MIB);
    cr_assert(reads);
    size_t size = build_reads(reads, 4096); /* 6 bytes each; an answer has some 5 KiB */
    struct peer peers[4];
    size_t grown = flood_from(peers, 4, &daemon, client, reads, size);
    /* Each may have 256 KiB of answers and one answer more, and hold 4 MiB of requests. */
    cr_assert(grown < 24 * MIB, "resident memory grew by %zu MiB", grown / MIB);
    expect_all_closed(peers, 4);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    free(reads);
    tgc_close(client);
    daemon_end(&daemon);
}

Test(peers, what_a_client_left_behind_when_it_vanished_is_durable)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 1000000, 0);
    uint8_t *bytes = malloc(1000 * TG_ORDER_FRAME_BYTES_MAX);
    cr_assert(bytes);
    size_t size = 0;
    struct tg_order orders[1000];
    for (int i = 0; i < 1000; i++) {
        orders[i] = sale_order(1, "A", 1, 1);
        size += tg_order_frame(bytes + size, (uint64_t)i, &orders[i]);
    }
    struct peer peer;
    peer_open(&peer, &daemon);
    peer_send(&peer, bytes, size);
    /* One answer shows that the first were taken; then it goes without a word. */
    Tidegate__V1__Response *response = peer_response(&peer);
    cr_assert(response);
    tidegate__v1__response__free_unpacked(response, NULL);
    peer_close(&peer);

    /* The books agree with the list, and what a retry gets agrees with both. */
    sale_assert_verdict(sale_buy(client, 1, "A", 2, 1), TG_ACCEPTED);
    uint64_t listed = sale_list(client, 1, NULL, NULL), replayed = 0;
    cr_assert(listed >= 2);
    for (int i = 0; i < 1000; i++) {
        struct tg_answer answer = sale_place(client, &orders[i]);
        sale_assert_verdict(answer.verdict, TG_ACCEPTED);
        replayed += answer.replayed;
    }
    cr_assert(replayed + 1 >= listed, "%llu orders listed, %llu answered again",
              (unsigned long long)listed, (unsigned long long)replayed);
    cr_assert_eq(sale_list(client, 1, NULL, NULL), 1001);
    cr_assert_eq(sale_available(client, 1, "A"), 1000000 - 1001);
    free(bytes);
    tgc_close(client);
    daemon_end(&daemon);
}

Test(peers, a_half_closed_connection_gets_its_answers)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 1000000, 0);
    uint8_t *bytes = malloc(1000 * TG_ORDER_FRAME_BYTES_MAX);
    cr_assert(bytes);
    size_t size = 0;
    for (int i = 0; i < 1000; i++) {
        struct tg_order order = sale_order(1, "A", 1, 1);
        size += tg_order_frame(bytes + size, (uint64_t)i, &order);
    }
    struct peer peer;
    peer_open(&peer, &daemon);
    peer_send(&peer, bytes, size);
    peer_half_close(&peer);
    for (int i = 0; i < 1000; i++) {
        Tidegate__V1__Response *response = peer_response(&peer);
        cr_assert(response, "%d of 1000 answers", i);
        sale_assert_verdict(response->place_order->verdict, TG_ACCEPTED);
        tidegate__v1__response__free_unpacked(response, NULL);
    }
    peer_expect_end(&peer);
    free(bytes);
    peer_close(&peer);
    tgc_close(client);
    daemon_end(&daemon);
}

static void send_order(struct peer *peer, const struct tg_order *order)
{
    uint8_t frame[TG_ORDER_FRAME_BYTES_MAX];
    peer_send(peer, frame, tg_order_frame(frame, 1, order));
}

static void wait_until_available(struct tgc_client *client, uint64_t units)
{
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    while (sale_available(client, 1, "A") != units) {
        cr_assert(tg_clock_mono_ns() < deadline_ns, "the orders are never decided");
        usleep(1000);
    }
}

#define GONE_PEERS 400

/* Their answers need a chunk of output memory each, all in one turn: there are 128. Connections
 * that are half closed have nothing that would keep them for another turn when they are aborted. */
Test(peers, half_closed_ones_that_exhaust_the_output_memory_harm_no_others)
{
    struct daemon daemon = {.with_faults = true};
    daemon_start(&daemon, "--set", "server.output_memory_mib=1", NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 1000, 0);
    static struct peer peers[1 + GONE_PEERS];
    /* The first order's commit stands still; all others wait for the next. */
    daemon_fault(&daemon, "sync WAIT");
    for (int i = 0; i <= GONE_PEERS; i++) {
        struct tg_order order = sale_order(1, "A", 1, 1);
        peer_open(&peers[i], &daemon);
        send_order(&peers[i], &order);
        peer_half_close(&peers[i]);
        if (i == 0)
            wait_until_available(client, 999);
    }
    wait_until_available(client, 1000 - 1 - GONE_PEERS);
    daemon_fault(&daemon, NULL);
    int unanswered = 0;
    for (int i = 0; i <= GONE_PEERS; i++) {
        Tidegate__V1__Response *response = peer_response(&peers[i]);
        unanswered += !response;
        if (response)
            tidegate__v1__response__free_unpacked(response, NULL);
        peer_close(&peers[i]);
    }
    cr_assert(unanswered > 0, "the memory was never used up: this test tests nothing");
    sale_assert_verdict(sale_buy(client, 1, "A", 2, 1), TG_ACCEPTED);
    /* Answered or not, they are durable. */
    cr_assert_eq(sale_list(client, 1, NULL, NULL), 1 + GONE_PEERS + 1);
    tgc_close(client);
    daemon_end(&daemon);
}

/* The daemon stands still, so that what is sent to it meanwhile is all there when it goes on. */
static void freeze(const struct daemon *daemon)
{
    int status;
    cr_assert_eq(kill(daemon->pid, SIGSTOP), 0);
    cr_assert_eq(waitpid(daemon->pid, &status, WUNTRACED), daemon->pid);
    cr_assert(WIFSTOPPED(status), "it ended");
}

static void thaw(const struct daemon *daemon)
{
    cr_assert_eq(kill(daemon->pid, SIGCONT), 0);
}

static void place_many(struct tgc_client *client, uint32_t count)
{
    static struct tg_order orders[TG_BATCH_ORDERS_MAX];
    static struct tg_answer answers[TG_BATCH_ORDERS_MAX];
    for (uint32_t placed = 0; placed < count; placed += TG_BATCH_ORDERS_MAX) {
        for (int i = 0; i < TG_BATCH_ORDERS_MAX; i++)
            orders[i] = sale_order(1, "A", 1, 1);
        sale_place_batch(client, orders, TG_BATCH_ORDERS_MAX, answers);
        for (int i = 0; i < TG_BATCH_ORDERS_MAX; i++)
            sale_assert_verdict(answers[i].verdict, TG_ACCEPTED);
    }
}

#define SCANS 700

static size_t put_request(uint8_t *at, const Tidegate__V1__Request *request)
{
    size_t size = tidegate__v1__request__get_packed_size(request);
    size_t prefix = tg_frame_prefix(at, (uint32_t)size);
    return prefix + tidegate__v1__request__pack(request, at + prefix);
}

/* Scans of sale 2, and behind them a look at its item B; returns their size. */
static size_t build_scans(uint8_t *bytes)
{
    Tidegate__V1__ListOrdersRequest list = TIDEGATE__V1__LIST_ORDERS_REQUEST__INIT;
    Tidegate__V1__GetItemRequest get = TIDEGATE__V1__GET_ITEM_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    size_t size = 0;
    list.sale_id = get.sale_id = 2;
    get.sku = (char *)(uintptr_t) "B";
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS;
    request.list_orders = &list;
    for (request.correlation_id = 1; request.correlation_id <= SCANS; request.correlation_id++)
        size += put_request(bytes + size, &request);
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ITEM;
    request.get_item = &get;
    return size + put_request(bytes + size, &request);
}

static void expect_scans(struct peer *peer)
{
    for (uint64_t i = 1; i <= SCANS; i++) {
        Tidegate__V1__Response *response = peer_response(peer);
        cr_assert(response, "%d of %d answers", (int)i - 1, SCANS);
        cr_assert_eq(response->correlation_id, i);
        cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_LIST_ORDERS);
        sale_assert_verdict(response->list_orders->verdict, TG_OK);
        cr_assert_eq(response->list_orders->n_orders, 0);
        cr_assert_not(response->list_orders->end);
        tidegate__v1__response__free_unpacked(response, NULL);
    }
}

/* Each of the scans looks at thousands of orders and finds none. Behind them the same connection
 * asks for the stock that the other connection's order, sent after all of it, is taken from: the
 * order must have been decided before. */
Test(peers, a_flood_of_scans_does_not_keep_others_waiting)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 1000000, 0);
    sale_create(client, 2, "B", 10, 0);
    place_many(client, 20000);
    struct peer flood, other;
    peer_open(&flood, &daemon);
    peer_open(&other, &daemon);
    static uint8_t scans[(SCANS + 1) * 16];
    size_t size = build_scans(scans);
    struct tg_order order = sale_order(2, "B", 1, 1);
    freeze(&daemon);
    peer_send(&flood, scans, size); /* at once: no more than one receive buffer takes */
    send_order(&other, &order);
    thaw(&daemon);

    expect_scans(&flood);
    Tidegate__V1__Response *response = peer_response(&flood);
    cr_assert(response);
    cr_assert_eq(response->kind_case, TIDEGATE__V1__RESPONSE__KIND_GET_ITEM);
    cr_assert_eq(response->get_item->status->available_units, 9,
                 "the other's order waited for all of the scans");
    tidegate__v1__response__free_unpacked(response, NULL);
    response = peer_response(&other);
    cr_assert(response);
    sale_assert_verdict(response->place_order->verdict, TG_ACCEPTED);
    tidegate__v1__response__free_unpacked(response, NULL);
    peer_close(&flood);
    peer_close(&other);
    tgc_close(client);
    daemon_end(&daemon);
}

Test(peers, more_connections_than_allowed_are_turned_away_with_a_word)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "server.connections_max=4", NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 100, 0);
    struct peer peers[3], refused;
    for (int i = 0; i < 3; i++)
        peer_open(&peers[i], &daemon);
    peer_open(&refused, &daemon);
    peer_expect_error(&refused, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED, 0);
    peer_expect_end(&refused);
    peer_close(&refused);
    sale_assert_verdict(sale_buy(client, 1, "A", 1, 1), TG_ACCEPTED);
    peer_close(&peers[0]);
    /* Its place is free again, as soon as the daemon has seen it go. */
    struct tgc_client *next = NULL;
    struct tgc_options options = {.server = daemon.address};
    Tidegate__V1__GetServerTimeRequest get = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &get;
    Tidegate__V1__Response *response = NULL;
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    struct tg_fault fault;
    while (!response) {
        cr_assert(tg_clock_mono_ns() < deadline_ns, "the place is never free");
        cr_assert_eq(tgc_open(&options, &next, &fault), TG_ERR_OK, "%s", fault.text);
        if (tgc_call(next, &request, DAEMON_WAIT_MS, &response, &fault) != TG_ERR_OK)
            response = NULL;
        tgc_close(next);
    }
    tgc_response_free(response);
    for (int i = 1; i < 3; i++)
        peer_close(&peers[i]);
    tgc_close(client);
    daemon_end(&daemon);
}

#define IDLE_PEERS 10000

static bool allow_descriptors(rlim_t count)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < count)
        return false;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

Test(peers, ten_thousand_idle_ones_do_not_disturb_a_busy_one)
{
    if (!allow_descriptors(IDLE_PEERS + 200))
        cr_skip_test("the hard limit of RLIMIT_NOFILE is below %d", IDLE_PEERS + 200);
    struct daemon daemon = {0};
    daemon_start(&daemon, NULL);
    struct tgc_client *client = sale_client(&daemon);
    sale_create(client, 1, "A", 1000000, 0);
    static struct peer peers[IDLE_PEERS];
    for (int i = 0; i < IDLE_PEERS; i++) {
        peer_open(&peers[i], &daemon);
        free(peers[i].input); /* ten thousand frames of a MiB are not needed */
        peers[i].input = NULL;
    }
    for (uint64_t user = 0; user < 200; user++)
        sale_assert_verdict(sale_buy(client, 1, "A", user, 1), TG_ACCEPTED);
    /* They were all let in, not turned away: the last of them is served. */
    peers[IDLE_PEERS - 1].input = malloc(PEER_FRAME_BYTES);
    peer_frame(&peers[IDLE_PEERS - 1], NULL, 0);
    peer_expect_error(&peers[IDLE_PEERS - 1], TIDEGATE__V1__ERROR_CODE__ERROR_CODE_UNKNOWN_REQUEST,
                      0);
    for (int i = 0; i < IDLE_PEERS; i++)
        peer_close(&peers[i]);
    tgc_close(client);
    daemon_end(&daemon);
}

/* --- who stands there, and who takes too much --- */

#define PLACES 64
#define KEPT   4 /* of these, for those who speak */

static bool is_served(struct peer *peer, uint64_t correlation_id)
{
    Tidegate__V1__GetServerTimeRequest get = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.correlation_id = correlation_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &get;
    peer_request(peer, &request);
    Tidegate__V1__Response *response = peer_response(peer);
    bool served = response && response->correlation_id == correlation_id &&
                  response->kind_case == TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME;
    if (response)
        tidegate__v1__response__free_unpacked(response, NULL);
    return served;
}

Test(peers, those_who_never_say_anything_make_room_for_those_who_do)
{
    struct daemon daemon = {0};
    daemon_start(&daemon, "--set", "server.connections_max=64", NULL);
    static struct peer silent[PLACES], speaking[2 * PLACES];
    struct peer first;
    peer_open(&first, &daemon);
    cr_assert(is_served(&first, 1));
    for (int i = 0; i < PLACES - KEPT - 1; i++)
        peer_open(&silent[i], &daemon);
    usleep(1100 * 1000); /* silent for long enough */
    for (uint64_t i = 0; i < PLACES - KEPT - 2; i++) {
        peer_open(&speaking[i], &daemon);
        cr_assert(is_served(&speaking[i], i), "connection %d finds no place", (int)i);
    }
    cr_assert(is_served(&first, 2), "who has spoken keeps its place");
    for (int i = 0; i < PLACES - KEPT - 2; i++)
        peer_close(&speaking[i]);
    for (int i = 0; i < PLACES - KEPT - 1; i++)
        peer_close(&silent[i]);
    peer_close(&first);
    daemon_end(&daemon);
}

/* The daemon inherits the limit. */
Test(peers, whoever_comes_when_the_descriptors_are_used_up_is_told_so)
{
    enum {
        FILES = 400,
        SERVED = FILES / 2 /* the rest is for files and rings */
    };
    struct daemon daemon = {0};
    struct rlimit before, few = {.rlim_cur = FILES, .rlim_max = FILES};
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    daemon_start(&daemon, NULL);
    daemon_log_wait(&daemon, "the limit of open files");
    static struct peer peers[SERVED + 20];
    for (uint64_t i = 0; i < SERVED; i++) {
        peer_open(&peers[i], &daemon);
        cr_assert(is_served(&peers[i], i), "connection %d", (int)i);
    }
    for (int i = SERVED; i < SERVED + 20; i++) {
        peer_open(&peers[i], &daemon);
        peer_expect_error(&peers[i], TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED, 0);
        peer_close(&peers[i]);
    }
    for (int i = 0; i < SERVED; i++)
        peer_close(&peers[i]);
    daemon_end(&daemon);
}

struct changes {
    uint32_t answered, busy;
};

static void on_change(void *context, const Tidegate__V1__Response *response)
{
    struct changes *changes = context;
    changes->answered++;
    changes->busy += response->kind_case == TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER &&
                     (enum tg_verdict)response->change_order->verdict == TG_BUSY;
}

/* Moves the order's payment deadline on, by one second more with each. */
static void send_extensions(struct tgc_client *client, uint64_t order_id, uint32_t first,
                            uint32_t count, struct changes *changes)
{
    for (uint32_t i = first; i < first + count; i++) {
        Tidegate__V1__ChangeOrderRequest change = TIDEGATE__V1__CHANGE_ORDER_REQUEST__INIT;
        Tidegate__V1__ExtendPayment extend = TIDEGATE__V1__EXTEND_PAYMENT__INIT;
        Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
        uint64_t id[2] = {i, order_id};
        struct tg_fault fault;
        change.request_id =
            (ProtobufCBinaryData){.len = TG_REQUEST_ID_BYTES, .data = (uint8_t *)id};
        change.order_id = order_id;
        change.change_case = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_EXTEND_PAYMENT;
        change.extend_payment = &extend;
        extend.payment_deadline_ms = tg_clock_wall_ns() / TG_NS_PER_MS + 3600000 + i * 1000;
        request.kind_case = TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
        request.change_order = &change;
        while (tgc_send(client, &request, on_change, changes, &fault) == TG_ERR_FULL)
            tgc_poll(client, 10, &fault);
    }
}

static void await_changes(struct tgc_client *client, const struct changes *changes, uint32_t count)
{
    int64_t deadline_ns = tg_clock_mono_ns() + DAEMON_WAIT_MS * TG_NS_PER_MS;
    struct tg_fault fault;
    while (changes->answered < count) {
        cr_assert(tg_clock_mono_ns() < deadline_ns, "%u of %u answers", changes->answered, count);
        tgc_poll(client, 10, &fault);
    }
}

/* The first change is on its way to a disk that stands still; all others wait for it. */
Test(peers, one_connection_has_its_part_of_the_places_for_changes_that_wait)
{
    enum {
        WAIT_MAX = 1024, /* SRV_CONN_FENCED_MAX */
        MORE = 50
    };
    struct daemon daemon = {.with_faults = true};
    daemon_start(&daemon, NULL);
    struct tgc_options options = {.server = daemon.address, .window = 4096};
    struct tgc_client *greedy, *client = sale_client(&daemon);
    struct tg_fault fault;
    cr_assert_eq(tgc_open(&options, &greedy, &fault), TG_ERR_OK);
    sale_create(client, 1, "A", 1000, 0);
    struct tg_order order = sale_order(1, "A", 1, 1);
    uint64_t order_id = sale_place(client, &order).order_id;
    struct changes greeds = {0}, others = {0};
    daemon_fault(&daemon, "sync WAIT");
    send_extensions(greedy, order_id, 1, 1 + WAIT_MAX + MORE, &greeds);
    await_changes(greedy, &greeds, MORE);
    cr_assert_eq(greeds.busy, MORE);
    send_extensions(client, order_id, 5000, 1, &others);
    tgc_poll(client, 200, &fault);
    cr_assert_eq(others.answered, 0, "there is room for others");
    daemon_fault(&daemon, NULL);
    await_changes(greedy, &greeds, 1 + WAIT_MAX + MORE);
    await_changes(client, &others, 1);
    cr_assert_eq(greeds.busy, MORE);
    cr_assert_eq(others.busy, 0);
    tgc_close(greedy);
    tgc_close(client);
    daemon_end(&daemon);
}
