/* What clients ask for, and a network that reorders, delays, doubles and loses. Any letter on its
 * way may be the next to arrive, so a delay is however many steps it is not chosen in. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOST_ONE_IN = 30,
    DOUBLED_ONE_IN = 25,
    PLAIN_ITEMS = 6,
    TEAM_ITEMS = 2,
    LATE_ITEMS = 2,
};

/* --- the sales of a world --- */

static void plain_rules(struct world *world, struct m_sale *sale)
{
    sale->window_ms = 20000;
    sale->refund_auto_max = 40;
    sale->share_channel = 1;
    sale->share_percent = 20 + (int)sim_below(world, 30);
    sale->item_count = PLAIN_ITEMS;
    for (int i = 0; i < PLAIN_ITEMS; i++)
        world->model.items[i] = (struct m_item){
            .policy = M_RESERVE + i / 2,
            .limit = i % 2 ? 3 + (int)sim_below(world, 4) : 0,
            .per_order_max = i % 3 == 0 ? 3 : 0,
            .price = 100,
            .captain_price = 100,
            .initial = 4 + sim_below(world, i % 2 ? 60 : 12),
        };
}

static void team_rules(struct world *world, struct m_sale *sale, int number)
{
    sale->window_ms = 20000;
    sale->refund_auto_max = 1000;
    sale->item_count = TEAM_ITEMS;
    sale->team_size = 2 + (int)sim_below(world, 3);
    sale->team_lifetime_ms = 60000;
    sale->teams_per_user = 2;
    sale->new_buyers_only = number == 2;
    sale->auto_complete = number == 2;
    sale->team_size_min = number == 2 ? 1 + (int)sim_below(world, 2) : 0;
    for (int i = 0; i < TEAM_ITEMS; i++)
        world->model.items[sale->first_item + i] = (struct m_item){
            .policy = M_RESERVE + (int)sim_below(world, 3),
            .price = 100,
            .captain_price = i ? 100 : 90,
            .initial = 10 + sim_below(world, 60),
            .ladder_steps = 1,
            .ladder_size = {2},
            .ladder_price = {80},
        };
}

/* The sale that is created while others go on. */
static void late_rules(struct world *world, struct m_sale *sale)
{
    sale->window_ms = 15000;
    sale->refund_auto_max = 100;
    sale->item_count = LATE_ITEMS;
    for (int i = 0; i < LATE_ITEMS; i++)
        world->model.items[sale->first_item + i] = (struct m_item){
            .policy = M_RESERVE + (int)sim_below(world, 3),
            .limit = i ? 4 : 0,
            .price = 100,
            .captain_price = 100,
            .initial = 5 + sim_below(world, 20),
        };
}

void sim_clients_rules(struct world *world)
{
    struct model *m = &world->model;
    m->sale_count = SIM_SALES;
    m->item_count = 0;
    m->items_to_come = 0;
    m->sales_to_come = SIM_SALES + 1;
    for (int s = 0; s < m->sales_to_come; s++) {
        struct m_sale *sale = &m->sales[s];
        *sale = (struct m_sale){.first_item = m->items_to_come};
        sale->starts_at_ms = SIM_START_MS + (sim_one_in(world, 3) ? sim_below(world, 30000) : 0);
        sale->ends_at_ms = sale->starts_at_ms + 120000 + sim_below(world, 1500000);
        if (s == 0)
            plain_rules(world, sale);
        else if (s < SIM_SALES)
            team_rules(world, sale, s);
        else
            late_rules(world, sale);
        m->items_to_come += sale->item_count;
        if (s < SIM_SALES)
            m->item_count = m->items_to_come;
    }
}

static void fill_item(struct tg_item_def *def, const struct m_item *item, int number, bool is_team)
{
    def->sku_bytes = 1;
    def->sku[0] = (uint8_t)('A' + number);
    def->list_price_minor = def->sale_price_minor = item->price;
    def->stock_units = (uint32_t)item->initial;
    def->per_user_limit = (uint32_t)item->limit;
    def->per_order_max = (uint32_t)item->per_order_max;
    def->stock_policy = (uint8_t)item->policy;
    def->captain_price_minor = is_team ? item->captain_price : 0;
    def->ladder_steps = (uint8_t)item->ladder_steps;
    for (int i = 0; i < item->ladder_steps; i++)
        def->ladder[i] = (struct tg_ladder_step){.size = (uint32_t)item->ladder_size[i],
                                                 .unit_price_minor = item->ladder_price[i]};
}

struct tg_sale_def *sim_clients_sale(struct world *world, int number)
{
    const struct m_sale *sale = &world->model.sales[number];
    struct tg_sale_def *def = tg_sale_def_create((uint32_t)sale->item_count);
    promise(def, "no memory");
    def->sale_id = 1 + (uint64_t)number;
    def->kind = sale->team_size ? TG_SALE_GROUP_BUY : TG_SALE_SECKILL;
    def->name_bytes = 3;
    memcpy(def->name, "sim", 3);
    memcpy(def->currency, "EUR", TG_CURRENCY_BYTES);
    def->starts_at_ms = sale->starts_at_ms;
    def->ends_at_ms = sale->ends_at_ms;
    def->payment_window_s = (uint32_t)(sale->window_ms / 1000);
    def->refund_auto_max_minor = sale->refund_auto_max;
    def->share_count = sale->share_percent != 0;
    def->shares[0] = (struct tg_channel_share){.channel = (uint16_t)sale->share_channel,
                                               .percent = (uint8_t)sale->share_percent};
    if (sale->team_size)
        def->team = (struct tg_team_rules){
            .team_size = (uint8_t)sale->team_size,
            .team_size_min = (uint8_t)sale->team_size_min,
            .at_deadline = sale->auto_complete ? TG_DEADLINE_AUTO_COMPLETE : TG_DEADLINE_FAIL,
            .new_buyers_only = sale->new_buyers_only,
            .team_lifetime_s = (uint32_t)(sale->team_lifetime_ms / 1000),
            .teams_per_user_max = (uint32_t)sale->teams_per_user,
        };
    for (int i = 0; i < sale->item_count; i++)
        fill_item(&def->items[i], &world->model.items[sale->first_item + i], sale->first_item + i,
                  sale->team_size != 0);
    return def;
}

/* --- the network --- */

static void post(struct world *world, struct letter letter)
{
    if (world->wire_count == SIM_WIRE || sim_one_in(world, LOST_ONE_IN)) {
        world->figures->lost++;
        return;
    }
    letter.mark =
        tg_mix64((uint64_t)world->step << 32 | world->asks[letter.ask].step) | letter.to_server;
    world->wire[world->wire_count++] = letter;
}

/* By a mark of its own and this step's number, so that other letters hardly matter to the choice: a
 * step that is left out leaves the rest as it was (after Thaler and Ravishankar's rendezvous). */
static int choose_letter(struct world *world)
{
    uint64_t salt = tg_rng_next(&world->rng), best = 0;
    int chosen = 0;
    for (int i = 0; i < world->wire_count; i++) {
        uint64_t weight = (world->wire[i].mark ^ salt) * TG_RNG_GOLDEN;
        if (weight >= best) {
            best = weight;
            chosen = i;
        }
    }
    return chosen;
}

/* Nobody reads it when nothing is told. */
static const char *describe(const struct world *world, const struct ask *ask, char text[160])
{
    static const char *const kinds[] = {"", "order", "cart", "open team", "join team", "ingest"};
    static const char *const changes[] = {"",        "pay",    "cancel", "extend", "refund",
                                          "approve", "reject", "repaid", "advance"};
    static const char *const verbs[] = {"create, from now,", "create behind", "ack", "delete"};
    const struct m_request *request = &ask->request;
    const struct m_command *command = &ask->command;
    int length = 0;
    text[0] = '\0';
    if (!world->traces)
        return text;
    switch (ask->kind) {
    case ASK_ORDER:
        length = snprintf(text, 160, "%s by user %d:", kinds[request->kind], request->user);
        for (int l = 0; l < request->line_count; l++)
            length += snprintf(text + length, 160 - (size_t)length, " %ld of item %d",
                               (long)request->lines[l].quantity, request->lines[l].item);
        if (request->kind == M_JOIN)
            snprintf(text + length, 160 - (size_t)length, " in team %lu",
                     (unsigned long)request->team_id);
        break;
    case ASK_COMMAND:
        length = snprintf(text, 160, "%s order %lu", changes[command->kind],
                          (unsigned long)command->order_id);
        if (command->kind == M_PAY)
            snprintf(text + length, 160 - (size_t)length, " payment p%u of %ld",
                     command->payment.id, (long)command->payment.amount);
        break;
    case ASK_ADJUST:
        snprintf(text, 160, "adjust item %d by %ld", ask->item, (long)ask->delta);
        break;
    case ASK_SALE_STATE:
        snprintf(text, 160, "sale %d to be %s", ask->sale,
                 ask->wanted == TG_SALE_CLOSED   ? "closed"
                 : ask->wanted == TG_SALE_PAUSED ? "paused"
                                                 : "active");
        break;
    case ASK_SALE:
        snprintf(text, 160, "create sale %d", SIM_SALES);
        break;
    case ASK_GROUP:
        snprintf(text, 160, "%s group %d %lu", verbs[ask->verb], ask->group,
                 (unsigned long)ask->sequence);
        break;
    }
    return text;
}

void sim_clients_answer(struct world *world, int number, const struct reply *reply)
{
    char text[160];
    sim_mix(world, (uint64_t)reply->verdict ^ reply->order_id << 8);
    sim_trace(world, "answer to #%d (%s): %s%s order %lu", number,
              describe(world, &world->asks[number], text), tg_verdict_name(reply->verdict),
              reply->replayed ? ", replayed," : "", (unsigned long)reply->order_id);
    post(world, (struct letter){.ask = number, .reply = *reply});
}

/* A retry that comes later than the time to live of its id is an order of its own. */
static bool is_past_its_time(const struct world *world, uint64_t order_id)
{
    int place = m_find(&world->model, order_id);
    return place != M_NONE && !world->model.remembered[place];
}

/* What a client was told once stays so. */
static void hear(struct world *world, const struct letter *letter)
{
    struct ask *ask = &world->asks[letter->ask];
    ask->answers++;
    if (ask->kind != ASK_ORDER || letter->reply.verdict != TG_ACCEPTED)
        return;
    if (ask->order_id != 0 && ask->order_id != letter->reply.order_id &&
        is_past_its_time(world, ask->order_id < letter->reply.order_id ? ask->order_id
                                                                       : letter->reply.order_id))
        ask->order_id = letter->reply.order_id;
    promise(ask->order_id == 0 || ask->order_id == letter->reply.order_id,
            "a client heard of order %lu, and for the same request of order %lu",
            (unsigned long)ask->order_id, (unsigned long)letter->reply.order_id);
    promise(m_find(&world->model, letter->reply.order_id) != M_NONE,
            "a client hears of order %lu, which is nowhere", (unsigned long)letter->reply.order_id);
    ask->order_id = letter->reply.order_id;
}

/* For shrinking: whatever is about one request can be left out together. */
static void is_about(struct world *world, int ask)
{
    if (world->step > SIM_STEPS)
        return;
    world->about[world->step] = (uint16_t)world->asks[ask].step;
    world->story[world->step] = (uint16_t)world->asks[ask].story;
}

bool sim_clients_deliver(struct world *world)
{
    char text[160];
    if (world->wire_count == 0)
        return false;
    int at = choose_letter(world);
    struct letter letter = world->wire[at];
    is_about(world, letter.ask);
    if (sim_one_in(world, DOUBLED_ONE_IN))
        world->figures->doubled++;
    else
        world->wire[at] = world->wire[--world->wire_count];
    if (!letter.to_server) {
        hear(world, &letter);
        return true;
    }
    sim_trace(world, "request #%d arrives: %s", letter.ask,
              describe(world, &world->asks[letter.ask], text));
    sim_node_receive(world, letter.ask);
    return true;
}

/* --- what to ask for --- */

/* An earlier request, mostly a recent one; by its step, so that steps left out change little. */
static int pick(struct world *world, bool (*fits)(const struct ask *ask))
{
    uint32_t span = sim_one_in(world, 6) ? SIM_STEPS : sim_one_in(world, 2) ? 400 : 80;
    uint32_t back = 1 + sim_below(world, span);
    int i = world->ask_count - 1;
    while (i >= 0 && world->asks[i].step + back > world->step)
        i--;
    for (int tries = 0; i >= 0 && tries < 64; i--, tries++)
        if (fits(&world->asks[i]))
            return i;
    return SIM_NOBODY;
}

static bool any_fits(const struct ask *ask)
{
    return ask->step != 0;
}

static bool is_order(const struct ask *ask)
{
    return ask->kind == ASK_ORDER && ask->request.kind != M_INGEST;
}

static bool has_order(const struct ask *ask)
{
    return ask->kind == ASK_ORDER && ask->order_id != 0;
}

static bool has_team(const struct ask *ask)
{
    return has_order(ask) && ask->request.kind == M_OPEN;
}

static void fresh_id(struct world *world, uint64_t id[2])
{
    id[0] = tg_mix64(world->seed ^ world->step) | 1;
    id[1] = world->step;
}

static struct m_line line_of(struct world *world, int item, uint32_t most)
{
    return (struct m_line){.item = item,
                           .quantity = 1 + sim_below(world, most),
                           .price = world->model.items[item].price};
}

static void ask_cart(struct world *world, struct m_request *request)
{
    int first = 2 * (int)sim_below(world, PLAIN_ITEMS / 2);
    request->kind = M_CART;
    request->line_count = 1 + (int)sim_below(world, 2);
    int flip = (int)sim_below(world, 2);
    for (int l = 0; l < request->line_count; l++)
        request->lines[l] = line_of(world, first + (l ^ flip), 3);
    if (sim_one_in(world, 30) && request->line_count == 2)
        request->lines[1].item = (first + 3) % PLAIN_ITEMS;
}

static void ask_ingest(struct world *world, struct m_request *request)
{
    struct m_line *line = &request->lines[0];
    request->kind = M_INGEST;
    request->external = 1 + (int)sim_below(world, 300);
    request->id[0] = 1ull << 62 | (uint64_t)request->channel << 32 | (uint32_t)request->external;
    request->id[1] = UINT64_MAX;
    *line = line_of(world, (int)sim_below(world, PLAIN_ITEMS), 2);
    line->price = 30 + sim_below(world, 2);
    request->ordered_at_ms = world->now_ms - sim_below(world, 20000);
    request->is_paid = sim_one_in(world, 2);
    request->payment = (struct m_payment){.id = (uint8_t)(1 + sim_below(world, 2)),
                                          .is_foreign = sim_one_in(world, 40),
                                          .amount = line->price * line->quantity,
                                          .paid_at_ms = 7};
    if (sim_one_in(world, 40))
        request->payment.amount++;
    if (!request->is_paid)
        request->payment = (struct m_payment){.id = 0};
}

static int team_item(struct world *world)
{
    return PLAIN_ITEMS + (int)sim_below(world, 2 * TEAM_ITEMS);
}

static void ask_team(struct world *world, struct ask *ask)
{
    struct m_request *request = &ask->request;
    int opened = sim_one_in(world, 3) ? SIM_NOBODY : pick(world, has_team);
    int item = team_item(world);
    request->kind = opened == SIM_NOBODY ? M_OPEN : M_JOIN;
    request->user = 1 + (int)sim_below(world, 3 * SIM_USERS);
    if (request->kind == M_JOIN) {
        ask->story = world->asks[opened].story;
        request->team_id = world->asks[opened].order_id;
        request->new_buyer = !sim_one_in(world, 10);
        if (!sim_one_in(world, 30))
            item = world->asks[opened].request.lines[0].item;
        else
            request->team_id += 1024;
    }
    if (request->kind == M_OPEN && sim_one_in(world, 40))
        item = (int)sim_below(world, PLAIN_ITEMS);
    request->lines[0] = line_of(world, item, 2);
    if (request->kind == M_OPEN)
        request->lines[0].price = world->model.items[item].captain_price;
    /* Another sale's shard knows nothing of this team: the server asks the item's. */
    int team = m_find_team(&world->model, request->team_id);
    if (request->kind == M_JOIN && team != M_NONE &&
        world->model.items[world->model.teams[team].item].shard != world->model.items[item].shard)
        request->lines[0].item = world->model.teams[team].item;
}

static void ask_order(struct world *world, struct ask *ask)
{
    struct m_request *request = &ask->request;
    uint32_t kind = sim_below(world, 100);
    ask->kind = ASK_ORDER;
    fresh_id(world, request->id);
    request->user = 1 + (int)sim_below(world, SIM_USERS);
    request->channel = (int)sim_below(world, 3);
    request->line_count = 1;
    if (kind < 45) {
        request->kind = M_PLAIN;
        request->lines[0] = line_of(world, (int)sim_below(world, PLAIN_ITEMS), 3);
        if (sim_one_in(world, 40))
            request->lines[0].item = team_item(world);
        if (world->model.sale_count > SIM_SALES && sim_one_in(world, 5))
            request->lines[0].item =
                world->model.sales[SIM_SALES].first_item + (int)sim_below(world, LATE_ITEMS);
    } else if (kind < 60) {
        ask_cart(world, request);
    } else if (kind < 70) {
        ask_ingest(world, request);
    } else {
        ask_team(world, ask);
    }
    if (sim_one_in(world, 50))
        request->lines[0].price++;
    int other = sim_one_in(world, 40) ? pick(world, is_order) : SIM_NOBODY;
    if (other != SIM_NOBODY && request->kind != M_INGEST)
        memcpy(request->id, world->asks[other].request.id, sizeof(request->id));
}

static int64_t amount_of(const struct m_request *request)
{
    int64_t amount = 0;
    for (int l = 0; l < request->line_count; l++)
        amount += request->lines[l].price * request->lines[l].quantity;
    return amount;
}

static bool is_command(const struct ask *ask)
{
    return ask->kind == ASK_COMMAND;
}

/* What is no part of a change is not set. */
static void keep_fields(struct m_command *command)
{
    struct m_command all = *command;
    *command = (struct m_command){
        .id = {all.id[0], all.id[1]}, .order_id = all.order_id, .kind = all.kind};
    switch (all.kind) {
    case M_PAY:
        command->payment = all.payment;
        break;
    case M_CANCEL:
        command->by = all.by;
        break;
    case M_EXTEND:
        command->deadline_ms = all.deadline_ms;
        break;
    case M_REFUND:
        command->amount = all.amount;
        command->restock = all.restock;
        break;
    case M_APPROVE:
    case M_REJECT:
    case M_REPAID:
        command->number = all.number;
        break;
    case M_ADVANCE:
        command->to = all.to;
        break;
    }
}

static void ask_command(struct world *world, struct ask *ask, int about)
{
    static const enum m_command_kind kinds[] = {
        M_PAY,    M_PAY,    M_PAY,    M_PAY,    M_PAY,     M_PAY,    M_CANCEL,  M_CANCEL,
        M_EXTEND, M_REFUND, M_REFUND, M_REPAID, M_APPROVE, M_REJECT, M_ADVANCE, M_ADVANCE};
    struct m_command *command = &ask->command;
    ask->kind = ASK_COMMAND;
    fresh_id(world, command->id);
    ask->story = world->asks[about].story;
    command->order_id = world->asks[about].order_id;
    command->kind = kinds[sim_below(world, sizeof(kinds) / sizeof(kinds[0]))];
    command->by = sim_one_in(world, 2) ? TG_CANCELLED_BY_BUYER : TG_CANCELLED_BY_MERCHANT;
    command->to = TG_ORDER_SHIPPED + (int)sim_below(world, 3);
    command->number = 1 + (int)sim_below(world, 3);
    command->deadline_ms = world->now_ms + sim_below(world, 60000);
    command->amount = 30 * (int64_t)sim_below(world, 3);
    command->restock = command->amount == 0 && sim_one_in(world, 2);
    command->payment = (struct m_payment){.id = (uint8_t)(1 + sim_below(world, 4)),
                                          .is_foreign = sim_one_in(world, 60),
                                          .amount = amount_of(&world->asks[about].request),
                                          .paid_at_ms = 7};
    if (sim_one_in(world, 30))
        command->payment.amount++;
    if (sim_one_in(world, 100))
        command->order_id += 1024;
    keep_fields(command);
    int other = sim_one_in(world, 60) ? pick(world, is_command) : SIM_NOBODY;
    if (other != SIM_NOBODY) {
        memcpy(command->id, world->asks[other].command.id, sizeof(command->id));
        command->order_id = world->asks[other].command.order_id;
    }
}

static void ask_state(struct world *world, struct ask *ask)
{
    ask->kind = ASK_SALE_STATE;
    ask->sale = (int)sim_below(world, (uint32_t)world->model.sale_count);
    ask->wanted = sim_one_in(world, 6) ? TG_SALE_PAUSED : TG_SALE_ACTIVE;
    if (world->closes && sim_one_in(world, 12))
        ask->wanted = TG_SALE_CLOSED;
}

static void ask_group(struct world *world, struct ask *ask)
{
    const struct model *m = &world->model;
    uint32_t verb = sim_below(world, 10);
    ask->kind = ASK_GROUP;
    ask->group = 1 + (int)sim_below(world, M_GROUPS - 1);
    ask->verb = verb < 2   ? GROUP_CREATE_NOW
                : verb < 4 ? GROUP_CREATE_BEHIND
                : verb < 8 ? GROUP_ACK
                           : GROUP_DELETE;
    ask->sequence = sim_below(world, (uint32_t)m->sequence + 2);
    if (ask->verb == GROUP_ACK && sim_one_in(world, 2))
        ask->sequence = m->groups[ask->group].offset + sim_below(world, 30);
}

static void ask_operator(struct world *world, struct ask *ask)
{
    uint32_t kind = sim_below(world, 8);
    if (kind < 2) {
        ask_state(world, ask);
    } else if (kind < 4) {
        ask_group(world, ask);
    } else if (kind < 5) {
        ask->kind = ASK_SALE;
    } else {
        ask->kind = ASK_ADJUST;
        ask->item = (int)sim_below(world, (uint32_t)world->model.item_count);
        ask->compare = sim_one_in(world, 3);
        ask->expected = world->model.items[ask->item].available;
        ask->delta = (int64_t)sim_below(world, 16) - 5;
        if (ask->compare && ask->expected + ask->delta < 0)
            ask->delta = -ask->expected;
    }
}

static struct ask *ask_begin(struct world *world)
{
    if (world->ask_count == SIM_ASKS)
        return NULL;
    struct ask *ask = &world->asks[world->ask_count++];
    memset(ask, 0, sizeof(*ask));
    ask->step = ask->story = world->step;
    return ask;
}

/* A change that is committed: the last group is made, or goes. */
void sim_clients_toggle_group(struct world *world)
{
    struct ask *ask = ask_begin(world);
    if (!ask)
        return;
    ask->kind = ASK_GROUP;
    ask->group = M_GROUPS - 1;
    ask->verb = world->model.groups[ask->group].exists ? GROUP_DELETE : GROUP_CREATE_NOW;
    post(world, (struct letter){.to_server = true, .ask = world->ask_count - 1});
}

/* The reader of everything has handled what it has read. */
void sim_clients_ack(struct world *world)
{
    struct ask *ask = ask_begin(world);
    if (!ask)
        return;
    ask->kind = ASK_GROUP;
    ask->verb = GROUP_ACK;
    ask->sequence = world->events_read;
    post(world, (struct letter){.to_server = true, .ask = world->ask_count - 1});
}

void sim_clients_ask(struct world *world)
{
    struct ask *ask = ask_begin(world);
    if (!ask)
        return;
    uint32_t kind = sim_below(world, 100);
    int about = kind < 55 ? pick(world, has_order) : SIM_NOBODY;
    if (kind >= 96)
        ask_operator(world, ask);
    else if (about != SIM_NOBODY)
        ask_command(world, ask, about);
    else
        ask_order(world, ask);
    is_about(world, world->ask_count - 1);
    post(world, (struct letter){.to_server = true, .ask = world->ask_count - 1});
}

void sim_clients_ask_again(struct world *world)
{
    int number = pick(world, any_fits);
    if (number == SIM_NOBODY)
        return;
    is_about(world, number);
    post(world, (struct letter){.to_server = true, .ask = number});
}
