/* Requests of every kind against two cores of the daemon without sockets, threads or disk: each
 * frame goes the whole way of server/core.c, which is included for its steps, from the decoder to
 * the answer. The database is played once, with orders and teams in many states; from then on it is
 * only read: a batch is either left in the journal for a while, or refused as if
 * the disk were full. So after each input everything must be as it was before.
 *
 * input: frames
 *
 *   frame: | u8 | u16: bytes | a Request |
 *     u8: 1: a turn of both cores behind it; 2: the writer has refused what lies there;
 *         4: at core 1
 *
 * What must hold: every answer is a whole Response; a request that is read is answered once (a
 * subscription, and a poll that waits, aside); no unit, lock, hold or block is lost.
 */
#include "server/core.c"

#include "net/conn.h"
#include "server/config.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/lib_messages.h"

enum {
    CORES = 2,
    ITEMS_MAX = 2048,
    TURN = 1,
    REFUSES = 2,
    OTHER_CORE = 4,
    FRAMES_MAX = 64,
    TURNS_MAX = 10000,
    ORDERS_MAX = 4096,
};

/* What the writer does in a turn. */
enum writer {
    LEAVE,
    REFUSE,
    COMMIT,
};

static struct srv_server server;
static struct net_loop loops[CORES];
static struct net_conn conns[CORES];
static struct tg_stock stocks[ITEMS_MAX];

/* --- a server over an empty database --- */

static void make_engine(void)
{
    struct tg_fault fault = {0};
    struct sto_options options = {.data_dir = fuzz_directory(),
                                  .map_bytes = 16 << 20,
                                  .items_max = ITEMS_MAX,
                                  .readers_max = 4,
                                  .request_ttl_s = 3600};
    struct eng_config config = {.shards = CORES,
                                .sales_max = 16,
                                .items_max = ITEMS_MAX,
                                .orders_max = ORDERS_MAX,
                                .holdings_max = ORDERS_MAX,
                                .timers_max = ORDERS_MAX,
                                .request_ttl_ms = 3600 * 1000,
                                .now_ms = MESSAGE_AT_MS,
                                .hash_seed = 7};
    if (sto_env_open(&options, &server.storage, &fault) != TG_ERR_OK)
        fuzz_fail(__FILE__, __LINE__, "an empty database:", "%s", fault.text);
    FUZZ_MUST(eng_engine_create(&config, &server.engine, &fault) == TG_ERR_OK);
    srv_writer_publish_start(&server);
}

static struct tg_ring *make_rings(size_t message_bytes)
{
    struct tg_ring *rings = aligned_alloc(128, CORES * CORES * sizeof(*rings));
    for (int i = 0; rings && i < CORES * CORES; i++) {
        void *messages = tg_mem_map(TG_CORE_RING_MESSAGES * message_bytes);
        FUZZ_MUST(messages != NULL);
        tg_ring_init(&rings[i], messages, message_bytes, TG_CORE_RING_MESSAGES);
    }
    FUZZ_MUST(rings != NULL);
    return rings;
}

/* A loop that has never met a kernel: one connection, whose receive and send are for ever "armed",
 * so that nothing is asked of one. */
static void make_core(uint32_t number)
{
    struct srv_core *core = &server.cores[number];
    struct net_loop *loop = &loops[number];
    struct tg_fault fault;
    FUZZ_MUST(srv_core_init(core, &server, number, &fault) == TG_ERR_OK);
    *loop = (struct net_loop){
        .options = {.connections_max = 1,
                    .in_flight_max = 1 << 20,
                    .output_bytes_max = 1 << 30,
                    .held_bytes_max = 1 << 20},
        .handler = {.context = core, .on_frame = on_frame, .on_frames_end = on_frames_end},
        .conns = &conns[number],
        .now_ns = 1,
    };
    FUZZ_MUST(net_chunk_pool_init(&loop->chunks, 4096, &fault) == TG_ERR_OK);
    core->net = loop;
    core->now_ms = MESSAGE_AT_MS;
    core->now_mono_ns = 1;
}

/* --- answers --- */

struct seen {
    uint32_t answers;
    uint32_t asked; /* requests */
    /* by correlation id */
    uint32_t expected[FRAMES_MAX];
    uint32_t answered[FRAMES_MAX];
    bool any_number[FRAMES_MAX]; /* a subscription or a poll is among them */
    uint64_t order_id;           /* of the last answer that has one */
    bool is_good;                /* it was ACCEPTED or OK */
};

/* What the play of the database goes on with. */
static void note_order(struct seen *seen, const Tidegate__V1__Response *response)
{
    const Tidegate__V1__PlaceOrderResponse *placed = NULL;
    if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER)
        placed = response->place_order;
    else if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_OPEN_TEAM)
        placed = response->open_team->order;
    else if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_JOIN_TEAM)
        placed = response->join_team->order;
    else if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_INGEST_ORDERS &&
             response->ingest_orders->n_results == 1)
        placed = response->ingest_orders->results[0];
    seen->is_good = placed ? placed->verdict == (Tidegate__V1__Verdict)TG_ACCEPTED
                           : response->kind_case != TIDEGATE__V1__RESPONSE__KIND_ERROR;
    seen->order_id = placed ? placed->order_id : seen->order_id;
}

static void count_answer(struct seen *seen, struct tg_bytes body)
{
    Tidegate__V1__Response *response = tidegate__v1__response__unpack(NULL, body.size, body.data);
    FUZZ_MUST(response != NULL);
    FUZZ_MUST(response->kind_case != TIDEGATE__V1__RESPONSE__KIND__NOT_SET);
    seen->answers++;
    if (response->correlation_id < FRAMES_MAX)
        seen->answered[response->correlation_id]++;
    note_order(seen, response);
    tidegate__v1__response__free_unpacked(response, NULL);
}

/* Takes all output of the connection as its peer would. */
static void take_output(struct seen *seen, uint32_t number)
{
    struct net_conn *conn = &conns[number];
    uint8_t *output = malloc(conn->output_bytes ? conn->output_bytes : 1);
    size_t size = 0;
    FUZZ_MUST(output != NULL && loops[number].stats.overflows == 0);
    for (const struct net_chunk *chunk = conn->waiting.head; chunk; chunk = chunk->next) {
        FUZZ_MUST(size + chunk->used <= conn->output_bytes);
        memcpy(output + size, chunk->data, chunk->used);
        size += chunk->used;
    }
    FUZZ_MUST(size == conn->output_bytes);
    net_chunk_queue_clear(&loops[number].chunks, &conn->waiting);
    conn->output_bytes = 0;
    struct tg_bytes rest = {output, size}, body;
    size_t used;
    while (rest.size > 0) {
        FUZZ_MUST(tg_frame_next_response(rest, &body, &used) == TG_FRAME_WHOLE);
        count_answer(seen, body);
        rest = (struct tg_bytes){rest.data + used, rest.size - used};
    }
    free(output);
}

/* --- turns --- */

static void refuse(struct tg_journal *journal)
{
    struct tg_span spans[2];
    uint32_t count = tg_journal_take(journal, TG_JOURNAL_RECORDS, spans);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < spans[i].count; j++)
            spans[i].records[j].outcome = TG_OUTCOME_REFUSED;
    tg_journal_publish(journal);
}

/* As server/writer.c has it. */
static void commit(void)
{
    struct sto_batch batch = {.span_count = 0};
    struct tg_fault fault;
    for (uint32_t i = 0; i < CORES; i++)
        batch.span_count += tg_journal_take(&server.cores[i].journal, TG_JOURNAL_RECORDS,
                                            &batch.spans[batch.span_count]);
    if (batch.span_count > 0)
        FUZZ_MUST(sto_commit(server.storage, &batch, &fault) == STO_DURABLE);
    srv_writer_publish_start(&server);
    for (uint32_t i = 0; i < CORES; i++)
        tg_journal_publish(&server.cores[i].journal);
}

/* As srv_core_run has it, less the kernel, the clock and the timers. */
static void turn(struct seen *seen, enum writer writer)
{
    if (writer == COMMIT)
        commit();
    for (uint32_t i = 0; i < CORES; i++) {
        struct srv_core *core = &server.cores[i];
        if (writer == REFUSE)
            refuse(&core->journal);
        take_requests(core);
        take_replies(core);
        take_completions(core);
        decide_deferred(core);
        srv_lanes_turn(core);
        srv_cart_turn(core);
        srv_control_turn(core);
        srv_events_turn(core);
        srv_pages_turn(core);
        core->appended = false;
        core->notify = 0;
        take_output(seen, i);
    }
}

static bool is_busy(void)
{
    bool busy = false;
    for (uint32_t i = 0; i < CORES; i++)
        busy = busy || tg_journal_in_flight(&server.cores[i].journal) > 0 ||
               has_work(&server.cores[i]) || server.cores[i].holding > 0;
    return busy;
}

/* A new connection under a new name: what is on its way to the old one is lost on it. */
static void reset_connection(uint32_t number)
{
    struct net_conn *conn = &conns[number];
    struct net_loop *loop = &loops[number];
    *conn = (struct net_conn){.fd = -1,
                              .generation = conn->generation + 1,
                              .state = NET_CONN_OPEN,
                              .receive_armed = true,
                              .receive_cancelling = true,
                              .send_in_flight = true};
    loop->dirty = loop->ending = loop->ending_last = NULL;
    loop->thirsty = loop->thirsty_last = NULL;
    loop->ready = (struct net_conn_queue){0};
    memset(loop->lines, 0, sizeof(loop->lines));
    loop->stats.ended++;
}

/* --- what is asked --- */

static bool answers_once(uint32_t kind)
{
    return kind != TIDEGATE__V1__REQUEST__KIND_SUBSCRIBE_EVENTS &&
           kind != TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
}

/* The correlation id is the number of the request, as far as the input leaves that field alone. */
static void ask(struct seen *seen, uint32_t number, struct tg_bytes message)
{
    static uint8_t body[FUZZ_BYTES_MAX + 16];
    struct tg_envelope envelope = {0};
    struct net_conn *conn = &conns[number];
    if (conn->state != NET_CONN_OPEN || seen->asked == FRAMES_MAX)
        return;
    body[0] = 1 << 3;
    body[1] = (uint8_t)seen->asked++;
    if (message.size > 0)
        memcpy(body + 2, message.data, message.size);
    struct tg_bytes whole = {body, message.size + 2};
    bool is_read = tg_request_decode(whole, &envelope) == TG_DECODE_OK;
    if (envelope.correlation_id < FRAMES_MAX) {
        seen->expected[envelope.correlation_id]++;
        if (is_read && !answers_once(envelope.kind))
            seen->any_number[envelope.correlation_id] = true;
    }
    begin_turn(&server.cores[number]); /* whatever it costs, it is not put back */
    on_frame(&server.cores[number], conn, whole);
    on_frames_end(&server.cores[number]);
}

/* --- the database that inputs meet --- */

/* Asks, and makes durable what comes of it. Returns the id of the order that was answered. */
static uint64_t play(struct message message)
{
    static struct seen seen;
    memset(&seen, 0, sizeof(seen));
    for (uint32_t i = 0; i < CORES; i++)
        reset_connection(i);
    ask(&seen, 0, (struct tg_bytes){message.data, message.size});
    do
        turn(&seen, COMMIT);
    while (is_busy());
    FUZZ_MUST(seen.answered[0] == 1 && seen.is_good);
    return seen.order_id;
}

static void play_orders(void)
{
    const int pay = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
    const int refund = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_REQUEST_REFUND;
    const int advance = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_ADVANCE;
    const int cancel = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_CANCEL;
    static const char *const skus[] = {"A", "B", "C", "D", "E", "F"};
    uint64_t number = 0;
    for (uint64_t i = 0; i < 6; i++)
        play(message_order(++number, skus[i], i, 1));
    for (uint64_t i = 0; i < 3; i++) { /* paid, shipped, with a refund that waits */
        uint64_t order_id = play(message_order(++number, "B", 10 + i, 1));
        play(message_change(++number, order_id, pay));
        if (i > 0)
            play(message_change(++number, order_id, advance));
        if (i > 1)
            play(message_change(++number, order_id, refund));
    }
    uint64_t cancelled = play(message_order(++number, "A", 20, 1));
    play(message_change(++number, cancelled, cancel));
    play(message_cart(++number, "A", "B", 21));
    play(message_cart(++number, "E", "F", 22));
    play(message_ingest(1, false));
    play(message_ingest(2, true));
}

static void play_teams(void)
{
    const int pay = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
    uint64_t number = 1000;
    for (uint64_t i = 0; i < 4; i++) { /* pending, open, with a joiner, formed */
        uint64_t team_id = play(message_seat(++number, 2 * i, 0));
        if (i > 0)
            play(message_change(++number, team_id, pay));
        uint64_t joiner = i > 1 ? play(message_seat(++number, 2 * i + 1, team_id)) : 0;
        if (i > 2)
            play(message_change(++number, joiner, pay));
    }
}

static void prepare(void)
{
    if (server.cores)
        return;
    srv_config_init(&server.config);
    server.config.threads = CORES;
    make_engine();
    server.requests = make_rings(sizeof(struct srv_request));
    server.replies = make_rings(sizeof(struct srv_reply));
    struct tg_fault fault;
    server.writer.server = &server;
    FUZZ_MUST(tg_waker_init(&server.writer.waker, &fault) == TG_ERR_OK);
    server.cores = aligned_alloc(128, CORES * sizeof(*server.cores));
    FUZZ_MUST(server.cores != NULL);
    memset(server.cores, 0, CORES * sizeof(*server.cores));
    for (uint32_t i = 0; i < CORES; i++)
        make_core(i);
    play(message_sale(MESSAGE_SALE));
    play(message_sale(MESSAGE_GROUP_BUY));
    play_orders();
    play_teams();
    play(message_group(TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP, "erp", 1));
    for (uint32_t i = 0; i < server.engine.catalog.item_count; i++)
        stocks[i] = eng_item_stock(&server.engine.catalog.items[i]);
}

static void check_rest(const struct seen *seen)
{
    for (uint32_t i = 0; i < FRAMES_MAX; i++)
        FUZZ_MUST(seen->any_number[i] || seen->answered[i] == seen->expected[i]);
    for (uint32_t i = 0; i < server.engine.catalog.item_count; i++) {
        const struct eng_item *item = &server.engine.catalog.items[i];
        struct tg_stock stock = eng_item_stock(item);
        FUZZ_MUST(memcmp(&stock, &stocks[i], sizeof(stock)) == 0);
        FUZZ_MUST(atomic_load(&item->stock.held_units) == 0 && item->orders_in_flight == 0);
    }
    for (uint32_t i = 0; i < CORES; i++) {
        const struct srv_core *core = &server.cores[i];
        FUZZ_MUST(core->shard->locks.count == 0 && core->shard->changes_used == 0);
        FUZZ_MUST(core->shard->teams_used == 0 && core->fenced == 0 && core->ingests == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seen seen;
    struct fuzz_bytes bytes = {data, size};
    if (size > FUZZ_BYTES_MAX)
        return 0;
    prepare();
    memset(&seen, 0, sizeof(seen));
    for (uint32_t i = 0; i < CORES; i++)
        reset_connection(i);
    while (bytes.left > 0) {
        uint8_t head = fuzz_u8(&bytes);
        size_t asked = fuzz_u16(&bytes);
        struct tg_bytes message = {bytes.at, asked < bytes.left ? asked : bytes.left};
        bytes.at += message.size;
        bytes.left -= message.size;
        ask(&seen, head & OTHER_CORE ? 1 : 0, message);
        if (head & TURN)
            turn(&seen, head & REFUSES ? REFUSE : LEAVE);
    }
    for (uint32_t left = TURNS_MAX; is_busy() && left > 0; left--)
        turn(&seen, REFUSE);
    turn(&seen, REFUSE);
    FUZZ_MUST(tg_journal_in_flight(&server.cores[0].journal) == 0);
    check_rest(&seen);
    for (uint32_t i = 0; i < CORES; i++)
        reset_connection(i); /* whoever waits goes with his connection */
    turn(&seen, REFUSE);
    return 0;
}
