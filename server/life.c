#include "server/life.h"

#include "server/cart.h"
#include "server/lanes.h"
#include "server/server.h"
#include "server/show.h"
#include "server/waits.h"

#include <stdlib.h>
#include <string.h>

/* An IngestOrders that waits for its last answer; of the core of its connection. */
struct srv_ingest {
    struct srv_address address;
    uint32_t count;
    uint32_t unanswered;
    bool unreadable; /* one of them met a database that could not be read */
    bool is_late;    /* the deadline came before one of them was decided */
    struct tg_answer answers[];
};

/* --- deciding --- */

static enum eng_step ask_change(struct srv_core *core, struct srv_control *control,
                                enum eng_acquired acquired, struct eng_unit *unit,
                                struct eng_take *take)
{
    struct srv_change_ask *ask = &control->change;
    enum eng_step step = eng_life_change(core->shard, &ask->command, acquired, core->now_ms, unit,
                                         take, &ask->result);
    if (step == ENG_FINAL || step == ENG_RECORDED)
        srv_control_refuse(control, ask->result.verdict, ask->result.field);
    return step;
}

static enum eng_step ask_placing(struct srv_core *core, struct srv_control *control,
                                 enum eng_acquired acquired, struct eng_unit *unit,
                                 struct eng_take *take, struct eng_decision *decision)
{
    const struct srv_placing *placing = &control->placing;
    struct eng_shard *shard = core->shard;
    switch (control->kind) {
    case TIDEGATE__V1__REQUEST__KIND_OPEN_TEAM:
        return eng_team_open(shard, placing->item, &placing->order, core->now_ms, unit, decision);
    case TIDEGATE__V1__REQUEST__KIND_JOIN_TEAM:
        return eng_team_join(shard, placing->item, placing->team_id, placing->new_buyer,
                             &placing->order, core->now_ms, unit, decision);
    case TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS:
        return eng_ingest(shard, placing->item, &placing->order, placing->ordered_at_ms,
                          placing->is_paid ? &placing->payment : NULL, core->now_ms, unit,
                          decision);
    default: /* PLACE_ORDER: server/control.c sends nothing else this way */
        return eng_cart_place(shard, &placing->cart->cart, acquired, core->now_ms, unit, take,
                              decision, placing->cart->refusals);
    }
}

/* What a decision about a new order means for its request: the slot of one that goes to the disk is
 * kept for the answer. */
static void take_decision(struct srv_core *core, struct srv_control *control, enum eng_step step,
                          const struct eng_decision *decision)
{
    struct srv_placing *placing = &control->placing;
    srv_control_refuse(control, decision->verdict, decision->field);
    if (step == ENG_RECORDED) {
        placing->slot = decision->slot;
        placing->generation = decision->generation;
        eng_requests_keep(&core->shard->requests, placing->slot);
    } else if (decision->replayed) {
        placing->answer = decision->answer;
    }
}

static enum eng_step ask(struct srv_core *core, struct srv_control *control,
                         enum eng_acquired acquired, struct eng_unit *unit, struct eng_take *take)
{
    control->wait.slot = ENG_SLOT_NONE;
    if (control->kind == TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER)
        return ask_change(core, control, acquired, unit, take);
    struct eng_decision decision = {0};
    enum eng_step step = ask_placing(core, control, acquired, unit, take, &decision);
    /* When the first is durable, or was refused, a retry is decided like any other. */
    if (decision.replayed && decision.in_flight) {
        control->wait.slot = decision.slot;
        control->wait.generation = decision.generation;
        return ENG_WAIT;
    }
    if (step != ENG_FINAL && step != ENG_RECORDED)
        return step;
    take_decision(core, control, step, &decision);
    return step;
}

/* It is decided again when all that is in flight now has completed. False: it cannot wait. */
static bool wait_behind_fence(struct srv_core *core, struct srv_control *control)
{
    struct tg_record *record =
        srv_waits_has_room(core, control) ? tg_journal_reserve(&core->journal) : NULL;
    if (!record) {
        srv_control_refuse(control, TG_BUSY, TG_FIELD_NONE);
        return false;
    }
    core->fenced++;
    ++*srv_waits_of_conn(core, control);
    eng_shard_fence(core->shard, control->wait.slot, control->wait.generation, core->now_ms,
                    record);
    srv_core_append(core, &control->address, control);
    srv_waits_begin(core, control);
    return true;
}

static bool go_on(struct srv_core *core, struct srv_control *control);

static bool hold(struct srv_core *core, struct srv_control *control, const struct eng_take *take)
{
    srv_cart_hold(core, control, take);
    return control->holds->waiting == 0 && go_on(core, control);
}

/* Does what the step says. True: the request is final. */
static bool take_step(struct srv_core *core, struct srv_control *control, enum eng_step step,
                      const struct eng_unit *unit, const struct eng_take *take)
{
    switch (step) {
    case ENG_FINAL:
        break;
    case ENG_WAIT:
        if (wait_behind_fence(core, control))
            return false;
        break;
    case ENG_ACQUIRE:
        srv_waits_begin(core, control);
        return hold(core, control, take);
    case ENG_RECORDED:
        srv_core_append_unit(core, unit, control);
        srv_waits_end(core, control);
        return false;
    case ENG_LOAD_FAILED:
        control->unreadable = true;
        break;
    }
    srv_waits_end(core, control);
    return true;
}

static bool decide(struct srv_core *core, struct srv_control *control, enum eng_acquired acquired)
{
    struct eng_unit unit = {.journal = &core->journal};
    struct eng_take take;
    control->is_late =
        acquired != ENG_NOT_TAKEN && srv_core_is_late(core, control->address.deadline_ns);
    enum eng_step step = ENG_FINAL;
    if (control->is_late)
        srv_control_refuse(control, TG_UNSPECIFIED, TG_FIELD_NONE);
    else
        step = ask(core, control, acquired, &unit, &take);
    if (acquired == ENG_TAKEN && step != ENG_RECORDED)
        srv_cart_release(core, control);
    srv_cart_forget(control);
    return take_step(core, control, step, &unit, &take);
}

/* Decides it now, unless it is a retry of one that waits. */
static bool begin(struct srv_core *core, struct srv_control *control)
{
    switch (srv_waits_follow(core, control)) {
    case SRV_FOLLOW_NONE:
        return decide(core, control, ENG_NOT_ASKED);
    case SRV_FOLLOWS:
        return false;
    case SRV_FOLLOW_FULL:
        break;
    }
    srv_control_refuse(control, TG_BUSY, TG_FIELD_NONE);
    return true;
}

bool srv_life_decide(struct srv_core *core, struct srv_control *control)
{
    bool places = control->kind != TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER;
    if (!places || control->has_waited || !srv_lanes_needed(core))
        return begin(core, control);
    control->has_waited = true;
    if (srv_lanes_put_control(core, (enum tg_lane)control->placing.order.lane, control))
        return false;
    srv_control_refuse(control, TG_BUSY, TG_FIELD_NONE);
    return true;
}

void srv_life_go_on(struct srv_core *core, struct srv_control *control)
{
    if (begin(core, control))
        srv_control_finish(core, control);
}

/* --- units on other cores --- */

/* Why line `asked` of the cart cannot be had; ACCEPTED when it can. */
static enum tg_verdict line_verdict(const struct srv_cart *cart, uint8_t asked)
{
    return cart->cart.wrong[asked] != TG_ACCEPTED ? cart->cart.wrong[asked]
                                                  : cart->refusals[cart->cart.line_of[asked]];
}

/* Answers with the first line that failed; `refusals` are of the merged lines. */
static void refuse_cart(struct srv_control *control, const enum tg_verdict *refusals)
{
    struct srv_cart *cart = control->placing.cart;
    memcpy(cart->refusals, refusals, sizeof(cart->refusals));
    enum tg_verdict verdict = TG_BUSY;
    for (uint8_t i = cart->cart.asked_count; i-- > 0;)
        if (line_verdict(cart, i) != TG_ACCEPTED)
            verdict = line_verdict(cart, i);
    srv_control_refuse(control, verdict,
                       verdict == TG_INVALID_ARGUMENT ? TG_FIELD_PER_ORDER : TG_FIELD_NONE);
}

/* What was missing was only held for others, or could not be asked for: it may be had later. */
static bool refused_as_busy(const struct srv_holds *holds)
{
    for (uint32_t i = 0; i < holds->take.line_count; i++)
        if (holds->refusals[i] != TG_ACCEPTED && holds->refusals[i] != TG_BUSY)
            return false;
    return true;
}

/* A cart's lines could not all be held. They may have gone to the first copy of this very cart: so
 * the engine is asked once more, and knows a retry when it sees one. */
static bool give_up_cart(struct srv_core *core, struct srv_control *control)
{
    enum tg_verdict refusals[TG_ORDER_LINES_MAX];
    memcpy(refusals, control->holds->refusals, sizeof(refusals));
    if (!decide(core, control, ENG_NOT_TAKEN))
        return false;
    if (control->verdict == TG_BUSY)
        refuse_cart(control, refusals);
    return true;
}

/* Every core that was asked has answered. True: the request is final. */
static bool go_on(struct srv_core *core, struct srv_control *control)
{
    const struct srv_holds *holds = control->holds;
    if (holds->all_taken)
        return decide(core, control, ENG_TAKEN);
    if (control->kind == TIDEGATE__V1__REQUEST__KIND_PLACE_ORDER)
        return give_up_cart(core, control);
    return decide(core, control, refused_as_busy(holds) ? ENG_TAKE_BUSY : ENG_NOT_TAKEN);
}

void srv_life_held(struct srv_core *core, struct srv_control *control)
{
    if (go_on(core, control))
        srv_control_finish(core, control);
}

/* --- settling --- */

void srv_life_settle_record(struct srv_core *core, const struct tg_record *record,
                            struct srv_control *control)
{
    struct eng_take spread = {.line_count = 0};
    eng_life_settle(core->shard, record, &spread);
    if (spread.line_count > 0)
        srv_cart_settle(core, &spread, control);
}

/* The order's slot knows its id, or knows that it was given back. */
static void settle_placing(struct srv_core *core, struct srv_placing *placing,
                           enum tg_verdict *verdict)
{
    placing->answer = eng_shard_answer(core->shard, placing->slot, placing->generation);
    eng_requests_let_go(&core->shard->requests, placing->slot, placing->generation);
    *verdict = (enum tg_verdict)placing->answer.verdict;
}

void srv_life_settle(struct srv_core *core, struct srv_control *control,
                     const struct tg_record *record)
{
    if (control->kind != TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER)
        settle_placing(core, &control->placing, &control->verdict);
    else if (record->outcome != TG_OUTCOME_DURABLE)
        srv_control_refuse(control, TG_STORAGE_FULL, TG_FIELD_NONE);
}

/* --- answering --- */

static uint32_t retry_after_ms(int verdict)
{
    return verdict == TG_BUSY ? TG_RETRY_AFTER_MS : 0;
}

/* The order is in the answer unless nothing is known of it, or nothing was looked at. */
static bool shows_order(enum tg_verdict verdict)
{
    return verdict != TG_UNKNOWN_ORDER && verdict != TG_INVALID_ARGUMENT && verdict != TG_BUSY;
}

void srv_life_answer_change(struct srv_core *core, struct net_conn *conn,
                            const struct srv_control *control)
{
    if (!conn)
        return;
    Tidegate__V1__ChangeOrderResponse answer = TIDEGATE__V1__CHANGE_ORDER_RESPONSE__INIT;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    Tidegate__V1__Order order;
    srv_message_reset(core);
    bool shown = shows_order(control->verdict) && !control->unreadable;
    if (control->unreadable ||
        (shown &&
         srv_show_stored_order(core, &order, control->change.command.order_id) != TG_ERR_OK)) {
        srv_message_fail_read(core, conn, control->address.correlation_id);
        return;
    }
    answer.verdict = (Tidegate__V1__Verdict)control->verdict;
    answer.order = shown ? &order : NULL;
    answer.field = (char *)tg_field_name(control->field);
    answer.message = (char *)tg_field_advice(control->field);
    answer.retry_after_ms = retry_after_ms((int)control->verdict);
    if (shown && control->verdict != TG_STORAGE_FULL) {
        answer.replayed = control->change.result.replayed;
        answer.refund_number = control->change.result.refund_number;
    }
    response.correlation_id = control->address.correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_CHANGE_ORDER;
    response.change_order = &answer;
    srv_core_respond(core, conn, &response);
}

static struct tg_answer placing_answer(const struct srv_control *control)
{
    struct tg_answer answer = {0};
    if (control->verdict == TG_ACCEPTED)
        answer = control->placing.answer;
    answer.verdict = (uint8_t)control->verdict;
    answer.field = (uint8_t)control->field;
    answer.retry_after_ms = retry_after_ms((int)control->verdict);
    return answer;
}

static void fill_answer(Tidegate__V1__PlaceOrderResponse *message, const struct tg_answer *answer)
{
    tidegate__v1__place_order_response__init(message);
    message->verdict = (Tidegate__V1__Verdict)answer->verdict;
    message->order_id = answer->order_id;
    message->replayed = answer->replayed;
    message->unit_price_minor = answer->unit_price_minor;
    message->accepted_at_ms = answer->accepted_at_ms;
    message->retry_after_ms = answer->retry_after_ms;
    message->field = (char *)tg_field_name((enum tg_field)answer->field);
    message->message = (char *)tg_field_advice((enum tg_field)answer->field);
}

/* Counts the answer and fills it in; false when there is nobody to tell, or only that the database
 * cannot be read, which this does. */
static bool begin_answer(struct srv_core *core, struct net_conn *conn,
                         const struct srv_control *control,
                         Tidegate__V1__PlaceOrderResponse *message)
{
    struct tg_answer answer = placing_answer(control);
    srv_core_count(core, control->verdict, answer.replayed);
    if (conn && control->unreadable)
        srv_message_fail_read(core, conn, control->address.correlation_id);
    if (!conn || control->unreadable)
        return false;
    fill_answer(message, &answer);
    return true;
}

void srv_life_answer_open(struct srv_core *core, struct net_conn *conn,
                          const struct srv_control *control)
{
    Tidegate__V1__PlaceOrderResponse order;
    if (!begin_answer(core, conn, control, &order))
        return;
    Tidegate__V1__OpenTeamResponse answer = TIDEGATE__V1__OPEN_TEAM_RESPONSE__INIT;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    answer.order = &order;
    answer.team_id = order.order_id;
    response.correlation_id = control->address.correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_OPEN_TEAM;
    response.open_team = &answer;
    srv_core_respond(core, conn, &response);
}

void srv_life_answer_join(struct srv_core *core, struct net_conn *conn,
                          const struct srv_control *control)
{
    Tidegate__V1__PlaceOrderResponse order;
    if (!begin_answer(core, conn, control, &order))
        return;
    Tidegate__V1__JoinTeamResponse answer = TIDEGATE__V1__JOIN_TEAM_RESPONSE__INIT;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    answer.order = &order;
    response.correlation_id = control->address.correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_JOIN_TEAM;
    response.join_team = &answer;
    srv_core_respond(core, conn, &response);
}

/* The refusal is that of a line, not of the cart as a whole: it is the first failed one's. */
static bool refused_by_line(const struct srv_control *control)
{
    const struct srv_cart *cart = control->placing.cart;
    uint8_t i = 0;
    while (i < cart->cart.asked_count && line_verdict(cart, i) == TG_ACCEPTED)
        i++;
    return i < cart->cart.asked_count && line_verdict(cart, i) == control->verdict;
}

/* Names each line of the request that could not be had. */
static void fill_line_refusals(Tidegate__V1__PlaceOrderResponse *message,
                               const struct srv_cart *cart, Tidegate__V1__LineRefusal *refusals,
                               Tidegate__V1__LineRefusal **pointers)
{
    message->line_refusals = pointers;
    for (uint8_t i = 0; i < cart->cart.asked_count; i++) {
        if (line_verdict(cart, i) == TG_ACCEPTED)
            continue;
        Tidegate__V1__LineRefusal *refusal = &refusals[message->n_line_refusals];
        tidegate__v1__line_refusal__init(refusal);
        refusal->line = i;
        refusal->verdict = (Tidegate__V1__Verdict)line_verdict(cart, i);
        pointers[message->n_line_refusals++] = refusal;
    }
}

void srv_life_answer_cart(struct srv_core *core, struct net_conn *conn,
                          const struct srv_control *control)
{
    Tidegate__V1__PlaceOrderResponse answer;
    Tidegate__V1__LineRefusal refusals[TG_ORDER_LINES_MAX];
    Tidegate__V1__LineRefusal *pointers[TG_ORDER_LINES_MAX];
    if (!begin_answer(core, conn, control, &answer))
        return;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    response.correlation_id = control->address.correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_PLACE_ORDER;
    response.place_order = &answer;
    if (control->placing.cart && refused_by_line(control))
        fill_line_refusals(&answer, control->placing.cart, refusals, pointers);
    srv_core_respond(core, conn, &response);
}

/* --- IngestOrders --- */

static void refuse_ingest(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id,
                          enum tg_verdict verdict, enum tg_field field)
{
    Tidegate__V1__IngestOrdersResponse answer = TIDEGATE__V1__INGEST_ORDERS_RESPONSE__INIT;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    answer.verdict = (Tidegate__V1__Verdict)verdict;
    answer.field = (char *)tg_field_name(field);
    answer.message = (char *)tg_field_advice(field);
    answer.retry_after_ms = retry_after_ms((int)verdict);
    response.correlation_id = correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_INGEST_ORDERS;
    response.ingest_orders = &answer;
    srv_core_respond(core, conn, &response);
}

static void answer_ingest(struct srv_core *core, struct net_conn *conn,
                          const struct srv_ingest *ingest)
{
    srv_message_reset(core);
    Tidegate__V1__PlaceOrderResponse *results =
        srv_message_alloc(core, ingest->count * sizeof(*results));
    Tidegate__V1__PlaceOrderResponse **pointers =
        srv_message_alloc(core, ingest->count * sizeof(*pointers));
    Tidegate__V1__IngestOrdersResponse answer = TIDEGATE__V1__INGEST_ORDERS_RESPONSE__INIT;
    Tidegate__V1__Response response = TIDEGATE__V1__RESPONSE__INIT;
    for (uint32_t i = 0; i < ingest->count; i++) {
        fill_answer(&results[i], &ingest->answers[i]);
        pointers[i] = &results[i];
    }
    answer.verdict = (Tidegate__V1__Verdict)TG_OK;
    answer.results = pointers;
    answer.n_results = ingest->count;
    response.correlation_id = ingest->address.correlation_id;
    response.kind_case = TIDEGATE__V1__RESPONSE__KIND_INGEST_ORDERS;
    response.ingest_orders = &answer;
    srv_core_respond(core, conn, &response);
}

/* One answer less to wait for; the last one answers the frame. */
static void ingest_release(struct srv_core *core, struct net_conn *conn, struct srv_ingest *ingest)
{
    if (--ingest->unanswered > 0)
        return;
    if (conn && ingest->unreadable)
        srv_message_fail_read(core, conn, ingest->address.correlation_id);
    else if (conn && ingest->is_late)
        srv_message_fail_late(core, conn, ingest->address.correlation_id);
    else if (conn)
        answer_ingest(core, conn, ingest);
    if (conn)
        --*net_conn_uses(conn, NET_USE_BATCHES);
    core->ingests--;
    free(ingest);
}

void srv_life_answer_ingest(struct srv_core *core, struct net_conn *conn,
                            const struct srv_control *control)
{
    struct srv_ingest *ingest = control->placing.ingest;
    struct tg_answer *answer = &ingest->answers[control->placing.position];
    *answer = placing_answer(control);
    srv_core_count(core, control->verdict, answer->replayed);
    ingest->unreadable |= control->unreadable;
    ingest->is_late |= control->is_late;
    ingest_release(core, conn, ingest);
}

static struct srv_ingest *ingest_create(struct srv_core *core, struct net_conn *conn,
                                        const struct srv_address *address, size_t count)
{
    uint32_t *uses = net_conn_uses(conn, NET_USE_BATCHES);
    if (core->ingests == SRV_INGESTS_MAX || *uses >= SRV_CONN_BATCHES_MAX)
        return NULL;
    struct srv_ingest *ingest = calloc(1, sizeof(*ingest) + count * sizeof(ingest->answers[0]));
    if (!ingest)
        return NULL;
    core->ingests++;
    ++*uses;
    ingest->address = *address;
    ingest->count = (uint32_t)count;
    ingest->unanswered = ingest->count + 1; /* one for whoever hands them out */
    return ingest;
}

static void defer(struct srv_core *core, struct srv_control *control)
{
    core->ingested_count++;
    srv_control_list_put(&core->ingested, control);
}

/* Sends each order its way; those for which there is no memory are BUSY. */
static void ingest_orders(struct srv_core *core, struct net_conn *conn, struct srv_ingest *ingest,
                          const Tidegate__V1__IngestOrdersRequest *request)
{
    for (uint32_t i = 0; i < ingest->count; i++) {
        struct srv_control *control = srv_control_create(
            core, conn, TIDEGATE__V1__REQUEST__KIND_INGEST_ORDERS, ingest->address.correlation_id);
        if (!control) {
            ingest->answers[i] =
                (struct tg_answer){.verdict = TG_BUSY, .retry_after_ms = TG_RETRY_AFTER_MS};
            ingest->unanswered--;
            continue;
        }
        control->placing.ingest = ingest;
        control->placing.position = i;
        srv_life_read_ingest(core, control, request->orders[i]);
        net_conn_begin(conn, 1);
        /* A thousand decisions would take some milliseconds: those of this core come in their turn.
         */
        if (control->verdict == TG_OK && control->owner == core->core)
            defer(core, control);
        else
            srv_control_start(core, control);
    }
}

void srv_life_ingest(struct srv_core *core, struct net_conn *conn,
                     const struct tg_envelope *envelope)
{
    const Tidegate__V1__IngestOrdersRequest *request =
        srv_message_unpack(core, &tidegate__v1__ingest_orders_request__descriptor, envelope->body);
    if (!request) {
        srv_message_fail(core, conn, envelope->correlation_id);
        return;
    }
    if (request->n_orders == 0 || request->n_orders > TG_INGEST_ORDERS_MAX) {
        refuse_ingest(core, conn, envelope->correlation_id, TG_INVALID_ARGUMENT,
                      TG_FIELD_INGEST_ORDERS);
        return;
    }
    struct srv_address address = {.conn = net_conn_name(conn),
                                  .correlation_id = envelope->correlation_id,
                                  .core = (uint16_t)core->core};
    struct srv_ingest *ingest = ingest_create(core, conn, &address, request->n_orders);
    if (!ingest) {
        refuse_ingest(core, conn, envelope->correlation_id, TG_BUSY, TG_FIELD_NONE);
        return;
    }
    srv_core_spend(core, (uint32_t)request->n_orders);
    ingest_orders(core, conn, ingest, request);
    ingest_release(core, conn, ingest);
    net_conn_yield(core->net, conn); /* to read so many takes half a millisecond */
}
