#include "server/control.h"

#include "base/assert.h"

#include <string.h>

static void *arena_alloc(void *arena, size_t bytes)
{
    return tg_arena_alloc(arena, bytes);
}

static void arena_free(void *arena, void *pointer)
{
    (void)arena; /* given back at once by the next reset */
    (void)pointer;
}

void srv_message_reset(struct srv_core *core)
{
    tg_arena_reset(&core->arena);
}

void *srv_message_unpack(struct srv_core *core, const ProtobufCMessageDescriptor *descriptor,
                         struct tg_bytes body)
{
    srv_message_reset(core);
    ProtobufCAllocator allocator = {
        .alloc = arena_alloc, .free = arena_free, .allocator_data = &core->arena};
    return protobuf_c_message_unpack(descriptor, &allocator, body.size, body.data);
}

void srv_message_fail(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id)
{
    net_conn_fail(core->net, conn, correlation_id,
                  TIDEGATE__V1__ERROR_CODE__ERROR_CODE_MALFORMED_MESSAGE,
                  "the request does not unpack as the kind that it names");
}

void srv_message_fail_memory(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id)
{
    net_conn_fail(core->net, conn, correlation_id, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_OVERLOADED,
                  "the server has no memory for the request: come later");
}

void srv_message_fail_read(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id)
{
    net_conn_error(core->net, conn, correlation_id, TIDEGATE__V1__ERROR_CODE__ERROR_CODE_INTERNAL,
                   "the database could not be read: the server's log says why");
}

void srv_message_fail_late(struct srv_core *core, struct net_conn *conn, uint64_t correlation_id)
{
    net_conn_error(core->net, conn, correlation_id,
                   TIDEGATE__V1__ERROR_CODE__ERROR_CODE_DEADLINE_EXCEEDED,
                   "the deadline came before the request was decided: nothing was done");
}

void *srv_message_alloc(struct srv_core *core, size_t bytes)
{
    void *memory = tg_arena_alloc(&core->arena, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

struct tg_bytes srv_message_text(const char *text)
{
    /* A string that was not sent is protobuf-c's own empty one, which no arena holds. */
    if (text == (const char *)protobuf_c_empty_string)
        return (struct tg_bytes){.data = (const uint8_t *)text, .size = 0};
    return (struct tg_bytes){.data = (const uint8_t *)text, .size = tg_arena_allocated(text) - 1};
}

void srv_core_respond(struct srv_core *core, struct net_conn *conn,
                      const Tidegate__V1__Response *response)
{
    size_t size = protobuf_c_message_get_packed_size(&response->base);
    tg_assert(size + TG_FRAME_PREFIX_BYTES_MAX <= SRV_SCRATCH_BYTES);
    size_t used = tg_frame_prefix(core->scratch, (uint32_t)size);
    used += protobuf_c_message_pack(&response->base, core->scratch + used);
    net_conn_write(core->net, conn, core->scratch, used);
}
