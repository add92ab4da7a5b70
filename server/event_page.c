#include "server/event_page.h"

#include "base/log.h"
#include "server/control.h"
#include "server/show.h"

#include <inttypes.h>

/* Events that one page looks at, so that a filter cannot hold the core up. */
#define SCAN_EVENTS_MAX 2048
/* Events of one page with the orders that they are about. */
#define WITH_ORDERS_MAX 256
/* Events that are read, or looked at, in a microsecond. */
#define READ_A_UNIT     4
#define LOOKS_A_UNIT    8
/* What a page costs beside that. */
#define PAGE_WORK_MIN   4

/* What a packed event costs in its page beside its own bytes: tag and length. */
#define ELEMENT_BYTES_MAX 6

static void fill_event(Tidegate__V1__Event *message, const struct tg_event *event)
{
    tidegate__v1__event__init(message);
    message->sequence = event->sequence;
    message->type = (Tidegate__V1__EventType)event->type;
    message->order_id = event->order_id;
    message->at_ms = event->at_ms;
    message->amount_minor = event->amount_minor;
    message->team_id = event->team_id;
    message->refund_number = event->refund_number;
    message->sale_id = event->sale_id;
}

/* Joins the order. TG_ERR_NOMEM ends the page; other errors are logged. */
static enum tg_error join_order(struct srv_core *core, Tidegate__V1__Event *message)
{
    message->order = srv_message_alloc(core, sizeof(*message->order));
    if (!message->order)
        return TG_ERR_NOMEM;
    enum tg_error error = srv_show_stored_order(core, message->order, message->order_id);
    if (error == TG_ERR_NOTFOUND)
        tg_log_error("event %" PRIu64 " is of an order that does not exist: %" PRIu64,
                     message->sequence, message->order_id);
    return error;
}

/* Turns `count` events into messages, as many as fit. */
static bool fill_page(struct srv_core *core, const struct srv_page_ask *ask,
                      const struct tg_event *events, uint32_t count, struct srv_page *page)
{
    Tidegate__V1__Event *messages = srv_message_alloc(core, count * sizeof(*messages));
    page->events = srv_message_alloc(core, count * sizeof(*page->events));
    size_t bytes = 0;
    enum tg_error error = messages && page->events ? TG_ERR_OK : TG_ERR_NOMEM;
    for (uint32_t i = 0; i < count && error == TG_ERR_OK; i++) {
        fill_event(&messages[i], &events[i]);
        if (!ask->without_orders && events[i].order_id != 0)
            error = join_order(core, &messages[i]);
        if (error != TG_ERR_OK)
            break;
        bytes += ELEMENT_BYTES_MAX + tidegate__v1__event__get_packed_size(&messages[i]);
        if (bytes > SRV_PAGE_BYTES_MAX)
            break;
        page->events[page->count++] = &messages[i];
    }
    if (page->count > 0 && page->count < count)
        page->next_sequence = events[page->count - 1].sequence;
    return error == TG_ERR_OK || (error == TG_ERR_NOMEM && page->count > 0);
}

static uint32_t events_max(const struct srv_page_ask *ask)
{
    return ask->without_orders || ask->max < WITH_ORDERS_MAX ? ask->max : WITH_ORDERS_MAX;
}

/* Fills `events` from the pinned snapshot; from the first one kept when nobody said from where. */
static enum tg_error read_events(struct srv_core *core, const struct srv_page_ask *ask,
                                 struct tg_event *events, uint32_t *filled, struct srv_page *page,
                                 struct tg_fault *fault)
{
    uint64_t after = ask->after;
    for (;;) {
        enum tg_error error = sto_read_events(core->reader, after, ask->types, events_max(ask),
                                              SCAN_EVENTS_MAX, events, filled, &page->next_sequence,
                                              &page->first_sequence, &page->last_sequence, fault);
        page->dropped = after < page->first_sequence && after != page->first_sequence - 1;
        if (error != TG_ERR_OK || !page->dropped || ask->after != 0)
            return error;
        after = page->first_sequence - 1;
    }
}

/* What the page cost, by what was looked at for it. */
static uint32_t work_of(const struct srv_page_ask *ask, const struct srv_page *page)
{
    uint64_t begin = ask->after != 0 ? ask->after : page->first_sequence;
    uint64_t looks = page->next_sequence > begin ? page->next_sequence - begin : 0;
    uint32_t reads = ask->without_orders ? page->count / READ_A_UNIT : page->count;
    return PAGE_WORK_MIN + reads +
           (uint32_t)(looks < SCAN_EVENTS_MAX ? looks : SCAN_EVENTS_MAX) / LOOKS_A_UNIT;
}

bool srv_page_read(struct srv_core *core, const struct srv_page_ask *ask, struct srv_page *page)
{
    *page = (struct srv_page){.work = PAGE_WORK_MIN};
    tg_arena_reset(&core->arena);
    struct tg_event *events = srv_message_alloc(core, events_max(ask) * sizeof(*events));
    struct tg_fault fault = {0};
    enum tg_error error =
        events ? sto_reader_pin(core->reader, &fault)
               : tg_fault_set(&fault, TG_ERR_NOMEM, "no memory for a page of %u", ask->max);
    if (error != TG_ERR_OK) {
        tg_log_error("reading events: %s", fault.text);
        return false;
    }
    uint32_t filled = 0;
    error = read_events(core, ask, events, &filled, page, &fault);
    if (error != TG_ERR_OK)
        tg_log_error("reading events: %s", fault.text);
    bool read = error == TG_ERR_OK && fill_page(core, ask, events, filled, page);
    sto_reader_unpin(core->reader);
    if (page->next_sequence < ask->after)
        page->next_sequence = ask->after;
    page->work = work_of(ask, page);
    return read;
}
