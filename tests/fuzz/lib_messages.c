#include "tests/fuzz/lib_messages.h"

#include "tests/fuzz/fuzz.h"

struct message message_pack(const Tidegate__V1__Request *request)
{
    struct message out;
    out.size = tidegate__v1__request__get_packed_size(request);
    FUZZ_MUST(out.size <= sizeof(out.data));
    tidegate__v1__request__pack(request, out.data);
    return out;
}

/* A request of one kind: `field` of the oneof is `body`. */
#define PACK(KIND, field, body)                                                                    \
    message_pack(&(Tidegate__V1__Request){                                                         \
        .base = PROTOBUF_C_MESSAGE_INIT(&tidegate__v1__request__descriptor),                       \
        .kind_case = TIDEGATE__V1__REQUEST__KIND_##KIND,                                           \
        .field = (body)})

/* protobuf-c takes char *, and does not write to it. */
static char *text(const char *words)
{
    return (char *)(uintptr_t)words;
}

static ProtobufCBinaryData request_id(uint64_t number)
{
    static uint8_t bytes[TG_REQUEST_ID_BYTES];
    memset(bytes, 'r', sizeof(bytes));
    memcpy(bytes, &number, sizeof(number));
    return (ProtobufCBinaryData){sizeof(bytes), bytes};
}

struct message message_sale(uint64_t sale_id)
{
    static const char *const skus[] = {"A", "B", "C", "D", "E", "F"};
    bool teams = sale_id == MESSAGE_GROUP_BUY;
    size_t count = teams ? 2 : 6;
    Tidegate__V1__SaleItem items[6], *list[6];
    Tidegate__V1__GroupBuyRules rules = TIDEGATE__V1__GROUP_BUY_RULES__INIT;
    Tidegate__V1__Sale sale = TIDEGATE__V1__SALE__INIT;
    Tidegate__V1__CreateSaleRequest create = TIDEGATE__V1__CREATE_SALE_REQUEST__INIT;
    for (size_t i = 0; i < count; i++) {
        list[i] = &items[i];
        tidegate__v1__sale_item__init(&items[i]);
        items[i].sku = text(skus[i]);
        items[i].list_price_minor = 2 * MESSAGE_PRICE;
        items[i].sale_price_minor = MESSAGE_PRICE;
        items[i].stock_units = 10 + 90 * (i % 2);
        items[i].per_user_limit = i % 2 ? 3 : 0;
        items[i].stock_policy = (Tidegate__V1__StockPolicy)(teams ? 1 : 1 + i / 2);
        items[i].captain_price_minor = teams ? MESSAGE_PRICE : 0;
    }
    rules.team_size = 2;
    sale.sale_id = sale_id;
    sale.kind = (Tidegate__V1__SaleKind)(teams ? TG_SALE_GROUP_BUY : TG_SALE_SECKILL);
    sale.name = text("Sale");
    sale.currency = text("EUR");
    sale.starts_at_ms = 1;
    sale.ends_at_ms = TG_TIME_MS_MAX;
    sale.group_buy = teams ? &rules : NULL;
    create.sale = &sale;
    create.items = list;
    create.n_items = count;
    return PACK(CREATE_SALE, create_sale, &create);
}

static Tidegate__V1__PlaceOrderRequest order_of(uint64_t number, uint64_t sale_id, uint64_t user_id)
{
    Tidegate__V1__PlaceOrderRequest order = TIDEGATE__V1__PLACE_ORDER_REQUEST__INIT;
    order.request_id = request_id(number);
    order.sale_id = sale_id;
    order.user_id = user_id;
    return order;
}

struct message message_order(uint64_t number, const char *sku, uint64_t user_id, uint32_t quantity)
{
    Tidegate__V1__PlaceOrderRequest order = order_of(number, MESSAGE_SALE, user_id);
    order.sku = text(sku);
    order.quantity = quantity;
    order.unit_price_minor = MESSAGE_PRICE;
    return PACK(PLACE_ORDER, place_order, &order);
}

struct message message_cart(uint64_t number, const char *sku, const char *other, uint64_t user_id)
{
    Tidegate__V1__PlaceOrderRequest order = order_of(number, MESSAGE_SALE, user_id);
    Tidegate__V1__OrderLine lines[2], *list[] = {&lines[0], &lines[1]};
    for (int i = 0; i < 2; i++) {
        tidegate__v1__order_line__init(&lines[i]);
        lines[i].sku = text(i ? other : sku);
        lines[i].quantity = 1;
        lines[i].unit_price_minor = MESSAGE_PRICE;
    }
    order.lines = list;
    order.n_lines = 2;
    return PACK(PLACE_ORDER, place_order, &order);
}

struct message message_seat(uint64_t number, uint64_t user_id, uint64_t team_id)
{
    Tidegate__V1__PlaceOrderRequest order = order_of(number, MESSAGE_GROUP_BUY, user_id);
    Tidegate__V1__OpenTeamRequest open = TIDEGATE__V1__OPEN_TEAM_REQUEST__INIT;
    Tidegate__V1__JoinTeamRequest join = TIDEGATE__V1__JOIN_TEAM_REQUEST__INIT;
    order.sku = text("B");
    order.quantity = 1;
    order.unit_price_minor = MESSAGE_PRICE;
    open.order = join.order = &order;
    join.team_id = team_id;
    if (team_id == 0)
        return PACK(OPEN_TEAM, open_team, &open);
    return PACK(JOIN_TEAM, join_team, &join);
}

static Tidegate__V1__Payment payment_of(void)
{
    Tidegate__V1__Payment payment = TIDEGATE__V1__PAYMENT__INIT;
    payment.payment_id = (ProtobufCBinaryData){2, (uint8_t *)text("p1")};
    payment.amount_minor = MESSAGE_PRICE;
    payment.currency = text("EUR");
    payment.paid_at_ms = MESSAGE_AT_MS;
    return payment;
}

struct message message_ingest(uint64_t number, bool is_paid)
{
    Tidegate__V1__Payment payment = payment_of();
    Tidegate__V1__IngestOrder order = TIDEGATE__V1__INGEST_ORDER__INIT, *list[] = {&order};
    Tidegate__V1__IngestOrdersRequest ingest = TIDEGATE__V1__INGEST_ORDERS_REQUEST__INIT;
    order.channel = 3;
    order.external_id = (ProtobufCBinaryData){sizeof(number), (uint8_t *)&number};
    order.sale_id = MESSAGE_SALE;
    order.sku = text("B");
    order.user_id = 9;
    order.quantity = 1;
    order.unit_price_minor = MESSAGE_PRICE;
    order.ordered_at_ms = MESSAGE_AT_MS;
    order.payment = is_paid ? &payment : NULL;
    ingest.orders = list;
    ingest.n_orders = 1;
    return PACK(INGEST_ORDERS, ingest_orders, &ingest);
}

struct message message_change(uint64_t number, uint64_t order_id, int kind)
{
    Tidegate__V1__ChangeOrderRequest change = TIDEGATE__V1__CHANGE_ORDER_REQUEST__INIT;
    Tidegate__V1__Payment payment = payment_of();
    Tidegate__V1__CancelOrder cancel = TIDEGATE__V1__CANCEL_ORDER__INIT;
    Tidegate__V1__ExtendPayment extend = TIDEGATE__V1__EXTEND_PAYMENT__INIT;
    Tidegate__V1__RequestRefund refund = TIDEGATE__V1__REQUEST_REFUND__INIT;
    Tidegate__V1__ApproveRefund approve = TIDEGATE__V1__APPROVE_REFUND__INIT;
    Tidegate__V1__RejectRefund reject = TIDEGATE__V1__REJECT_REFUND__INIT;
    Tidegate__V1__RecordRefund record = TIDEGATE__V1__RECORD_REFUND__INIT;
    Tidegate__V1__AdvanceOrder advance = TIDEGATE__V1__ADVANCE_ORDER__INIT;
    cancel.by = (Tidegate__V1__CancelledBy)TG_CANCELLED_BY_BUYER;
    extend.payment_deadline_ms = MESSAGE_AT_MS + 3600000;
    refund.amount_minor = 40;
    refund.reason = text("late");
    approve.number = reject.number = record.number = 1;
    advance.to = (Tidegate__V1__OrderState)TG_ORDER_SHIPPED;
    change.request_id = request_id(number);
    change.order_id = order_id;
    change.change_case = (Tidegate__V1__ChangeOrderRequest__ChangeCase)kind;
    switch (kind) {
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_PAYMENT:
        change.record_payment = &payment;
        break;
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_CANCEL:
        change.cancel = &cancel;
        break;
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_EXTEND_PAYMENT:
        change.extend_payment = &extend;
        break;
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_REQUEST_REFUND:
        change.request_refund = &refund;
        break;
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_APPROVE_REFUND:
        change.approve_refund = &approve;
        break;
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_REJECT_REFUND:
        change.reject_refund = &reject;
        break;
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_RECORD_REFUND:
        change.record_refund = &record;
        break;
    case TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_ADVANCE:
        change.advance = &advance;
        break;
    default:
        fuzz_fail(__FILE__, __LINE__, "no kind of change:", "%d", kind);
    }
    return PACK(CHANGE_ORDER, change_order, &change);
}

struct message message_adjust(const char *sku, int64_t units, uint64_t expected)
{
    Tidegate__V1__Request request = TIDEGATE__V1__REQUEST__INIT;
    Tidegate__V1__AdjustStockRequest adjust = TIDEGATE__V1__ADJUST_STOCK_REQUEST__INIT;
    Tidegate__V1__StockCompareAndSet set = TIDEGATE__V1__STOCK_COMPARE_AND_SET__INIT;
    adjust.sale_id = MESSAGE_SALE;
    adjust.sku = (char *)(uintptr_t)sku;
    adjust.reason = (char *)(uintptr_t) "counted";
    adjust.change_case = TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE_DELTA_UNITS;
    adjust.delta_units = units;
    if (expected > 0) {
        set.expected_available_units = expected;
        set.new_available_units = (uint64_t)units;
        adjust.change_case = TIDEGATE__V1__ADJUST_STOCK_REQUEST__CHANGE_COMPARE_AND_SET;
        adjust.compare_and_set = &set;
    }
    request.kind_case = TIDEGATE__V1__REQUEST__KIND_ADJUST_STOCK;
    request.adjust_stock = &adjust;
    return message_pack(&request);
}

struct message message_group(int kind, const char *group, uint64_t sequence)
{
    Tidegate__V1__CreateGroupRequest create = TIDEGATE__V1__CREATE_GROUP_REQUEST__INIT;
    Tidegate__V1__AckEventsRequest ack = TIDEGATE__V1__ACK_EVENTS_REQUEST__INIT;
    Tidegate__V1__DeleteGroupRequest removal = TIDEGATE__V1__DELETE_GROUP_REQUEST__INIT;
    create.group = ack.group = removal.group = text(group);
    create.after_sequence = ack.sequence = sequence;
    if (kind == TIDEGATE__V1__REQUEST__KIND_CREATE_GROUP)
        return PACK(CREATE_GROUP, create_group, &create);
    if (kind == TIDEGATE__V1__REQUEST__KIND_ACK_EVENTS)
        return PACK(ACK_EVENTS, ack_events, &ack);
    return PACK(DELETE_GROUP, delete_group, &removal);
}

/* Bodies whose first field is an id, and those that are well when they are empty. */
struct message message_read(int kind, uint64_t id)
{
    struct message out = {.size = 0};
    uint32_t tag = (uint32_t)kind << 3 | 2;
    out.data[out.size++] = (uint8_t)(tag < 128 ? tag : (tag & 127) | 128);
    if (tag >= 128)
        out.data[out.size++] = (uint8_t)(tag >> 7);
    uint8_t *length = &out.data[out.size++];
    if (id == 0)
        return out;
    out.data[out.size++] = 1 << 3;
    for (; id >= 128; id >>= 7)
        out.data[out.size++] = (uint8_t)(id | 128);
    out.data[out.size++] = (uint8_t)id;
    *length = (uint8_t)(&out.data[out.size] - length - 1);
    return out;
}

/* --- any message --- */

static size_t put_varint(uint8_t *to, uint64_t value)
{
    size_t bytes = 0;
    for (; value >= 0x80; value >>= 7)
        to[bytes++] = (uint8_t)(value | 0x80);
    to[bytes++] = (uint8_t)value;
    return bytes;
}

static uint64_t sample_number(const ProtobufCFieldDescriptor *field)
{
    const ProtobufCEnumDescriptor *values = field->descriptor;
    if (strcmp(field->name, "verdict") == 0)
        return TG_OK;
    if (field->type == PROTOBUF_C_TYPE_ENUM)
        return (uint64_t)values->values[values->n_values > 1].value;
    if (strstr(field->name, "_ms"))
        return MESSAGE_AT_MS;
    return strstr(field->name, "_id") ? 7168 : field->id;
}

static size_t sample_field(const ProtobufCFieldDescriptor *field, unsigned depth, uint8_t *to,
                           size_t room)
{
    uint8_t inner[2048];
    size_t bytes = 0, size = 0;
    bool is_text = field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES;
    bool is_message = field->type == PROTOBUF_C_TYPE_MESSAGE;
    if (room < 32 || (is_message && depth == 0))
        return 0;
    bytes += put_varint(to, (uint64_t)field->id << 3 | (is_text || is_message ? 2 : 0));
    if (!is_text && !is_message)
        return bytes + put_varint(to + bytes, sample_number(field));
    if (is_text)
        size = (size_t)snprintf((char *)inner, sizeof(inner), "%s",
                                strcmp(field->name, "currency") ? "A" : "EUR");
    else
        size = message_sample(field->descriptor, depth - 1, inner,
                              room < sizeof(inner) ? room - 16 : sizeof(inner));
    bytes += put_varint(to + bytes, size);
    memcpy(to + bytes, inner, size);
    return bytes + size;
}

size_t message_sample(const ProtobufCMessageDescriptor *type, unsigned depth, uint8_t *to,
                      size_t room)
{
    size_t bytes = 0;
    unsigned oneof = 0; /* the last one that has its field: no offset is 0 */
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        bool is_of_oneof = field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
        if (is_of_oneof && field->quantifier_offset == oneof)
            continue;
        oneof = is_of_oneof ? field->quantifier_offset : oneof;
        for (int left = field->label == PROTOBUF_C_LABEL_REPEATED ? 2 : 1; left > 0; left--)
            bytes += sample_field(field, depth, to + bytes, room - bytes);
    }
    return bytes;
}
