/* What the handler answers, a native Response, as what the caller of a call gets: a message, a
 * status, or both. */
#include "net/grpc_conn.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

/* What the codes of an ErrorResponse are to a caller of gRPC. The numbers that this table does not
 * know are INTERNAL. */
static const struct {
    int error_code;
    enum net_grpc_code code;
    const char *reason;
    uint32_t retry_ms; /* when the answer does not say */
} errors[] = {
    {TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_FRAME, NET_GRPC_INTERNAL, "MALFORMED_FRAME", 0},
    {TIDEGATE__V1__ERROR_CODE__ERROR_CODE_FRAME_TOO_LARGE, NET_GRPC_RESOURCE_EXHAUSTED,
     "MESSAGE_TOO_LARGE", 0},
    {TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_MESSAGE, NET_GRPC_INVALID_ARGUMENT,
     "MALFORMED_MESSAGE", 0},
    {TIDEGATE__V1__ERROR_CODE__ERROR_CODE_UNKNOWN_REQUEST, NET_GRPC_UNIMPLEMENTED,
     "UNKNOWN_REQUEST", 0},
    {TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED, NET_GRPC_RESOURCE_EXHAUSTED, "OVERLOADED",
     TG_RETRY_AFTER_MS},
    {TIDEGATE__V1__ERROR_CODE__ERROR_CODE_INTERNAL, NET_GRPC_INTERNAL, "INTERNAL", 0},
    {TIDEGATE__V1__ERROR_CODE__ERROR_CODE_UNAUTHENTICATED, NET_GRPC_UNAUTHENTICATED,
     "UNAUTHENTICATED", 0},
    {TIDEGATE__V1__ERROR_CODE__ERROR_CODE_PERMISSION_DENIED, NET_GRPC_PERMISSION_DENIED,
     "PERMISSION_DENIED", 0},
    {TIDEGATE__V1__ERROR_CODE__ERROR_CODE_RATE_LIMITED, NET_GRPC_RESOURCE_EXHAUSTED, "RATE_LIMITED",
     TG_RETRY_AFTER_MS},
    {TIDEGATE__V1__ERROR_CODE__ERROR_CODE_DEADLINE_EXCEEDED, NET_GRPC_DEADLINE_EXCEEDED,
     "DEADLINE_EXCEEDED", 0},
};

static void end_with_error(struct net_grpc_call *call, const Tidegate__V1__ErrorResponse *error)
{
    struct net_grpc_status status = {
        .code = NET_GRPC_INTERNAL, .reason = "INTERNAL", .message = error->message};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].error_code != (int)error->code)
            continue;
        status.code = errors[i].code;
        status.reason = errors[i].reason;
        status.retry_ms = error->retry_after_ms > 0 ? error->retry_after_ms : errors[i].retry_ms;
    }
    if (status.code == NET_GRPC_UNAUTHENTICATED)
        call->conn->is_token_stale = true;
    net_grpc_call_end(call, &status);
}

/* An error that is no call's ends the connection, as on the native protocol. */
static void take_error(struct net_grpc_conn *conn, struct net_grpc_call *call, struct tg_bytes body)
{
    Tidegate__V1__ErrorResponse *error =
        tidegate__v1__error_response__unpack(NULL, body.size, body.data);
    if (!error)
        return;
    if (call)
        end_with_error(call, error);
    else if (conn->session && !conn->is_draining)
        net_grpc_http2_goaway(conn, NGHTTP2_ENHANCE_YOUR_CALM, error->message);
    tidegate__v1__error_response__free_unpacked(error, NULL);
}

/* --- verdicts --- */

static const ProtobufCMessageDescriptor *descriptor_of(uint32_t kind)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(&tidegate__v1__response__descriptor, kind);
    return field ? field->descriptor : NULL;
}

/* The verdict of the whole answer, as it stands in front of it: the first field, or the first one
 * of the first message in it (a team's order). 0: it has none. */
static uint32_t verdict_of(struct tg_bytes body)
{
    const uint8_t *at = body.data, *end = body.data + body.size;
    if (body.size >= 4 && at[0] == (1 << 3 | 2))
        at += at[1] < 0x80 ? 2 : 3;
    return at + 1 < end && at[0] == 1 << 3 && at[1] < 0x80 ? at[1] : 0;
}

static uint32_t number_in(const ProtobufCMessage *message, const char *name)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
    uint32_t number = 0;
    if (field && field->type == PROTOBUF_C_TYPE_UINT32)
        memcpy(&number, (const uint8_t *)message + field->offset, sizeof(number));
    return number;
}

/* When to come again, as a BUSY answer says, or what goes for all that do not say. */
static uint32_t retry_ms_of(uint32_t kind, struct tg_bytes body)
{
    const ProtobufCMessageDescriptor *descriptor = descriptor_of(kind);
    ProtobufCMessage *message =
        descriptor ? protobuf_c_message_unpack(descriptor, NULL, body.size, body.data) : NULL;
    uint32_t retry_ms = 0;
    if (message && kind == TIDEGATE__V1__RESPONSE__KIND_OPEN_TEAM)
        retry_ms = ((Tidegate__V1__OpenTeamResponse *)message)->order->retry_after_ms;
    else if (message && kind == TIDEGATE__V1__RESPONSE__KIND_JOIN_TEAM)
        retry_ms = ((Tidegate__V1__JoinTeamResponse *)message)->order->retry_after_ms;
    else if (message)
        retry_ms = number_in(message, "retry_after_ms");
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    return retry_ms > 0 ? retry_ms : TG_RETRY_AFTER_MS;
}

static bool has_verdict(uint32_t kind)
{
    return kind != TIDEGATE__V1__RESPONSE__KIND_GET_SERVER_TIME &&
           kind != TIDEGATE__V1__RESPONSE__KIND_GET_STATS;
}

static void end_as_busy(struct net_grpc_call *call, struct tg_bytes body)
{
    struct net_grpc_status status = {
        .code = NET_GRPC_RESOURCE_EXHAUSTED,
        .reason = "BUSY",
        .message = "a bounded queue or table is full, nothing was done: try again a little later",
        .retry_ms = retry_ms_of(call->method->kind, body),
    };
    net_grpc_call_end(call, &status);
}

/* --- one answer --- */

static void drop(struct net_grpc_conn *conn, uint8_t *owned, uint32_t held)
{
    free(owned);
    if (held > 0)
        net_layer_hold(&conn->layer, -(int64_t)held);
}

void net_grpc_answer(struct net_grpc_conn *conn, struct tg_bytes message, uint8_t *owned,
                     uint32_t held)
{
    static const struct net_grpc_status ok = {.code = NET_GRPC_OK};
    struct tg_envelope envelope;
    enum tg_decode decode = tg_response_decode(message, &envelope);
    tg_assert(decode == TG_DECODE_OK);
    struct net_grpc_call *call = net_grpc_call_find(conn, envelope.correlation_id);
    bool is_error = envelope.kind == TIDEGATE__V1__RESPONSE__KIND_ERROR;
    if (is_error && envelope.correlation_id == NET_GRPC_NO_CALL)
        conn->is_token_stale = true;
    if (is_error && (call || envelope.correlation_id == 0))
        take_error(conn, call, envelope.body);
    if (is_error || !call || call->state != NET_GRPC_RISEN) {
        drop(conn, owned, held);
        return;
    }
    tg_assert(envelope.kind == call->method->kind);
    uint32_t verdict = has_verdict(envelope.kind) ? verdict_of(envelope.body) : TG_OK;
    if (__builtin_expect(verdict == TG_BUSY, 0)) {
        end_as_busy(call, envelope.body);
        drop(conn, owned, held);
        return;
    }
    net_grpc_call_say(call, envelope.body.data, envelope.body.size, owned, held);
    if (!call->method->is_streamed || verdict != TG_OK)
        net_grpc_call_end(call, &ok);
}
