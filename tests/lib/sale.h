/* Sales, orders and reads in one line each, through the client library. Each call fails the test
 * when it has no answer; what the answer says is for the test to judge. One thread.
 */
#ifndef TG_TESTS_SALE_H
#define TG_TESTS_SALE_H

#include "base/order.h"
#include "base/record.h"
#include "client/tidegate.h"
#include "proto/verdict.h"
#include "tests/lib/daemon.h"

/* The price of every item of sale_create. */
#define SALE_PRICE 9900

struct tgc_client *sale_client(const struct daemon *daemon);

/* Sends any request; the response's kind is that of the request. Free with tgc_response_free. */
Tidegate__V1__Response *sale_call(struct tgc_client *client, Tidegate__V1__Request *request);

/* --- operators --- */

/* A sale whose window is open, with one item; it must be created. */
void sale_create(struct tgc_client *client, uint64_t sale_id, const char *sku, uint64_t stock_units,
                 uint32_t per_user_limit);
/* The same with `count` items named "S0", "S1" and so on. */
void sale_create_many(struct tgc_client *client, uint64_t sale_id, uint32_t count,
                      uint64_t stock_units);
/* A message to change before it is sent: sale and item of sale_create. Static memory. */
Tidegate__V1__CreateSaleRequest *sale_message(uint64_t sale_id, const char *sku,
                                              uint64_t stock_units);
/* Sends it; the field named by the answer must be `field`, "" for none. */
enum tg_verdict sale_create_message(struct tgc_client *client,
                                    Tidegate__V1__CreateSaleRequest *message, const char *field);

enum tg_verdict sale_pause(struct tgc_client *client, uint64_t sale_id);
enum tg_verdict sale_resume(struct tgc_client *client, uint64_t sale_id);
enum tg_verdict sale_close(struct tgc_client *client, uint64_t sale_id);
enum tg_verdict sale_adjust(struct tgc_client *client, uint64_t sale_id, const char *sku,
                            int64_t delta_units);
enum tg_verdict sale_compare_and_set(struct tgc_client *client, uint64_t sale_id, const char *sku,
                                     uint64_t expected_units, uint64_t new_units);

/* --- buyers --- */

/* An order of an item of sale_create with a request id of its own; `sku` is borrowed. */
struct tg_order sale_order(uint64_t sale_id, const char *sku, uint64_t user_id, uint32_t quantity);
/* Sends it once and waits: no retries, so that BUSY and STORAGE_FULL are seen. */
struct tg_answer sale_place(struct tgc_client *client, const struct tg_order *order);
/* sale_order and sale_place; the verdict. */
enum tg_verdict sale_buy(struct tgc_client *client, uint64_t sale_id, const char *sku,
                         uint64_t user_id, uint32_t quantity);
/* The order as a message that can hold what no struct tg_order can. Borrows from `order`, which
 * its sku must outlive as a string. */
Tidegate__V1__PlaceOrderRequest sale_order_message(const struct tg_order *order);
/* All in one batch; the answers in their order. */
void sale_place_batch(struct tgc_client *client, const struct tg_order *orders, uint32_t count,
                      struct tg_answer *answers);

/* --- readers --- */

/* The item's numbers, whose balance must hold. */
struct tg_stock sale_stock(struct tgc_client *client, uint64_t sale_id, const char *sku);
uint64_t sale_available(struct tgc_client *client, uint64_t sale_id, const char *sku);
/* Calls `visit` (may be NULL) with every durable order of a sale (0: of all); returns how many.
 * Their ids must grow. */
uint64_t sale_list(struct tgc_client *client, uint64_t sale_id,
                   void (*visit)(void *context, const Tidegate__V1__Order *order), void *context);

/* Fails the test when they differ, by name. */
#define sale_assert_verdict(actual, expected)                                                      \
    do {                                                                                           \
        enum tg_verdict verdict_ = (enum tg_verdict)(actual);                                      \
        cr_assert_eq(verdict_, (expected), "%s, not %s", tg_verdict_name(verdict_),                \
                     tg_verdict_name(expected));                                                   \
    } while (0)

#endif
