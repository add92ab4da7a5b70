/* The table of roles against the contract: every kind of request stands in it, with the roles that
 * docs/security.md gives it. */
#include "server/roles.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Once more, by the names of the contract: a right that moves has to move here as well. */
struct row {
    const char *name;
    uint32_t roles;
};

static const struct row kinds[] = {
    {"authenticate", SRV_ROLES_NONE_NEEDED},
    {"place_order", TG_ROLE_SUBMIT},
    {"place_orders", TG_ROLE_SUBMIT},
    {"ingest_orders", TG_ROLE_SUBMIT},
    {"open_team", TG_ROLE_SUBMIT},
    {"join_team", TG_ROLE_SUBMIT},
    {"change_order", TG_ROLE_SUBMIT | TG_ROLE_OPERATE},
    {"consume_events", TG_ROLE_CONSUME},
    {"subscribe_events", TG_ROLE_CONSUME},
    {"ack_events", TG_ROLE_CONSUME},
    {"list_groups", TG_ROLE_CONSUME | TG_ROLE_OPERATE | TG_ROLE_READ},
    {"create_sale", TG_ROLE_OPERATE},
    {"pause_sale", TG_ROLE_OPERATE},
    {"resume_sale", TG_ROLE_OPERATE},
    {"close_sale", TG_ROLE_OPERATE},
    {"adjust_stock", TG_ROLE_OPERATE},
    {"create_group", TG_ROLE_OPERATE},
    {"delete_group", TG_ROLE_OPERATE},
    {"get_order", TG_ROLE_READ},
    {"list_orders", TG_ROLE_READ},
    {"get_team", TG_ROLE_READ},
    {"list_teams", TG_ROLE_READ},
    {"get_item", TG_ROLE_READ},
    {"watch_item", TG_ROLE_READ},
    {"list_sales", TG_ROLE_READ},
    {"get_sale", TG_ROLE_READ},
    {"get_stats", TG_ROLE_READ},
    {"get_server_time", TG_ROLES_ALL},
};

static const struct row changes[] = {
    {"record_payment", TG_ROLE_SUBMIT},  {"cancel", TG_ROLE_SUBMIT},
    {"extend_payment", TG_ROLE_SUBMIT},  {"request_refund", TG_ROLE_SUBMIT},
    {"approve_refund", TG_ROLE_OPERATE}, {"reject_refund", TG_ROLE_OPERATE},
    {"record_refund", TG_ROLE_SUBMIT},   {"advance", TG_ROLE_SUBMIT},
};

static uint32_t expected(const struct row *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].roles;
    return 0;
}

/* `fields` of a message that are one of its oneof are in the table, and nothing else is. */
static void compare(const ProtobufCMessageDescriptor *message, const uint8_t *table, size_t size,
                    const struct row *rows, size_t row_count)
{
    uint32_t found = 0;
    for (unsigned i = 0; i < message->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->fields[i];
        if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
            continue;
        cr_assert_lt(field->id, size, "%s", field->name);
        cr_assert_neq(table[field->id], 0, "%s has no row in server/roles.c", field->name);
        cr_assert_eq(table[field->id], expected(rows, row_count, field->name), "%s", field->name);
        found++;
    }
    for (size_t i = 0; i < size; i++)
        found -= table[i] != 0;
    cr_assert_eq(found, 0, "a row stands for no kind of the contract");
}

Test(roles, every_kind_of_request_has_its_roles)
{
    compare(&tidegate__v1__request__descriptor, srv_roles_of_kind, SRV_KINDS_MAX, kinds,
            sizeof(kinds) / sizeof(kinds[0]));
}

Test(roles, every_change_of_an_order_has_its_roles)
{
    compare(&tidegate__v1__change_order_request__descriptor, srv_roles_of_change, SRV_CHANGES_MAX,
            changes, sizeof(changes) / sizeof(changes[0]));
}

Test(roles, who_may_send_a_change_may_send_its_request)
{
    uint32_t outer = srv_roles_of_kind[TIDEGATE__V1__REQUEST__KIND_CHANGE_ORDER];
    for (size_t i = 0; i < SRV_CHANGES_MAX; i++)
        cr_assert_eq(srv_roles_of_change[i] & ~outer, 0, "change %zu", i);
}
