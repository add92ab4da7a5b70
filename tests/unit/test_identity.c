/* Principals over reloads: who stays, who ends, and that nobody comes into another's place. */
#include "server/identity.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tg_token_file file;
static uint32_t generations[1 << SRV_PLACE_BITS];

static struct tg_bytes bytes_of(const char *token)
{
    return (struct tg_bytes){(const uint8_t *)token, strlen(token)};
}

static void add(const char *id, const char *token, const char *tenant, uint32_t roles)
{
    struct tg_token_entry *entry = &file.tokens[file.token_count++];
    snprintf(entry->id, sizeof(entry->id), "%s", id);
    snprintf(entry->tenant, sizeof(entry->tenant), "%s", tenant);
    entry->roles = roles;
    tg_token_hash(token, strlen(token), entry->hash);
}

static void forget(void)
{
    file.token_count = file.tenant_count = 0;
}

static struct srv_principals *create(const struct srv_principals *before)
{
    struct srv_principals *made = srv_principals_create(&file, before, generations);
    cr_assert_not_null(made);
    return made;
}

static void make(const char *id, char token[TG_TOKEN_BYTES_MAX + 1])
{
    cr_assert(tg_token_make(id, token));
}

Test(identity, a_token_of_the_file_is_found_and_no_other)
{
    char a[TG_TOKEN_BYTES_MAX + 1], b[TG_TOKEN_BYTES_MAX + 1], other[TG_TOKEN_BYTES_MAX + 1];
    make("a", a);
    make("b", b);
    make("a", other);
    add("b", b, "t2", TG_ROLE_READ);
    add("a", a, "t1", TG_ROLE_SUBMIT);
    struct srv_principals *made = create(NULL);
    const struct srv_principal *found = srv_principals_find(made, bytes_of(a));
    cr_assert_not_null(found);
    cr_assert_str_eq(found->id, "a");
    cr_assert_str_eq(made->tenants[found->tenant].name, "t1");
    cr_assert_eq(found->roles, TG_ROLE_SUBMIT);
    cr_assert_eq(srv_principals_get(made, found->number), found);
    cr_assert_str_eq(srv_principals_find(made, bytes_of(b))->id, "b");
    cr_assert_null(srv_principals_find(made, bytes_of(other)), "another secret of the same id");
    cr_assert_null(srv_principals_find(made, bytes_of("")));
    cr_assert_null(srv_principals_find(made, (struct tg_bytes){(uint8_t *)a, strlen(a) - 1}));
    a[strlen(a) - 1] ^= 1;
    cr_assert_null(srv_principals_find(made, bytes_of(a)));
    cr_assert_null(srv_principals_get(made, SRV_NOBODY));
    cr_assert_null(srv_principals_get(made, SRV_REFUSED));
    free(made);
}

Test(identity, a_token_that_stays_keeps_its_number_and_gets_its_new_roles)
{
    char a[TG_TOKEN_BYTES_MAX + 1], b[TG_TOKEN_BYTES_MAX + 1];
    make("a", a);
    make("b", b);
    add("a", a, "t1", TG_ROLE_SUBMIT);
    add("b", b, "t2", TG_ROLE_READ);
    struct srv_principals *first = create(NULL);
    uint32_t number = srv_principals_find(first, bytes_of(b))->number;
    uint16_t tenant = srv_principals_find(first, bytes_of(b))->tenant;
    forget();
    add("b", b, "t2", TG_ROLE_OPERATE);
    struct srv_principals *second = create(first);
    free(first);
    const struct srv_principal *found = srv_principals_get(second, number);
    cr_assert_not_null(found);
    cr_assert_str_eq(found->id, "b");
    cr_assert_eq(found->roles, TG_ROLE_OPERATE);
    cr_assert_eq(found->tenant, tenant, "its limits go on");
    free(second);
}

Test(identity, a_removed_token_ends_and_nobody_gets_its_number)
{
    char a[TG_TOKEN_BYTES_MAX + 1], next[TG_TOKEN_BYTES_MAX + 1];
    make("a", a);
    add("a", a, "t", TG_ROLES_ALL);
    struct srv_principals *now = create(NULL);
    uint32_t gone = srv_principals_find(now, bytes_of(a))->number;
    for (int i = 0; i < 20; i++) {
        forget();
        snprintf(next, sizeof(next), "x%d", i);
        add(next, next, "t", TG_ROLES_ALL);
        struct srv_principals *then = create(now);
        cr_assert_null(srv_principals_get(then, gone), "after %d reloads", i);
        free(now);
        now = then;
    }
    free(now);
}

Test(identity, a_place_is_not_filled_again_with_an_old_number)
{
    char id[TG_TOKEN_ID_BYTES_MAX + 1];
    uint32_t before[1 << SRV_PLACE_BITS];
    struct srv_principals *now = NULL;
    /* Every place, with others each time. */
    for (int round = 0; round < 3; round++) {
        forget();
        for (int i = 0; i < TG_TOKENS_MAX; i++) {
            snprintf(id, sizeof(id), "r%dn%d", round, i);
            add(id, id, "t", TG_ROLE_READ);
        }
        struct srv_principals *then = create(now);
        for (uint32_t place = 0; place < 1 << SRV_PLACE_BITS; place++) {
            cr_assert_neq(then->places[place].number, SRV_NOBODY);
            cr_assert_eq(then->places[place].number & ((1u << SRV_PLACE_BITS) - 1), place);
            if (now) {
                cr_assert_null(srv_principals_get(then, before[place]), "place %u", place);
            }
            before[place] = then->places[place].number;
        }
        free(now);
        now = then;
    }
    free(now);
}

Test(identity, another_secret_under_the_same_id_is_another_principal)
{
    char a[TG_TOKEN_BYTES_MAX + 1], b[TG_TOKEN_BYTES_MAX + 1];
    make("k", a);
    make("k", b);
    add("k", a, "t", TG_ROLE_READ);
    struct srv_principals *first = create(NULL);
    uint32_t number = srv_principals_find(first, bytes_of(a))->number;
    forget();
    add("k", b, "t", TG_ROLE_READ);
    struct srv_principals *second = create(first);
    cr_assert_null(srv_principals_get(second, number));
    cr_assert_null(srv_principals_find(second, bytes_of(a)));
    cr_assert_not_null(srv_principals_find(second, bytes_of(b)));
    free(first);
    free(second);
}

Test(identity, the_generation_of_a_place_wraps_past_what_means_nobody_or_refused)
{
    for (int i = 0; i < 1 << SRV_PLACE_BITS; i++)
        generations[i] = (UINT32_MAX >> SRV_PLACE_BITS) - 1;
    add("a", "a", "t", TG_ROLE_READ);
    struct srv_principals *made = create(NULL);
    cr_assert_eq(made->places[0].number, 1u << SRV_PLACE_BITS);
    free(made);
}

Test(identity, more_tenants_than_there_are_places_for_is_refused)
{
    char name[TG_TOKEN_ID_BYTES_MAX + 1];
    for (int i = 0; i <= TG_TENANTS_MAX; i++) {
        snprintf(name, sizeof(name), "t%d", i);
        add(name, name, name, TG_ROLE_READ);
    }
    cr_assert_null(srv_principals_create(&file, NULL, generations));
    file.token_count--;
    free(create(NULL));
}
