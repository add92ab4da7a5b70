/* The sale file: one JSON object that says all about a new sale.
 *
 * The keys that every sale has are required, those of rules that a sale may go without are
 * optional, and no other is taken: a slip of the pen is an error here and not a limit that was
 * never set. Ranges are those of base/limits.h.
 */
#ifndef TG_CTL_SALEFILE_H
#define TG_CTL_SALEFILE_H

#include "base/error.h"
#include "base/limits.h"
#include "proto/verdict.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* A request ready to send. Its texts lie in `root`, its messages here. */
struct ctl_salefile {
    Tidegate__V1__CreateSaleRequest request;
    Tidegate__V1__Sale sale;
    Tidegate__V1__GroupBuyRules group_buy;
    Tidegate__V1__ChannelShare shares[TG_CHANNEL_SHARES_MAX];
    Tidegate__V1__ChannelShare *share_list[TG_CHANNEL_SHARES_MAX];
    Tidegate__V1__SaleItem *items;
    Tidegate__V1__SaleItem **item_list;
    json_t *root;
    bool relative_times; /* "now" or "+2h" stands in it */
};

/* Reads `text`. Times such as "now" are counted from `now_ms`. TG_ERR_INVALID names the file as
 * `name`, the line or the field, and what is expected there; the file is then empty. Free with
 * ctl_salefile_free in every case. */
enum tg_error ctl_salefile_parse(struct ctl_salefile *file, const char *name, const char *text,
                                 size_t text_bytes, int64_t now_ms, struct tg_fault *fault);
void ctl_salefile_free(struct ctl_salefile *file);

#endif
