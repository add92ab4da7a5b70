/* What becomes of orders, in one line each: changes, carts, teams and orders of other channels,
 * beside what sale.h does. Each call fails the test when it has no answer; what the answer says is
 * for the test to judge. One thread.
 */
#ifndef TG_TESTS_LIFE_H
#define TG_TESTS_LIFE_H

#include "tests/lib/sale.h"

/* --- changes of an order --- */

/* What a test looks at of a ChangeOrder's answer. */
struct life_answer {
    enum tg_verdict verdict;
    int state; /* enum tg_order_state; 0 when the answer has no order */
    bool replayed;
    uint32_t refund_number;
    char field[32];
};

/* A change of the order under a request id of its own; set one of the changes. */
Tidegate__V1__ChangeOrderRequest life_change_message(uint64_t order_id);
struct life_answer life_change(struct tgc_client *client,
                               Tidegate__V1__ChangeOrderRequest *message);

/* `payment_id` is text. */
struct life_answer life_pay(struct tgc_client *client, uint64_t order_id, const char *payment_id,
                            int64_t amount_minor);
struct life_answer life_cancel(struct tgc_client *client, uint64_t order_id);
/* 0: all that is left. */
struct life_answer life_request_refund(struct tgc_client *client, uint64_t order_id,
                                       int64_t amount_minor, bool restock);
struct life_answer life_record_refund(struct tgc_client *client, uint64_t order_id,
                                      uint32_t number);
struct life_answer life_advance(struct tgc_client *client, uint64_t order_id, int to);

/* The durable order, which must be there; free it with tgc_response_free. */
Tidegate__V1__Response *life_get(struct tgc_client *client, uint64_t order_id);
/* Its state. The money of the order must add up. */
int life_state(struct tgc_client *client, uint64_t order_id);
/* Waits until it has this state. */
void life_wait(struct tgc_client *client, uint64_t order_id, int state);

/* --- placing --- */

struct life_line {
    const char *sku;
    uint32_t quantity;
};

/* A PlaceOrder of `count` lines at SALE_PRICE; the whole answer, free it with tgc_response_free. */
Tidegate__V1__Response *life_place_cart(struct tgc_client *client, uint64_t sale_id,
                                        uint64_t user_id, const struct life_line *lines,
                                        uint32_t count);

struct tg_answer life_open_team(struct tgc_client *client, const struct tg_order *order);
struct tg_answer life_join_team(struct tgc_client *client, uint64_t team_id, bool new_buyer,
                                const struct tg_order *order);
/* The team, which must be there; free it with tgc_response_free. */
Tidegate__V1__Response *life_team(struct tgc_client *client, uint64_t team_id);
/* Its state. */
int life_team_state(struct tgc_client *client, uint64_t team_id);

/* --- consumers --- */

/* A group that begins with the first event; it must be made. */
void life_create_group(struct tgc_client *client, const char *group);
/* Acks all up to `sequence`; the verdict. */
enum tg_verdict life_ack(struct tgc_client *client, const char *group, uint64_t sequence);

#endif
