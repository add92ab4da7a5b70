#include "loadgen/control.h"

#include "base/clock.h"
#include "loadgen/target.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SALE_LEAD_MS         60000ll /* it began a minute ago: clocks differ */
#define SALE_OPEN_MS         (7 * 86400000ll)
#define SALE_EPOCH_MS        1704067200000ll /* 2024-01-01: keeps sale ids short */
#define CREATE_TRIES         8
#define CREATE_MESSAGE_BYTES 200

/* --- address -----------------------------------------------------------------------------------
 */

/* 0, or an errno. */
static int try_address(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return errno;
    int code = connect(fd, info->ai_addr, info->ai_addrlen) == 0 ? 0 : errno;
    if (code == EINPROGRESS) {
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        socklen_t bytes = sizeof(code);
        if (poll(&ready, 1, (int)LG_CONTROL_MS / 2) != 1)
            code = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &bytes) != 0)
            code = errno;
    }
    close(fd);
    return code;
}

enum tg_error lg_control_resolve(const char *server, struct sockaddr_storage *address,
                                 socklen_t *address_bytes, struct tg_fault *fault)
{
    char host[256], port[8];
    enum tg_error error = tgc_parse_address(server, host, port, fault);
    if (error)
        return error;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int result = getaddrinfo(host, port, &hints, &found);
    if (result)
        return tg_fault_set(fault, TG_ERR_NOTFOUND, "cannot resolve %s: %s", host,
                            gai_strerror(result));
    int code = 0;
    bool connected = false;
    for (const struct addrinfo *info = found; info && !connected; info = info->ai_next) {
        code = try_address(info);
        connected = code == 0;
        if (connected) {
            memcpy(address, info->ai_addr, info->ai_addrlen);
            *address_bytes = info->ai_addrlen;
        }
    }
    freeaddrinfo(found);
    if (connected)
        return TG_ERR_OK;
    return tg_fault_set_errno(fault, TG_ERR_SYSTEM, code,
                              "cannot connect to %s (is tidegated running there?)", server);
}

/* --- the sale ----------------------------------------------------------------------------------
 */

enum tg_error lg_control_server_time(struct tgc_client *client, int64_t *now_ms,
                                     struct tg_fault *fault)
{
    Tidegate__V1__GetServerTimeRequest body = TIDEGATE__V1__GET_SERVER_TIME_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SERVER_TIME;
    request.get_server_time = &body;
    Tidegate__V1__Response *response;
    enum tg_error error =
        tgc_call_until_answered(client, &request, LG_CONTROL_MS, &response, fault);
    if (error)
        return error;
    if (response->kind_case == TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME)
        *now_ms = response->get_server_time->server_time_ms;
    else
        error = tg_fault_set(fault, TG_ERR_PROTOCOL, "no server time in the answer");
    tgc_response_free(response);
    return error;
}

/* One try. The verdict and its story are set when there is no error. */
static enum tg_error create_sale(struct tgc_client *client, Tidegate__V1__CreateSaleRequest *body,
                                 int *verdict, uint32_t *retry_after_ms,
                                 char message[CREATE_MESSAGE_BYTES], struct tg_fault *fault)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_SALE;
    request.create_sale = body;
    Tidegate__V1__Response *response;
    enum tg_error error =
        tgc_call_until_answered(client, &request, LG_CONTROL_MS, &response, fault);
    if (error)
        return error;
    if (response->kind_case != TIDEGATE__V1__RESPONSE__KIND_CREATE_SALE) {
        error = tg_fault_set(fault, TG_ERR_PROTOCOL, "CreateSale got another kind of answer");
    } else {
        const Tidegate__V1__CreateSaleResponse *answer = response->create_sale;
        *verdict = (int)answer->verdict;
        *retry_after_ms = answer->retry_after_ms;
        snprintf(message, CREATE_MESSAGE_BYTES, "%s", answer->message);
    }
    tgc_response_free(response);
    return error;
}

static uint64_t choose_sale_id(uint64_t seed)
{
    uint64_t ms = (uint64_t)(tg_clock_wall_ns() / TG_NS_PER_MS - SALE_EPOCH_MS);
    return ms << 10 | (tg_mix64(seed + TG_RNG_GOLDEN) & 1023);
}

/* Until it stands: an id that is taken is chosen anew, BUSY is waited for. */
static enum tg_error create_with_id(struct tgc_client *client,
                                    Tidegate__V1__CreateSaleRequest *body,
                                    struct lg_plan_settings *settings, struct tg_fault *fault)
{
    int verdict = TG_UNSPECIFIED;
    char message[CREATE_MESSAGE_BYTES] = "";
    for (int tries = 0; tries < CREATE_TRIES; tries++) {
        uint32_t wait_ms = 0;
        char name[TG_SALE_NAME_BYTES_MAX + 1];
        settings->sale_id = choose_sale_id(settings->seed);
        snprintf(name, sizeof(name), "tidegate-load %s, seed %" PRIu64, settings->scenario,
                 settings->seed);
        body->sale->name = name;
        body->sale->sale_id = settings->sale_id;
        enum tg_error error = create_sale(client, body, &verdict, &wait_ms, message, fault);
        if (error || verdict == TG_OK)
            return error;
        if (verdict != TG_SALE_EXISTS && verdict != TG_BUSY)
            break;
        usleep(1000 * (wait_ms ? wait_ms : 2));
    }
    return tg_fault_set(fault, TG_ERR_PROTOCOL, "CreateSale was answered %s %s",
                        tg_verdict_name(verdict), message);
}

int64_t lg_control_captain_price(const struct lg_item *item, const struct lg_sale_rules *rules)
{
    return rules->team_size ? item->price_minor - item->price_minor / 4 : item->price_minor;
}

/* The items as the wire wants them; one block for all. */
struct wire_items {
    Tidegate__V1__SaleItem *items;
    Tidegate__V1__SaleItem **pointers;
    Tidegate__V1__LadderStep *steps;
    Tidegate__V1__LadderStep **step_pointers;
    char (*skus)[TG_SKU_BYTES_MAX + 1];
};

static bool wire_items_alloc(struct wire_items *wire, uint32_t count)
{
    wire->items = calloc(count, sizeof(*wire->items));
    wire->pointers = calloc(count, sizeof(*wire->pointers));
    wire->steps = calloc(count, sizeof(*wire->steps));
    wire->step_pointers = calloc(count, sizeof(*wire->step_pointers));
    wire->skus = calloc(count, sizeof(*wire->skus));
    return wire->items && wire->pointers && wire->steps && wire->step_pointers && wire->skus;
}

static void wire_items_free(struct wire_items *wire)
{
    free(wire->items);
    free(wire->pointers);
    free(wire->steps);
    free(wire->step_pointers);
    free(wire->skus);
}

static void wire_item_fill(struct wire_items *wire, uint32_t i, const struct lg_item *from,
                           const struct lg_sale_rules *rules)
{
    Tidegate__V1__SaleItem *item = &wire->items[i];
    tidegate__v1__sale_item__init(item);
    memcpy(wire->skus[i], from->sku, from->sku_bytes);
    item->sku = wire->skus[i];
    item->list_price_minor = from->price_minor * 2;
    item->sale_price_minor = from->price_minor;
    item->stock_units = from->stock_units;
    item->per_user_limit = from->per_user_limit;
    wire->pointers[i] = item;
    if (!rules->team_size)
        return;
    tidegate__v1__ladder_step__init(&wire->steps[i]);
    wire->steps[i].size = rules->team_size;
    wire->steps[i].unit_price_minor = from->price_minor - from->price_minor / 5;
    wire->step_pointers[i] = &wire->steps[i];
    item->captain_price_minor = lg_control_captain_price(from, rules);
    item->n_ladder = 1;
    item->ladder = &wire->step_pointers[i];
}

static enum tg_error create_in_window(struct tgc_client *client, struct wire_items *wire,
                                      struct lg_plan_settings *settings,
                                      const struct lg_sale_rules *rules, struct tg_fault *fault)
{
    int64_t now_ms = 0;
    enum tg_error error = lg_control_server_time(client, &now_ms, fault);
    if (error)
        return error;
    Tidegate__V1__Sale sale = TIDEGATE__V1__SALE__INIT;
    Tidegate__V1__GroupBuyRules team = TIDEGATE__V1__GROUP_BUY_RULES__INIT;
    Tidegate__V1__ChannelShare shares[3];
    Tidegate__V1__ChannelShare *share_pointers[3];
    for (uint32_t i = 0; i < 3; i++) {
        tidegate__v1__channel_share__init(&shares[i]);
        shares[i].channel = i + 1;
        shares[i].percent = 50;
        share_pointers[i] = &shares[i];
    }
    team.team_size = rules->team_size;
    team.team_lifetime_s = rules->team_lifetime_s;
    sale.kind = (Tidegate__V1__SaleKind)(rules->team_size ? TG_SALE_GROUP_BUY : TG_SALE_SECKILL);
    sale.group_buy = rules->team_size ? &team : NULL;
    sale.n_channel_shares = rules->shares ? 3 : 0;
    sale.channel_shares = share_pointers;
    sale.payment_window_s = rules->payment_window_s;
    sale.currency = (char *)(uintptr_t) "CNY";
    sale.starts_at_ms = rules->starts_at_ms ? rules->starts_at_ms : now_ms - SALE_LEAD_MS;
    sale.ends_at_ms = (rules->starts_at_ms ? rules->starts_at_ms : now_ms) + SALE_OPEN_MS;
    Tidegate__V1__CreateSaleRequest body = TIDEGATE__V1__CREATE_SALE_REQUEST__INIT;
    body.sale = &sale;
    body.n_items = settings->item_count;
    body.items = wire->pointers;
    return create_with_id(client, &body, settings, fault);
}

enum tg_error lg_control_create_sale_of(const char *server, struct lg_plan_settings *settings,
                                        const struct lg_item *items,
                                        const struct lg_sale_rules *rules, struct tg_fault *fault)
{
    struct tgc_options options = lg_target_options(server);
    struct tgc_client *client;
    enum tg_error error = tgc_open(&options, &client, fault);
    if (error)
        return error;
    struct wire_items wire = {0};
    if (!wire_items_alloc(&wire, settings->item_count))
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u items", settings->item_count);
    for (uint32_t i = 0; !error && i < settings->item_count; i++)
        wire_item_fill(&wire, i, &items[i], rules);
    if (!error)
        error = create_in_window(client, &wire, settings, rules, fault);
    wire_items_free(&wire);
    tgc_close(client);
    return error;
}

/* --- a sale that exists ------------------------------------------------------------------------
 */

static enum tg_error get_sale_page(struct tgc_client *client, uint64_t sale_id, uint32_t offset,
                                   Tidegate__V1__Response **response, struct tg_fault *fault)
{
    Tidegate__V1__GetSaleRequest body = TIDEGATE__V1__GET_SALE_REQUEST__INIT;
    body.sale_id = sale_id;
    body.item_offset = offset;
    body.item_limit = TG_ITEMS_PAGE_MAX;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_SALE;
    request.get_sale = &body;
    enum tg_error error = tgc_call(client, &request, LG_CONTROL_MS, response, fault);
    if (error)
        return error;
    const Tidegate__V1__Response *r = *response;
    if (r->kind_case == TIDEGATE__V1__RESPONSE__KIND_GET_SALE && r->get_sale->sale &&
        (int)r->get_sale->verdict == TG_OK)
        return TG_ERR_OK;
    error = tg_fault_set(fault, TG_ERR_NOTFOUND, "sale %" PRIu64 " cannot be read: %s", sale_id,
                         r->kind_case == TIDEGATE__V1__RESPONSE__KIND_GET_SALE
                             ? tg_verdict_name((int)r->get_sale->verdict)
                             : "another kind of answer");
    tgc_response_free(*response);
    return error;
}

static bool take_item(struct lg_item *item, const Tidegate__V1__ItemStatus *status)
{
    const Tidegate__V1__SaleItem *from = status->item;
    size_t sku_bytes = from ? strlen(from->sku) : 0;
    if (!sku_bytes || sku_bytes > TG_SKU_BYTES_MAX || from->sale_price_minor < 0 ||
        from->sale_price_minor > TG_PRICE_MINOR_MAX)
        return false;
    memcpy(item->sku, from->sku, sku_bytes);
    item->sku_bytes = (uint8_t)sku_bytes;
    item->per_user_limit = from->per_user_limit;
    item->price_minor = from->sale_price_minor;
    item->stock_units = from->stock_units;
    return true;
}

static enum tg_error load_items(struct tgc_client *client, uint64_t sale_id, struct lg_item **items,
                                uint32_t *count, struct tg_fault *fault)
{
    uint32_t total = 1;
    for (*count = 0; *count < total;) {
        Tidegate__V1__Response *response;
        enum tg_error error = get_sale_page(client, sale_id, *count, &response, fault);
        if (error)
            return error;
        const Tidegate__V1__GetSaleResponse *page = response->get_sale;
        total = page->sale->item_count;
        if (total > TG_SALE_ITEMS_MAX || page->n_items == 0 || page->n_items > total - *count)
            error = tg_fault_set(fault, TG_ERR_PROTOCOL,
                                 "the pages of sale %" PRIu64 " do not add up", sale_id);
        if (!error && !*items && !(*items = calloc(total, sizeof(**items))))
            error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for %u items", total);
        for (size_t i = 0; !error && i < page->n_items; i++)
            if (!take_item(&(*items)[(*count)++], page->items[i]))
                error =
                    tg_fault_set(fault, TG_ERR_PROTOCOL,
                                 "item %u of sale %" PRIu64 " is not readable", *count, sale_id);
        tgc_response_free(response);
        if (error)
            return error;
    }
    return TG_ERR_OK;
}

enum tg_error lg_control_load_sale(const char *server, uint64_t sale_id, struct lg_item **items,
                                   uint32_t *count, struct tg_fault *fault)
{
    struct tgc_options options = lg_target_options(server);
    struct tgc_client *client;
    *items = NULL;
    enum tg_error error = tgc_open(&options, &client, fault);
    if (error)
        return error;
    error = load_items(client, sale_id, items, count, fault);
    if (error) {
        free(*items);
        *items = NULL;
    }
    tgc_close(client);
    return error;
}
