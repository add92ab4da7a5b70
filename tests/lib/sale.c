#include "tests/lib/sale.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tgc_client *sale_client(const struct daemon *daemon)
{
    struct tgc_client *client;
    struct tg_fault fault;
    struct tgc_options options = {
        .server = daemon->address, .connect_ms = DAEMON_WAIT_MS, .window = TGC_WINDOW_MAX};
    cr_assert_eq(tgc_open(&options, &client, &fault), TG_ERR_OK, "%s", fault.text);
    return client;
}

Tidegate__V1__Response *sale_call(struct tgc_client *client, Tidegate__V1__Request *request)
{
    Tidegate__V1__Response *response;
    struct tg_fault fault;
    enum tg_error error = tgc_call(client, request, DAEMON_WAIT_MS, &response, &fault);
    cr_assert_eq(error, TG_ERR_OK, "%s", fault.text);
    cr_assert_eq((int)response->kind_case, (int)request->kind_case);
    return response;
}

/* --- operators --- */

static void fill_sale(Tidegate__V1__Sale *sale, uint64_t sale_id)
{
    int64_t now_ms = tg_clock_wall_ns() / TG_NS_PER_MS;
    tidegate__v1__sale__init(sale);
    sale->sale_id = sale_id;
    sale->kind = TIDEGATE__V1__SALE_KIND__SALE_KIND_SECKILL;
    sale->name = (char *)(uintptr_t) "Singles Day";
    sale->currency = (char *)(uintptr_t) "CNY";
    sale->starts_at_ms = now_ms - 1000;
    sale->ends_at_ms = now_ms + 3600 * 1000;
}

static void fill_item(Tidegate__V1__SaleItem *item, const char *sku, uint64_t stock_units)
{
    tidegate__v1__sale_item__init(item);
    item->sku = (char *)(uintptr_t)sku;
    item->list_price_minor = 2 * SALE_PRICE;
    item->sale_price_minor = SALE_PRICE;
    item->stock_units = stock_units;
}

Tidegate__V1__CreateSaleRequest *sale_message(uint64_t sale_id, const char *sku,
                                              uint64_t stock_units)
{
    static Tidegate__V1__CreateSaleRequest message;
    static Tidegate__V1__Sale sale;
    static Tidegate__V1__SaleItem item;
    static Tidegate__V1__SaleItem *items[1] = {&item};
    fill_sale(&sale, sale_id);
    fill_item(&item, sku, stock_units);
    tidegate__v1__create_sale_request__init(&message);
    message.sale = &sale;
    message.n_items = 1;
    message.items = items;
    return &message;
}

enum tg_verdict sale_create_message(struct tgc_client *client,
                                    Tidegate__V1__CreateSaleRequest *message, const char *field)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_SALE;
    request.create_sale = message;
    Tidegate__V1__Response *response = sale_call(client, &request);
    enum tg_verdict verdict = (enum tg_verdict)response->create_sale->verdict;
    cr_assert_str_eq(response->create_sale->field, field);
    tgc_response_free(response);
    return verdict;
}

void sale_create(struct tgc_client *client, uint64_t sale_id, const char *sku, uint64_t stock_units,
                 uint32_t per_user_limit)
{
    Tidegate__V1__CreateSaleRequest *message = sale_message(sale_id, sku, stock_units);
    message->items[0]->per_user_limit = per_user_limit;
    sale_assert_verdict(sale_create_message(client, message, ""), TG_OK);
}

void sale_create_many(struct tgc_client *client, uint64_t sale_id, uint32_t count,
                      uint64_t stock_units)
{
    Tidegate__V1__CreateSaleRequest *message = sale_message(sale_id, "S0", stock_units);
    Tidegate__V1__SaleItem *items = calloc(count, sizeof(*items));
    Tidegate__V1__SaleItem **pointers = calloc(count, sizeof(Tidegate__V1__SaleItem *));
    char(*skus)[16] = calloc(count, sizeof(*skus));
    cr_assert(items && pointers && skus);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(skus[i], sizeof(skus[i]), "S%u", i);
        fill_item(&items[i], skus[i], stock_units);
        pointers[i] = &items[i];
    }
    message->n_items = count;
    message->items = pointers;
    sale_assert_verdict(sale_create_message(client, message, ""), TG_OK);
    free(skus);
    free(pointers);
    free(items);
}

enum tg_verdict sale_pause(struct tgc_client *client, uint64_t sale_id)
{
    Tidegate__V1__PauseSaleRequest pause = TIDEGATE__V1__PAUSE_SALE_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    pause.sale_id = sale_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PAUSE_SALE;
    request.pause_sale = &pause;
    Tidegate__V1__Response *response = sale_call(client, &request);
    enum tg_verdict verdict = (enum tg_verdict)response->pause_sale->verdict;
    tgc_response_free(response);
    return verdict;
}

enum tg_verdict sale_resume(struct tgc_client *client, uint64_t sale_id)
{
    Tidegate__V1__ResumeSaleRequest resume = TIDEGATE__V1__RESUME_SALE_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    resume.sale_id = sale_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_RESUME_SALE;
    request.resume_sale = &resume;
    Tidegate__V1__Response *response = sale_call(client, &request);
    enum tg_verdict verdict = (enum tg_verdict)response->resume_sale->verdict;
    tgc_response_free(response);
    return verdict;
}

enum tg_verdict sale_close(struct tgc_client *client, uint64_t sale_id)
{
    Tidegate__V1__CloseSaleRequest close = TIDEGATE__V1__CLOSE_SALE_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    close.sale_id = sale_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CLOSE_SALE;
    request.close_sale = &close;
    Tidegate__V1__Response *response = sale_call(client, &request);
    enum tg_verdict verdict = (enum tg_verdict)response->close_sale->verdict;
    tgc_response_free(response);
    return verdict;
}

static enum tg_verdict adjust(struct tgc_client *client, Tidegate__V1__AdjustStockRequest *message)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    message->reason = (char *)(uintptr_t) "test";
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK;
    request.adjust_stock = message;
    Tidegate__V1__Response *response = sale_call(client, &request);
    enum tg_verdict verdict = (enum tg_verdict)response->adjust_stock->verdict;
    tgc_response_free(response);
    return verdict;
}

enum tg_verdict sale_adjust(struct tgc_client *client, uint64_t sale_id, const char *sku,
                            int64_t delta_units)
{
    Tidegate__V1__AdjustStockRequest message = TIDEGATE__V1__ADJUST_STOCK_REQUEST__INIT;
    message.sale_id = sale_id;
    message.sku = (char *)(uintptr_t)sku;
    message.change_case = TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE_DELTA_UNITS;
    message.delta_units = delta_units;
    return adjust(client, &message);
}

enum tg_verdict sale_compare_and_set(struct tgc_client *client, uint64_t sale_id, const char *sku,
                                     uint64_t expected_units, uint64_t new_units)
{
    Tidegate__V1__AdjustStockRequest message = TIDEGATE__V1__ADJUST_STOCK_REQUEST__INIT;
    Tidegate__V1__StockCompareAndSet change = TIDEGATE__V1__STOCK_COMPARE_AND_SET__INIT;
    change.expected_available_units = expected_units;
    change.new_available_units = new_units;
    message.sale_id = sale_id;
    message.sku = (char *)(uintptr_t)sku;
    message.change_case = TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE_COMPARE_AND_SET;
    message.compare_and_set = &change;
    return adjust(client, &message);
}

/* --- buyers --- */

struct tg_order sale_order(uint64_t sale_id, const char *sku, uint64_t user_id, uint32_t quantity)
{
    static uint64_t requests;
    struct tg_order order = {
        .sale_id = sale_id,
        .user_id = user_id,
        .unit_price_minor = SALE_PRICE,
        .sku = (const uint8_t *)sku,
        .sku_bytes = (uint8_t)strlen(sku),
        .quantity = quantity,
    };
    requests++;
    memcpy(order.request_id, "tidegate", 8);
    memcpy(order.request_id + 8, &requests, sizeof(requests));
    return order;
}

Tidegate__V1__PlaceOrderRequest sale_order_message(const struct tg_order *order)
{
    Tidegate__V1__PlaceOrderRequest message = TIDEGATE__V1__PLACE_ORDER_REQUEST__INIT;
    message.request_id = (ProtobufCBinaryData){.len = TG_REQUEST_ID_BYTES,
                                               .data = (uint8_t *)(uintptr_t)order->request_id};
    message.sale_id = order->sale_id;
    message.sku = (char *)(uintptr_t)order->sku;
    message.user_id = order->user_id;
    message.quantity = order->quantity;
    message.unit_price_minor = order->unit_price_minor;
    message.channel = order->channel;
    message.external_id = (ProtobufCBinaryData){.len = order->external_bytes,
                                                .data = (uint8_t *)(uintptr_t)order->external_id};
    return message;
}

static struct tg_answer answer_of(const Tidegate__V1__PlaceOrderResponse *response)
{
    return (struct tg_answer){
        .verdict = (uint8_t)response->verdict,
        .order_id = response->order_id,
        .replayed = (uint8_t)response->replayed,
        .unit_price_minor = response->unit_price_minor,
        .accepted_at_ms = response->accepted_at_ms,
        .retry_after_ms = response->retry_after_ms,
    };
}

struct tg_answer sale_place(struct tgc_client *client, const struct tg_order *order)
{
    Tidegate__V1__PlaceOrderRequest message = sale_order_message(order);
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER;
    request.place_order = &message;
    Tidegate__V1__Response *response = sale_call(client, &request);
    struct tg_answer answer = answer_of(response->place_order);
    tgc_response_free(response);
    cr_assert_eq(answer.verdict == TG_ACCEPTED, answer.order_id != 0);
    return answer;
}

enum tg_verdict sale_buy(struct tgc_client *client, uint64_t sale_id, const char *sku,
                         uint64_t user_id, uint32_t quantity)
{
    struct tg_order order = sale_order(sale_id, sku, user_id, quantity);
    return (enum tg_verdict)sale_place(client, &order).verdict;
}

void sale_place_batch(struct tgc_client *client, const struct tg_order *orders, uint32_t count,
                      struct tg_answer *answers)
{
    Tidegate__V1__PlaceOrderRequest *messages = calloc(count, sizeof(*messages));
    Tidegate__V1__PlaceOrderRequest **pointers =
        calloc(count, sizeof(Tidegate__V1__PlaceOrderRequest *));
    cr_assert(messages && pointers);
    for (uint32_t i = 0; i < count; i++) {
        messages[i] = sale_order_message(&orders[i]);
        pointers[i] = &messages[i];
    }
    Tidegate__V1__PlaceOrdersRequest batch = TIDEGATE__V1__PLACE_ORDERS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    batch.n_orders = count;
    batch.orders = pointers;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_PLACE_ORDERS;
    request.place_orders = &batch;
    Tidegate__V1__Response *response = sale_call(client, &request);
    sale_assert_verdict(response->place_orders->verdict, TG_OK);
    cr_assert_eq(response->place_orders->n_results, count);
    for (uint32_t i = 0; i < count; i++)
        answers[i] = answer_of(response->place_orders->results[i]);
    tgc_response_free(response);
    free(pointers);
    free(messages);
}

/* --- readers --- */

struct tg_stock sale_stock(struct tgc_client *client, uint64_t sale_id, const char *sku)
{
    Tidegate__V1__GetItemRequest get = TIDEGATE__V1__GET_ITEM_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    get.sale_id = sale_id;
    get.sku = (char *)(uintptr_t)sku;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_GET_ITEM;
    request.get_item = &get;
    Tidegate__V1__Response *response = sale_call(client, &request);
    sale_assert_verdict(response->get_item->verdict, TG_OK);
    const Tidegate__V1__ItemStatus *status = response->get_item->status;
    struct tg_stock stock = {
        .initial_units = (uint32_t)status->item->stock_units,
        .available_units = (uint32_t)status->available_units,
        .reserved_units = (uint32_t)status->reserved_units,
        .sold_units = (uint32_t)status->sold_units,
        .restocked_units = status->restocked_units,
    };
    tgc_response_free(response);
    cr_assert(tg_stock_holds(&stock),
              "initial %u + restocked %lld, available %u, reserved %u, "
              "sold %u",
              stock.initial_units, (long long)stock.restocked_units, stock.available_units,
              stock.reserved_units, stock.sold_units);
    return stock;
}

uint64_t sale_available(struct tgc_client *client, uint64_t sale_id, const char *sku)
{
    return sale_stock(client, sale_id, sku).available_units;
}

uint64_t sale_list(struct tgc_client *client, uint64_t sale_id,
                   void (*visit)(void *context, const Tidegate__V1__Order *order), void *context)
{
    Tidegate__V1__ListOrdersRequest list = TIDEGATE__V1__LIST_ORDERS_REQUEST__INIT;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    list.sale_id = sale_id;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_ORDERS;
    request.list_orders = &list;
    uint64_t count = 0, last = 0;
    for (bool end = false; !end;) {
        Tidegate__V1__Response *response = sale_call(client, &request);
        const Tidegate__V1__ListOrdersResponse *page = response->list_orders;
        sale_assert_verdict(page->verdict, TG_OK);
        for (size_t i = 0; i < page->n_orders; i++, count++) {
            cr_assert(page->orders[i]->order_id > last, "order ids do not grow");
            last = page->orders[i]->order_id;
            if (visit)
                visit(context, page->orders[i]);
        }
        cr_assert(page->end || page->next_after_order_id > list.after_order_id);
        list.after_order_id = page->next_after_order_id;
        end = page->end;
        tgc_response_free(response);
    }
    return count;
}
