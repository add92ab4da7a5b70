/* Writes the seed corpora: a few small inputs for each target that go deep at once, made with the
 * product's own encoders, so that they follow the formats. The same files every time.
 *
 * usage: seeds DIRECTORY      writes DIRECTORY/<target>/<name>; exit 2: usage
 */
#include "base/rng.h"
#include "proto/codec.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/lib_ctl.h"
#include "tests/fuzz/lib_messages.h"
#include "tests/lib/book.h"

#include <sys/stat.h>

#define SEED_BYTES_MAX 3072

static const char *directory;

struct seed {
    uint8_t data[SEED_BYTES_MAX];
    size_t size;
};

static void add(struct seed *seed, const void *data, size_t size)
{
    FUZZ_MUST(seed->size + size <= sizeof(seed->data));
    if (size > 0)
        memcpy(seed->data + seed->size, data, size);
    seed->size += size;
}

static void add_u8(struct seed *seed, unsigned value)
{
    add(seed, &(uint8_t){(uint8_t)value}, 1);
}

/* Writes it and makes it empty for the next one. */
static void keep(struct seed *seed, const char *target, const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", directory, target);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/%s/%s", directory, target, name);
    FILE *file = fopen(path, "wb");
    FUZZ_MUST(file && fwrite(seed->data, 1, seed->size, file) == seed->size);
    FUZZ_MUST(fclose(file) == 0);
    seed->size = 0;
}

static void keep_text(const char *target, const char *name, int head, const char *text)
{
    struct seed seed = {.size = 0};
    if (head >= 0)
        add_u8(&seed, (unsigned)head);
    add(&seed, text, strlen(text));
    keep(&seed, target, name);
}

/* --- codec --- */

static const struct tg_order order = {
    .request_id = "0123456789abcdef",
    .sale_id = 1001,
    .user_id = 7,
    .unit_price_minor = 9900,
    .sku = (const uint8_t *)"A01-001-M-BL",
    .external_id = (const uint8_t *)"x-1",
    .quantity = 2,
    .channel = 3,
    .sku_bytes = 12,
    .external_bytes = 3,
    .lane = TG_LANE_VIP,
};

static const struct tg_answer answer = {
    .order_id = 1ull << 40,
    .unit_price_minor = 9900,
    .accepted_at_ms = MESSAGE_AT_MS,
    .verdict = TG_ACCEPTED,
};

static void codec_seeds(void)
{
    struct seed seed = {.size = 0};
    uint8_t room[TG_ORDER_FRAME_BYTES_MAX];
    struct tg_answer refused = {.verdict = TG_INVALID_ARGUMENT, .field = TG_FIELD_SKU};
    add_u8(&seed, 0);
    for (uint64_t i = 0; i < 2; i++)
        add(&seed, room, tg_order_frame(room, i << 20, &order));
    keep(&seed, "codec", "order-frames");
    add_u8(&seed, 1);
    add(&seed, room, tg_answer_frame(room, 5, &answer));
    add(&seed, room, tg_answer_frame(room, 6, &refused));
    keep(&seed, "codec", "answer-frames");
    add_u8(&seed, 6);
    for (int i = 0; i < 3; i++)
        add(&seed, room, tg_orders_element(room, &order));
    keep(&seed, "codec", "orders");
    add_u8(&seed, 7);
    for (int i = 0; i < 2; i++)
        add(&seed, room, tg_answers_element(room, i ? &answer : &refused));
    keep(&seed, "codec", "answers");
    struct message cart = message_cart(1, "A", "B", 7);
    add_u8(&seed, 4);
    add(&seed, cart.data, cart.size);
    keep(&seed, "codec", "cart");
}

/* --- input --- */

static void input_seeds(void)
{
    static const uint8_t parts[] = {0xc4, 0xcc, 3, 2, 'a', 'b', 0, 0xd2, 0xc0, 0xe1, 0xe9};
    static const uint8_t large[] = {0xcc, 0xcd, 0xd9, 0xda, 0xc1};
    static const uint8_t broken[] = {0xc1, 5, 0xff, 0xff, 0xff, 0xff, 0x1f, 1, 0xc1};
    static const uint8_t script[] = {1, 3, 0, 30, 1, 1, 2, 0xe1, 0, 7, 3, 0xf0, 2};
    struct seed seed = {.size = 0};
    add_u8(&seed, sizeof(script));
    add(&seed, script, sizeof(script));
    add(&seed, parts, sizeof(parts));
    keep(&seed, "input", "paused");
    add_u8(&seed, 4);
    add(&seed, script + 6, 4);
    add(&seed, large, sizeof(large));
    keep(&seed, "input", "large");
    add_u8(&seed, 3);
    add(&seed, script + 1, 3);
    add(&seed, broken, sizeof(broken));
    keep(&seed, "input", "broken");
}

/* --- rows and recover --- */

static bool keep_row(unsigned kind, const char *name, const MDB_val *key, const MDB_val *value)
{
    struct seed seed = {.size = 0};
    if (value->mv_size + key->mv_size + 2 > sizeof(seed.data))
        return false;
    add_u8(&seed, kind);
    if (kind == 8)
        add_u8(&seed, (unsigned)key->mv_size - 1);
    if (kind < 10)
        add(&seed, key->mv_data, key->mv_size);
    add(&seed, value->mv_data, value->mv_size);
    keep(&seed, "rows", name);
    return true;
}

static void row_seeds(void)
{
    struct book *book = book_make();
    const struct {
        MDB_dbi table;
        const char *name;
        unsigned kind, every;
    } tables[] = {
        {book->tables.sales, "sale", 0, 1},   {book->tables.items, "item", 1, 4},
        {book->tables.stock, "stock", 2, 4},  {book->tables.orders, "order", 3, 3},
        {book->tables.lives, "life", 4, 2},   {book->tables.events, "event", 5, 9},
        {book->tables.teams, "team", 6, 2},   {book->tables.ingested, "ingested", 7, 1},
        {book->tables.groups, "group", 8, 1},
    };
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        MDB_cursor *cursor;
        MDB_val key, value;
        char name[32];
        FUZZ_MUST(mdb_cursor_open(book->txn, tables[i].table, &cursor) == 0);
        for (unsigned n = 0; mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0; n++) {
            snprintf(name, sizeof(name), "%s-%u", tables[i].name, n);
            if (n % tables[i].every == 0)
                keep_row(tables[i].kind, name, &key, &value);
        }
        mdb_cursor_close(cursor);
    }
    book_free(book);
}

static void recover_seeds(void)
{
    /* table, row, what, what it needs: see fuzz_recover.c */
    static const uint8_t edits[][8] = {
        {3, 1, 0x01, 3, 12, 1}, {3, 1, 0x80, 0, 3, 9},
        {4, 2, 0x03},           {4, 5, 0x02, 60, 0},
        {6, 3, 0x00, 0, 5, 11}, {6, 2, 0x01, 7, 32, 5},
        {7, 9, 0x03},           {7, 4, 0x01, 0, 8, 1},
        {8, 0, 0x01, 0, 5, 1},  {8, 1, 0x04, 1, 4, 1, 0},
        {9, 0, 0x01, 7, 8, 1},  {10, 0, 0x01, 7, 8, 100},
        {1, 0, 0x01, 0, 6, 1},  {2, 2, 0x01, 7, 20, 1},
        {0, 0, 0x01, 0, 4, 1},
    };
    struct seed seed = {.size = 0};
    char name[32];
    keep(&seed, "recover", "sound");
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        add(&seed, edits[i], sizeof(edits[i]));
        snprintf(name, sizeof(name), "edit-%zu", i);
        keep(&seed, "recover", name);
    }
}

/* --- files --- */

static void config_seeds(void)
{
    keep_text("config", "all", -1,
              "; a comment\n[server]\nthreads = 4\nlisten = [::1]:99   ; loopback\n"
              "insecure = true\n\n[engine]\norders_max=1000\n[storage]\n"
              "data_dir = /var/lib/tidegate\nmap_mib: 64\n[events]\nkeep_s = 60\n");
    keep_text("config", "out-of-range", -1, "[server]\nthreads = 65\n");
    keep_text("config", "unknown", -1, "[server]\nthread = 6\n");
    keep_text("config", "indented", -1, "[server]\n  threads = 1\n");
    keep_text("config", "no-section", -1, "threads = 1\nlisten\n");
}

#define SALE_HEAD                                                                                  \
    "\"sale_id\":1,\"name\":\"S\",\"currency\":\"CNY\",\"starts_at\":\"2025-11-22T10:00:00Z\","    \
    "\"ends_at\":1763812800000,"
#define ITEM_HEAD                                                                                  \
    "\"sku\":\"A01\",\"list_price_minor\":19900,\"sale_price_minor\":9900,\"stock_units\":10,"     \
    "\"per_user_limit\":1,\"per_order_max\":0"

static void file_seeds(void)
{
    keep_text("files", "seckill", 0,
              "{\"kind\":\"seckill\"," SALE_HEAD "\"payment_window_s\":600,"
              "\"channel_shares\":[{\"channel\":3,\"percent\":20}],"
              "\"items\":[{" ITEM_HEAD ",\"stock_policy\":\"on_payment\"}]}");
    keep_text("files", "group-buy", 0,
              "{\"kind\":\"group_buy\"," SALE_HEAD "\"refund_auto_max_minor\":5,\"group_buy\":"
              "{\"team_size\":3,\"team_lifetime_s\":3600,\"teams_per_user_max\":1,"
              "\"new_buyers_only\":true,\"at_deadline\":\"auto_complete\",\"team_size_min\":2},"
              "\"items\":[{" ITEM_HEAD ",\"captain_price_minor\":9000,"
              "\"ladder\":[{\"size\":2,\"unit_price_minor\":8000}]}]}");
    keep_text("files", "relative", 0,
              "{\"kind\":\"seckill\",\"sale_id\":\"18446744073709551615\",\"name\":\"S\","
              "\"currency\":\"CNY\",\"starts_at\":\"now\",\"ends_at\":\"+2h\","
              "\"items\":[{" ITEM_HEAD "}]}");
    keep_text("files", "orders", 1,
              "[{\"channel\":3,\"external_id\":\"x-1\",\"sale_id\":\"9\",\"sku\":\"CUP\","
              "\"user_id\":0,\"quantity\":2,\"unit_price_minor\":2900,"
              "\"ordered_at\":\"2025-11-22T10:00:00+08:00\"}]");
    keep_text("files", "paid-orders", 1,
              "{\"channel\":3,\"external_id\":\"x-2\",\"sale_id\":9,\"sku\":\"CUP\","
              "\"user_id\":\"7\",\"quantity\":1,\"unit_price_minor\":2900,"
              "\"ordered_at\":1763805600000,\"lane\":\"vip\",\"payment\":{\"payment_id\":\"p\","
              "\"amount_minor\":2900,\"currency\":\"CNY\",\"channel\":4,"
              "\"paid_at\":1763805600001}}\n");
}

/* --- request --- */

/* A frame of fuzz_request.c; `head` as there. */
static void add_frame(struct seed *seed, unsigned head, struct message message)
{
    uint16_t size = (uint16_t)message.size;
    add_u8(seed, head);
    add(seed, &size, sizeof(size));
    add(seed, message.data, message.size);
}

static void keep_request(const char *name, unsigned head, struct message message)
{
    struct seed seed = {.size = 0};
    add_frame(&seed, head, message);
    keep(&seed, "request", name);
}

/* Orders of the played database, by their place in its sequence: ids are guessed from there, so
 * that some of them hit, and the fuzzer finds the others. */
static void request_change_seeds(void)
{
    char name[32];
    for (int kind = TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT;
         kind <= TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_ADVANCE; kind++) {
        struct seed seed = {.size = 0};
        snprintf(name, sizeof(name), "change-%d", kind);
        for (uint64_t sequence = 1; sequence <= 16; sequence++)
            add_frame(&seed, sequence % 4 ? 0 : 1, message_change(7000, sequence << 10 | 1, kind));
        keep(&seed, "request", name);
    }
}

static void request_seeds(void)
{
    static const int reads[] = {
        TIDEGATE__V1__REQUEST__KIND_GET_ORDER,      TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS,
        TIDEGATE__V1__REQUEST__KIND_GET_ITEM,       TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME,
        TIDEGATE__V1__REQUEST__KIND_LIST_SALES,     TIDEGATE__V1__REQUEST__KIND_GET_SALE,
        TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE,     TIDEGATE__V1__REQUEST__KIND_RESUME_SALE,
        TIDEGATE__V1__REQUEST__KIND_CLOSE_SALE,     TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK,
        TIDEGATE__V1__REQUEST__KIND_GET_TEAM,       TIDEGATE__V1__REQUEST__KIND_LIST_TEAMS,
        TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS, TIDEGATE__V1__REQUEST__KIND_SUBSCRIBE_EVENTS,
        TIDEGATE__V1__REQUEST__KIND_LIST_GROUPS,
    };
    struct seed seed = {.size = 0};
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
        for (uint64_t id = 0; id < 3; id++)
            add_frame(&seed, i % 2 ? 4 : 1, message_read(reads[i], id ? 1000 + id : 0));
    keep(&seed, "request", "reads");
    keep_request("sale", 3, message_sale(MESSAGE_SALE + 5));
    keep_request("order", 3, message_order(5000, "A", 50, 1));
    keep_request("cart", 3, message_cart(5000, "C", "D", 50));
    keep_request("open-team", 3, message_seat(5000, 50, 0));
    keep_request("join-team", 7, message_seat(5000, 50, 33ull << 10));
    keep_request("ingest", 7, message_ingest(5000, true));
    keep_request("ingest-again", 3, message_ingest(1, false));
    keep_request("adjust", 3, message_adjust("A", 5, 0));
    keep_request("adjust-set", 7, message_adjust("B", 5, 93));
    keep_request("group", 3, message_group(TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP, "crm", 0));
    keep_request("ack", 3, message_group(TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS, "erp", 3));
    keep_request("remove", 3, message_group(TIDEGATE__V1__REQUEST__KIND_DELETE_GROUP, "erp", 0));
    for (unsigned i = 0; i < 6; i++) /* one crowd: the second core, carts and changes in flight */
        add_frame(&seed, i % 2 ? 4 : 0,
                  i % 3 ? message_cart(6000 + i, "A", "B", 60 + i)
                        : message_order(6000 + i, "A", 60 + i, 1));
    keep(&seed, "request", "crowd");
    request_change_seeds();
}

/* --- life --- */

static void life_seeds(void)
{
    for (unsigned i = 0; i < 6; i++) {
        struct seed seed = {.size = 0};
        struct tg_rng rng;
        char name[32];
        tg_rng_init(&rng, 0x6c696665 + i);
        for (unsigned left = 60u << i; left > 0; left--)
            add_u8(&seed, (unsigned)tg_rng_below(&rng, 256));
        snprintf(name, sizeof(name), "walk-%u", i);
        keep(&seed, "life", name);
    }
}

/* --- conn --- */

#define KEEP_SCRIPT(name, script) keep_script(name, script, sizeof(script) - 1)

static void keep_script(const char *name, const char *script, size_t size)
{
    struct seed seed = {.size = 0};
    add(&seed, script, size);
    keep(&seed, "conn", name);
}

static void conn_seeds(void)
{
    /* A peer connects and sends frames, they come, are handled, the answers go out. */
    KEEP_SCRIPT("answered", "\x00\x07\x01\x00\x09\x0a\x00\x07\x00\x00\x07\x0b\x00\x07");
    /* Put off until the connection is over its bound; cancelled, answered, read again. */
    KEEP_SCRIPT("paused", "\x00\x07\x01\x00\x0b\x01\x00\x0b\x02\x00\x07\x05\x06\x05\x06\x05\x06"
                          "\x05\x06\x05\x07\xc4\x07\x03\x00\x07");
    /* A large answer that is heard a little at a time, a frame in pieces, the end. */
    KEEP_SCRIPT("slow", "\x00\x07\x01\x00\x03\x0a\x00\x07\xf2\x07\x83\x00\x09\x07\x83\x00\xff\x07"
                        "\x01\x00\x2b\x42\x00\x05\x07\x42\x00\xff\x07\x01\x00\xf8\x07");
    /* Two of them: one is reset, the other idles until its time is over. */
    KEEP_SCRIPT("reset", "\x00\x00\x07\x07\x01\x01\xfe\x0a\x01\x07\x36\x07\x0e\x07\x07");
    KEEP_SCRIPT("reset-while-sending",
                "\x00\x07\x01\x00\x08\x0a\x00\x07\x00\x01\x00\xfe\x0a\x00\x07\x07");
    /* No frame at all, and time for the last words. */
    KEEP_SCRIPT("malformed",
                "\x00\x07\x01\x00\xc5\xff\xff\xff\xff\xff\xff\x0a\x00\x07\x0b\x00\x07\x26\x07");
}

/* --- gRPC --- */

/* A call of that path with sixteen bytes of body, eleven of them its message. */
static void add_call(struct seed *seed, unsigned path, unsigned fields)
{
    static const uint8_t body[16];
    const uint8_t head[] = {0, (uint8_t)path, (uint8_t)fields, sizeof(body) / 8};
    add(seed, head, sizeof(head));
    add(seed, body, sizeof(body));
}

/* `window`: what a stream may be sent, in 64 bytes; the rest are steps behind the calls. */
static void grpc_seed(const char *name, unsigned window, unsigned path, unsigned fields,
                      const char *steps, size_t bytes)
{
    struct seed seed = {.size = 0};
    add_u8(&seed, window);
    add_call(&seed, path, fields);
    add_call(&seed, path, fields);
    add(&seed, steps, bytes);
    keep(&seed, "grpc", name);
}

#define GRPC_SEED(name, window, path, fields, steps)                                               \
    grpc_seed(name, window, path, fields, steps, sizeof(steps) - 1)

static void grpc_seeds(void)
{
    GRPC_SEED("orders", 255, 0, 0, "\x02\xff\x04\x05\x30\x05\x01\x04\x02\xff\x04");
    GRPC_SEED("stream-that-is-left", 255, 1, 0,
              "\x02\xff\x04\x05\x2f\x04\x01\x02\xff\x04\x05\x2f\x04");
    GRPC_SEED("window-of-none", 0, 0, 3, "\x02\xff\x04\x05\x20\x04\x07\xc8\x04\x05\x20\x04");
    GRPC_SEED("tokens-and-put-back", 255, 8, 0, "\x02\x0f\x02\x7f\x02\xff\x06\x05\x30\x04");
    GRPC_SEED("health-until-the-drain", 255, 3, 0, "\x02\xff\x04\x07\xff\x04\x02\xff\x04");
    GRPC_SEED("reflection", 4, 5, 0, "\x02\xff\x04\x02\xff\x04\x02\xff\x04");
    GRPC_SEED("turned", 255, 0, 0, "\x03\x28\x01\x02\xff\x04\x02\xff\x04");
    GRPC_SEED("wrong", 255, 7, 0x60, "\x02\xff\x04\x02\xff\x04");
}

/* --- pages --- */

/* The start of every page, where LMDB keeps its number, flags and bounds; and a few that go. */
static void pages_seeds(void)
{
    struct seed seed = {.size = 0};
    char name[32];
    for (uint16_t page = 0; page < 8; page++) {
        const uint8_t set[] = {0, (uint8_t)page, 0, (uint8_t)(page % 2 ? 10 : 24), 0, 1, 1, 0};
        add(&seed, set, sizeof(set));
        snprintf(name, sizeof(name), "set-%u", page);
        keep(&seed, "pages", name);
    }
    add(&seed, "\xc0\x03\x00\x05\x00", 5);
    keep(&seed, "pages", "copied");
    add(&seed, "\xe0\x04\x00", 3);
    keep(&seed, "pages", "cut");
}

/* --- ctl --- */

/* What the descriptor of Response says of the answer of this kind. */
static const ProtobufCMessageDescriptor *answer_type(int kind)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(
        &tidegate__v1__response__descriptor, (unsigned)kind);
    FUZZ_MUST(field != NULL);
    return field->descriptor;
}

/* The server answers with a message of this kind, every field of which is set. */
static void add_answer(struct seed *seed, int kind)
{
    uint8_t sample[700];
    if (kind == 0)
        return;
    uint16_t size = (uint16_t)message_sample(answer_type(kind), 2, sample, sizeof(sample));
    add_u8(seed, 0);
    add(seed, &size, sizeof(size));
    add(seed, sample, size);
}

static void ctl_seeds(void)
{
    char name[32];
    for (unsigned i = 0; i < CTL_COMMANDS; i++) {
        struct seed seed = {.size = 0};
        add_u8(&seed, i);
        add_u8(&seed, i % 3 == 2);
        add_answer(&seed, ctl_commands[i].before);
        add_answer(&seed, ctl_commands[i].kind);
        add_answer(&seed, ctl_commands[i].behind ? ctl_commands[i].behind : ctl_commands[i].kind);
        snprintf(name, sizeof(name), "command-%02u", i);
        keep(&seed, "ctl", name);
    }
}

/* --- load --- */

static void load_seeds(void)
{
    struct seed seed = {.size = 0};
    uint8_t frame[TG_ANSWER_FRAME_BYTES_MAX];
    struct tg_answer busy = {.verdict = TG_BUSY, .retry_after_ms = 5};
    struct tg_answer sold_out = {.verdict = TG_SOLD_OUT};
    for (unsigned batch = 0; batch < 2; batch++) {
        add_u8(&seed, batch);
        add_u8(&seed, 255);
        add(&seed, frame, tg_answer_frame(frame, 1, &answer));
        add(&seed, frame, tg_answer_frame(frame, 2, &sold_out));
        add(&seed, frame, tg_answer_frame(frame, 3, &busy));
        keep(&seed, "load", batch ? "batch" : "single");
    }
    /* Response{1, place_orders{results: accepted, sold out, sold out}} and one that is BUSY */
    add_u8(&seed, 1);
    add_u8(&seed, 10);
    add(&seed, "\x13\x08\x01\x1a\x0f\x08\x1f\x12\x05\x08\x01\x10\x80\x08\x12\x02\x08\x02\x12\x00",
        20);
    add(&seed, "\x06\x08\x02\x1a\x02\x08\x10", 7);
    keep(&seed, "load", "results");
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    directory = argv[1];
    mkdir(directory, 0777);
    codec_seeds();
    input_seeds();
    row_seeds();
    recover_seeds();
    config_seeds();
    file_seeds();
    request_seeds();
    life_seeds();
    conn_seeds();
    grpc_seeds();
    ctl_seeds();
    pages_seeds();
    load_seeds();
    return 0;
}
