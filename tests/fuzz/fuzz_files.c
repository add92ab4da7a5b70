/* Sale files and ingest files: whatever stands in one, tidegatectl takes it or refuses it with
 * words; and what it takes, the server's own reading of that request takes as well. The ranges of
 * both are those of base/limits.h, so one that is laxer than the other is a fault.
 *
 * input: | 0: a sale file, 1: an ingest file, u8 | the file |
 */
#include "tests/fuzz/fuzz.h"

#include "ctl/ingestfile.h"
#include "ctl/salefile.h"
#include "server/life.h"
#include "server/sales.h"
#include "server/server.h"

#include "base/mem.h"

#define NOW_MS 1763805600000

static struct srv_server server;
static struct srv_core core;

/* A core that can read requests, and an engine without sales. */
static void prepare(void)
{
    static bool done;
    struct tg_fault fault;
    struct eng_config config = {.shards = 1,
                                .sales_max = 4,
                                .items_max = 16,
                                .orders_max = 64,
                                .holdings_max = 64,
                                .timers_max = 1024,
                                .request_ttl_ms = 1000,
                                .now_ms = NOW_MS};
    if (done)
        return;
    done = true;
    FUZZ_MUST(eng_engine_create(&config, &server.engine, &fault) == TG_ERR_OK);
    server.config.threads = 1;
    core.server = &server;
    core.shard = &server.engine.shards[0];
    core.now_ms = TG_TIME_MS_MAX; /* a file may say any time */
    void *arena = tg_mem_map(SRV_ARENA_BYTES);
    FUZZ_MUST(arena != NULL);
    tg_arena_init(&core.arena, arena, SRV_ARENA_BYTES);
}

/* The message as the server gets it. */
static const void *travelled(const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size ? size : 1);
    FUZZ_MUST(packed != NULL);
    FUZZ_MUST(protobuf_c_message_pack(message, packed) == size);
    const void *read =
        srv_message_unpack(&core, message->descriptor, (struct tg_bytes){packed, size});
    FUZZ_MUST(read != NULL);
    free(packed);
    return read;
}

static void read_sale_file(const char *text, size_t size)
{
    struct ctl_salefile file;
    struct tg_fault fault = {0};
    enum tg_error error = ctl_salefile_parse(&file, "sale.json", text, size, NOW_MS, &fault);
    if (error != TG_ERR_OK) {
        FUZZ_MUST(error == TG_ERR_INVALID && strncmp(fault.text, "sale.json: ", 11) == 0);
        FUZZ_MUST(file.root == NULL && file.items == NULL);
        return;
    }
    struct srv_control control = {.kind = TIDEGATE__V1__REQUEST__KIND_CREATE_SALE,
                                  .verdict = TG_OK};
    srv_sales_read_create(&core, &control, travelled(&file.request.base));
    if (control.verdict != TG_OK)
        fuzz_fail(__FILE__, __LINE__,
                  "the server refuses a sale file that tidegatectl takes:", "%s %s",
                  tg_field_name(control.field), tg_field_advice(control.field));
    free(control.sale.def);
    ctl_salefile_free(&file);
}

/* No sale is known here: an order that is well in itself is refused for that alone. */
static void check_order(const struct ctl_ingest_order *order)
{
    struct srv_control control = {.kind = TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS,
                                  .verdict = TG_OK};
    srv_life_read_ingest(&core, &control, travelled(&order->message.base));
    if (control.verdict != TG_UNKNOWN_SALE)
        fuzz_fail(__FILE__, __LINE__,
                  "the server refuses an order that tidegatectl takes:", "%s %s",
                  tg_field_name(control.field), tg_field_advice(control.field));
}

static void read_ingest_file(char *text, size_t size)
{
    struct ctl_ingestfile file = {.name = "orders.json"};
    struct ctl_ingest_order order;
    struct tg_fault fault = {0};
    enum tg_error error;
    uint64_t count = 0;
    if (size == 0)
        return; /* fmemopen takes none */
    file.stream = fmemopen(text, size, "r");
    FUZZ_MUST(file.stream != NULL);
    while ((error = ctl_ingestfile_next(&file, &order, &fault)) == TG_ERR_OK) {
        FUZZ_MUST(order.number == ++count);
        check_order(&order);
        ctl_ingest_order_free(&order);
    }
    fclose(file.stream);
    if (error != TG_ERR_NOTFOUND)
        FUZZ_MUST(error == TG_ERR_INVALID && strncmp(fault.text, "orders.json: ", 13) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > FUZZ_BYTES_MAX)
        return 0;
    prepare();
    /* A copy of its own size, so that a sanitizer sees a read behind it. */
    char *text = malloc(size > 1 ? size - 1 : 1);
    FUZZ_MUST(text != NULL);
    memcpy(text, data + 1, size - 1);
    if (data[0] & 1)
        read_ingest_file(text, size - 1);
    else
        read_sale_file(text, size - 1);
    free(text);
    return 0;
}
