/* events tail, ack, groups, group-create, group-delete: the outbox. */
#include "ctl/ctl.h"
#include "ctl/orderview.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FOLLOW_WAIT_MS 30000

_Static_assert(FOLLOW_WAIT_MS <= TG_EVENTS_WAIT_MS_MAX,
               "a long poll is as long as the server lets");

/* --- tail --- */

/* A walk through the outbox. */
struct tail {
    Tidegate__V1__ConsumeEventsRequest body;
    Tidegate__V1__EventType types[TG_EVENT_TYPE_COUNT];
    struct ctl_table table;
    bool acks;
    bool follows;
    bool at_end; /* behind the newest event, as of the last answer */
};

static const struct ctl_column event_columns[] = {
    {"SEQUENCE", true}, {"TIME", false}, {"EVENT", false}, {"ORDER", true},
    {"TEAM", true},     {"SALE", true},  {"AMOUNT", true}, {"REFUND", true},
};

static void number_cell(struct ctl_table *table, uint64_t number)
{
    if (number)
        ctl_table_cell(table, "%" PRIu64, number);
    else
        ctl_table_cell(table, "-");
}

static const char *type_name(const Tidegate__V1__Event *event, char name[CTL_NAME_BYTES])
{
    return ctl_enum_name(&tidegate__v1__event_type__descriptor, (int)event->type, name);
}

static void event_row(struct ctl_table *table, const Tidegate__V1__Event *event)
{
    char time[CTL_TIME_BYTES], name[CTL_NAME_BYTES];
    ctl_table_cell(table, "%" PRIu64, event->sequence);
    ctl_table_cell(table, "%s", ctl_time_text(event->at_ms, time));
    ctl_table_cell(table, "%s", type_name(event, name));
    number_cell(table, event->order_id);
    number_cell(table, event->team_id);
    number_cell(table, event->sale_id);
    ctl_table_cell(table, "%" PRId64, event->amount_minor);
    number_cell(table, event->refund_number);
}

static json_t *event_json(const Tidegate__V1__Event *event)
{
    char name[CTL_NAME_BYTES];
    json_t *json = json_pack(
        "{s:o, s:s, s:o, s:I, s:I, s:o, s:I, s:o}", "sequence", ctl_json_id(event->sequence),
        "type", type_name(event, name), "order_id", ctl_json_id(event->order_id), "at_ms",
        (json_int_t)event->at_ms, "amount_minor", (json_int_t)event->amount_minor, "team_id",
        ctl_json_id(event->team_id), "refund_number", (json_int_t)event->refund_number, "sale_id",
        ctl_json_id(event->sale_id));
    if (json && event->order)
        json_object_set_new(json, "order", ctl_order_json(event->order));
    return json;
}

/* "order_paid,order_refunded" into the request. */
static bool types_option(const struct ctl *ctl, struct tail *tail)
{
    const ProtobufCEnumDescriptor *names = &tidegate__v1__event_type__descriptor;
    const char *at = ctl_option_value(ctl, "types");
    while (at && *at) {
        char name[CTL_NAME_BYTES], choices[CTL_CHOICES_BYTES];
        int bytes = (int)strcspn(at, ","), type;
        snprintf(name, sizeof(name), "%.*s", bytes, at);
        if (bytes >= CTL_NAME_BYTES || !ctl_enum_parse(names, name, &type)) {
            ctl_misused(ctl, "the event type \"%s\" must be %s", name,
                        ctl_enum_choices(names, choices));
            return false;
        }
        if (tail->body.n_types < TG_EVENT_TYPE_COUNT)
            tail->types[tail->body.n_types++] = (Tidegate__V1__EventType)type;
        at += bytes + (at[bytes] == ',');
    }
    tail->body.types = tail->types;
    return true;
}

static bool tail_options(const struct ctl *ctl, struct tail *tail)
{
    const char *group = ctl_option_value(ctl, "group");
    tidegate__v1__consume_events_request__init(&tail->body);
    tail->follows = ctl_option_value(ctl, "follow") != NULL;
    tail->acks = ctl_option_value(ctl, "ack") != NULL;
    if (tail->acks && !group) {
        ctl_misused(ctl, "--ack needs --group: only a group remembers what is done");
        return false;
    }
    if (group)
        tail->body.group = (char *)(uintptr_t)group; /* protobuf-c only reads it */
    tail->body.max = TG_EVENTS_PAGE_MAX;
    tail->body.without_orders = !ctl->json;
    return ctl_uint_option(ctl, "after", 0, UINT64_MAX, &tail->body.after_sequence) &&
           types_option(ctl, tail);
}

static enum ctl_exit ack(struct ctl *ctl, const char *group, uint64_t sequence, uint64_t *offset)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__AckEventsRequest body = TIDEGATE__V1__ACK_EVENTS_REQUEST__INIT;
    body.group = (char *)(uintptr_t)group; /* protobuf-c only reads it */
    body.sequence = sequence;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS;
    request.ack_events = &body;
    enum ctl_exit code = ctl_ask(ctl, &request, NULL, &response);
    if (code)
        return code;
    code = ctl_judge(response);
    *offset = response->ack_events->offset;
    tgc_response_free(response);
    return code;
}

static void print_page(const struct ctl *ctl, struct tail *tail,
                       const Tidegate__V1__ConsumeEventsResponse *page)
{
    for (size_t i = 0; i < page->n_events; i++) {
        if (ctl->json)
            ctl_json_print(event_json(page->events[i]));
        else
            event_row(&tail->table, page->events[i]);
    }
    if (!ctl->json && page->n_events > 0)
        ctl_table_flush(&tail->table);
    fflush(stdout);
}

static enum ctl_exit judge_page(const Tidegate__V1__Response *response)
{
    const Tidegate__V1__ConsumeEventsResponse *page = response->consume_events;
    if ((int)page->verdict != TG_EVENTS_DROPPED)
        return ctl_judge(response);
    return ctl_complain(CTL_REFUSED,
                        "refused: EVENTS_DROPPED: the first event kept is %" PRIu64
                        "; go on with --after %" PRIu64,
                        page->first_sequence, page->first_sequence ? page->first_sequence - 1 : 0);
}

/* One answer: prints it, then acks it, so that what was not printed comes again. */
static enum ctl_exit tail_page(struct ctl *ctl, struct tail *tail)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CONSUME_EVENTS;
    request.consume_events = &tail->body;
    enum ctl_exit code = ctl_ask(ctl, &request, NULL, &response);
    if (code)
        return code;
    const Tidegate__V1__ConsumeEventsResponse *page = response->consume_events;
    uint64_t next = page->next_sequence, done = page->offset;
    code = judge_page(response);
    if (!code)
        print_page(ctl, tail, page);
    tail->at_end = next >= page->last_sequence || next == tail->body.after_sequence;
    tgc_response_free(response);
    if (!code && tail->acks && next > done && !ferror(stdout))
        code = ack(ctl, tail->body.group, next, &done);
    tail->body.after_sequence = next;
    return code;
}

enum ctl_exit ctl_events_tail(struct ctl *ctl)
{
    struct tail tail = {0};
    if (!tail_options(ctl, &tail))
        return CTL_USAGE;
    ctl_table_init(&tail.table, event_columns, sizeof(event_columns) / sizeof(event_columns[0]));
    enum ctl_exit code;
    do {
        code = tail_page(ctl, &tail);
        /* Whoever follows waits at the end, and only there: the first page comes at once. */
        tail.body.wait_ms = ctl->wait_ms = tail.follows && tail.at_end ? FOLLOW_WAIT_MS : 0;
    } while (!code && !ferror(stdout) && (tail.follows || !tail.at_end));
    if (!ctl->json && !code)
        ctl_table_end(&tail.table);
    return code;
}

/* --- groups --- */

/* A name that the server would refuse is told by it: no second rule here. Borrowed from argv. */
static char *group_argument(const struct ctl *ctl)
{
    return (char *)(uintptr_t)ctl->arguments[0];
}

enum ctl_exit ctl_events_ack(struct ctl *ctl)
{
    uint64_t sequence, offset;
    if (!ctl_uint_parse(ctl->arguments[1], 0, UINT64_MAX, &sequence))
        return ctl_misused(ctl, "the sequence \"%s\" must be a number", ctl->arguments[1]);
    enum ctl_exit code = ack(ctl, group_argument(ctl), sequence, &offset);
    if (code)
        return code;
    if (ctl->json)
        ctl_json_print(json_pack("{s:o, s:o}", "group", ctl_json_text(group_argument(ctl)),
                                 "offset", ctl_json_id(offset)));
    else
        printf("group %s is at %" PRIu64 "\n", group_argument(ctl), offset);
    return CTL_DONE;
}

static void print_groups(const struct ctl *ctl, const Tidegate__V1__ListGroupsResponse *list)
{
    static const struct ctl_column columns[] = {
        {"GROUP", false}, {"OFFSET", true}, {"LAG", true}, {"CREATED", false}, {"ACKED", false}};
    struct ctl_table table;
    ctl_table_init(&table, columns, 5);
    for (size_t i = 0; i < list->n_groups; i++) {
        const Tidegate__V1__Group *group = list->groups[i];
        char time[CTL_TIME_BYTES];
        if (ctl->json) {
            ctl_json_print(json_pack(
                "{s:o, s:o, s:I, s:I, s:I, s:o, s:o}", "group", ctl_json_text(group->group),
                "offset", ctl_json_id(group->offset), "lag", (json_int_t)group->lag,
                "created_at_ms", (json_int_t)group->created_at_ms, "acked_at_ms",
                (json_int_t)group->acked_at_ms, "first_sequence", ctl_json_id(list->first_sequence),
                "last_sequence", ctl_json_id(list->last_sequence)));
            continue;
        }
        ctl_table_cell(&table, "%s", group->group);
        ctl_table_cell(&table, "%" PRIu64, group->offset);
        ctl_table_cell(&table, "%" PRIu64, group->lag);
        ctl_table_cell(&table, "%s", ctl_when_text(group->created_at_ms, time));
        ctl_table_cell(&table, "%s", ctl_when_text(group->acked_at_ms, time));
    }
    if (ctl->json)
        return;
    ctl_table_end(&table);
    printf("\nevents %" PRIu64 " to %" PRIu64 " are kept\n", list->first_sequence,
           list->last_sequence);
}

enum ctl_exit ctl_events_groups(struct ctl *ctl)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__ListGroupsRequest body = TIDEGATE__V1__LIST_GROUPS_REQUEST__INIT;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_LIST_GROUPS;
    request.list_groups = &body;
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    print_groups(ctl, response->list_groups);
    tgc_response_free(response);
    return CTL_DONE;
}

enum ctl_exit ctl_events_group_create(struct ctl *ctl)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__CreateGroupRequest body = TIDEGATE__V1__CREATE_GROUP_REQUEST__INIT;
    body.group = group_argument(ctl);
    body.from_now = ctl_option_value(ctl, "from-now") != NULL;
    if (body.from_now && ctl_option_value(ctl, "after"))
        return ctl_misused(ctl, "give either --from-now or --after");
    if (!ctl_uint_option(ctl, "after", 0, UINT64_MAX, &body.after_sequence))
        return CTL_USAGE;
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP;
    request.create_group = &body;
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    uint64_t offset = response->create_group->offset;
    tgc_response_free(response);
    if (ctl->json)
        ctl_json_print(json_pack("{s:o, s:o}", "group", ctl_json_text(body.group), "offset",
                                 ctl_json_id(offset)));
    else
        printf("created group %s, its first event is behind %" PRIu64 "\n", body.group, offset);
    return CTL_DONE;
}

enum ctl_exit ctl_events_group_delete(struct ctl *ctl)
{
    Tidegate__V1__Response *response;
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__DeleteGroupRequest body = TIDEGATE__V1__DELETE_GROUP_REQUEST__INIT;
    body.group = group_argument(ctl);
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_DELETE_GROUP;
    request.delete_group = &body;
    enum ctl_exit code = ctl_call(ctl, &request, &response);
    if (code)
        return code;
    tgc_response_free(response);
    if (ctl->json)
        ctl_json_print(json_pack("{s:o}", "group", ctl_json_text(body.group)));
    else
        printf("deleted group %s\n", body.group);
    return CTL_DONE;
}
