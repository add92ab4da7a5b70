/* What each request takes: the one table of roles.
 *
 * A caller may send a request when its token has one of the roles that stand beside the kind, so a
 * role never brings another with it. tests/unit/test_roles.c goes through the contract, and fails
 * when a kind is missing here. docs/security.md has the table for people.
 */
#ifndef TG_SERVER_ROLES_H
#define TG_SERVER_ROLES_H

#include "base/token.h"
#include "proto/verdict.h"

#define SRV_KINDS_MAX 64 /* of requests; as in proto/codec.c, a bit of a word for each */

/* For anybody, a caller without a token too. */
#define SRV_ROLES_NONE_NEEDED 0xff

/* By TIDEGATE__V1__REQUEST__KIND_*: a set of enum tg_role, of which one is enough;
 * SRV_ROLES_NONE_NEEDED; 0 for what is no kind. */
extern const uint8_t srv_roles_of_kind[SRV_KINDS_MAX];

/* The same of the changes of a ChangeOrder, by TIDEGATE__V1__CHANGE_ORDER_REQUEST__CHANGE_*. All of
 * them are in srv_roles_of_kind[CHANGE_ORDER]. */
#define SRV_CHANGES_MAX 16
extern const uint8_t srv_roles_of_change[SRV_CHANGES_MAX];

#endif
