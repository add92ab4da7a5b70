#include "server/waits.h"

#include "base/assert.h"
#include "base/hash.h"
#include "server/life.h"

static const uint8_t *request_id(const struct srv_control *control)
{
    switch (control->kind) {
    case TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER:
        return control->change.command.request_id;
    case TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER:
        return control->placing.cart->cart.request_id;
    default: /* the others that server/control.c sends to server/life.c */
        return control->placing.order.request_id;
    }
}

/* Ids of changes count within their order. Never 0. */
static uint64_t key_of(const struct srv_core *core, const struct srv_control *control)
{
    bool changes = control->kind == TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    uint64_t seed = core->shard->engine->config.hash_seed;
    struct eng_request_key key = eng_request_key(request_id(control), seed);
    return tg_hash_words(key.hash, changes ? control->change.command.order_id : 0, seed) | 1;
}

static struct srv_control **bucket_of(struct srv_core *core, uint64_t key)
{
    return &core->waiting[key / 2 % SRV_WAIT_BUCKETS];
}

static struct srv_control *find(struct srv_core *core, uint64_t key)
{
    struct srv_control *first = *bucket_of(core, key);
    while (first && first->wait.key != key)
        first = first->wait.next;
    return first;
}

enum srv_follow srv_waits_follow(struct srv_core *core, struct srv_control *control)
{
    if (control->wait.key != 0)
        return SRV_FOLLOW_NONE;
    struct srv_control *first = find(core, key_of(core, control));
    if (!first)
        return SRV_FOLLOW_NONE;
    if (!srv_waits_has_room(core, control))
        return SRV_FOLLOW_FULL;
    core->following++;
    ++*srv_waits_of_conn(core, control);
    srv_control_list_put(&first->wait.followers, control);
    return SRV_FOLLOWS;
}

void srv_waits_begin(struct srv_core *core, struct srv_control *control)
{
    if (control->wait.key != 0)
        return;
    control->wait.key = key_of(core, control);
    struct srv_control **bucket = bucket_of(core, control->wait.key);
    control->wait.next = *bucket;
    *bucket = control;
}

void srv_waits_end(struct srv_core *core, struct srv_control *control)
{
    if (control->wait.key == 0)
        return;
    struct srv_control **place = bucket_of(core, control->wait.key);
    while (*place != control)
        place = &(*place)->wait.next;
    *place = control->wait.next;
    control->wait.key = 0;
    /* The first of them that has to wait in its turn is followed by the rest. */
    while (control->wait.followers.first) {
        tg_assert(core->following > 0);
        core->following--;
        struct srv_control *follower = srv_control_list_take(&control->wait.followers);
        --*srv_waits_of_conn(core, follower);
        srv_life_go_on(core, follower);
    }
}
