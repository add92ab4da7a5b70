/* What placing an order and taking a seat in a team have in common. */
#ifndef TG_CTL_PLACING_H
#define TG_CTL_PLACING_H

#include "ctl/ctl.h"

/* An order to place, with what its message points to. Borrows from argv. */
struct ctl_placing {
    Tidegate__V1__PlaceOrderRequest body;
    uint8_t request_id[TG_REQUEST_ID_BYTES];
    char request_text[CTL_REQUEST_TEXT_BYTES];
    char repeat[64]; /* options that place the same order again */
};

/* Reads --user, --channel, --external-id, --lane and --request-id. CTL_USAGE after telling. */
enum ctl_exit ctl_placing_begin(struct ctl *ctl, struct ctl_placing *placing);

/* Prints the answer, refused lines of a cart included; `extra` (may be NULL, is taken) goes into
 * the JSON. The verdict is for ctl_judge to tell. */
void ctl_placing_print(const struct ctl *ctl, const struct ctl_placing *placing,
                       const Tidegate__V1__PlaceOrderResponse *answer, json_t *extra);

#endif
