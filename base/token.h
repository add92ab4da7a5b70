/* Tokens that callers show, and the file that says which of them are in force: docs/security.md.
 *
 *   token   tg_<id>_<secret>     id: 1 to 16 of a-z and 0-9, public; secret: 43 characters,
 *                                base64url of 32 random bytes
 *
 *   file    # a comment
 *           tenant <name> [requests_per_s=<n>] [orders_per_s=<n>]
 *           token <id> <tenant> <role>[,<role>]... sha256:<64 hex digits>
 *
 * The file holds the SHA-256 of the whole text of each token and never a token. A secret of 256
 * random bits cannot be guessed from its hash, however fast that is: what makes password hashes
 * slow and salted makes up for secrets that people choose, and here nobody chooses.
 *
 * Pure functions over the caller's memory, but for those that read or make randomness. Any thread.
 */
#ifndef TG_BASE_TOKEN_H
#define TG_BASE_TOKEN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TG_TOKEN_ID_BYTES_MAX 16
#define TG_TOKEN_SECRET_BYTES 43
#define TG_TOKEN_BYTES_MAX    (3 + TG_TOKEN_ID_BYTES_MAX + 1 + TG_TOKEN_SECRET_BYTES)
#define TG_TOKEN_HASH_BYTES   32
#define TG_TENANT_BYTES_MAX   32
#define TG_TOKENS_MAX         4096 /* in one file */
#define TG_TENANTS_MAX        1024 /* that they name */
#define TG_RATE_PER_S_MAX     1000000000

/* X(name, word): what a token may do; docs/security.md has what each takes. */
#define TG_ROLES(X)                                                                                \
    X(SUBMIT, "submit")                                                                            \
    X(CONSUME, "consume")                                                                          \
    X(OPERATE, "operate")                                                                          \
    X(READ, "read")

enum tg_role_place {
#define TG_ROLE_PLACE(name, word) TG_ROLE_PLACE_##name,
    TG_ROLES(TG_ROLE_PLACE)
#undef TG_ROLE_PLACE
    TG_ROLE_COUNT,
};

/* A set of them. */
enum tg_role {
#define TG_ROLE_BIT(name, word) TG_ROLE_##name = 1 << TG_ROLE_PLACE_##name,
    TG_ROLES(TG_ROLE_BIT)
#undef TG_ROLE_BIT
    TG_ROLES_ALL = (1 << TG_ROLE_COUNT) - 1,
};

/* Room for the words of every role and its end. */
#define TG_ROLES_TEXT_BYTES 64

/* The words of a set, `between` them: "submit,read" or "operate or read". Returns `text`. */
const char *tg_roles_text(uint32_t roles, const char *between, char text[TG_ROLES_TEXT_BYTES]);

/* Reads "submit,read": at least one word, each once. */
bool tg_roles_parse(const char *text, uint32_t *roles);

/* --- one token --- */

/* 1 to 16 of a-z and 0-9; a tenant: 1 to 32 of those, '-', '_' and '.'. */
bool tg_token_id_is_valid(const char *id);
bool tg_tenant_is_valid(const char *name);

/* Makes a token with an id of eight random characters, or with `id` (NULL: none). False when the
 * system has no randomness. */
bool tg_token_make(const char *id, char token[TG_TOKEN_BYTES_MAX + 1]);

/* Whether these bytes have the form of a token; then `id` is its public part. Says nothing about
 * whether it is in force. */
bool tg_token_read(const char *token, size_t bytes, char id[TG_TOKEN_ID_BYTES_MAX + 1]);

/* Where the token begins in the value of an Authorization header, `Bearer TOKEN` with the scheme in
 * capitals or not (RFC 9110, 11.1; RFC 6750, 2.1); 0: it is of another scheme. */
size_t tg_token_bearer(const char *value, size_t bytes);

void tg_token_hash(const char *token, size_t bytes, uint8_t hash[TG_TOKEN_HASH_BYTES]);

/* In a time that does not depend on where they differ. */
bool tg_token_hash_is(const uint8_t hash[TG_TOKEN_HASH_BYTES],
                      const uint8_t other[TG_TOKEN_HASH_BYTES]);

/* --- the file --- */

struct tg_token_entry {
    char id[TG_TOKEN_ID_BYTES_MAX + 1];
    char tenant[TG_TENANT_BYTES_MAX + 1];
    uint32_t roles; /* of enum tg_role */
    uint8_t hash[TG_TOKEN_HASH_BYTES];
};

#define TG_RATE_DEFAULT UINT64_MAX /* the file does not say */

struct tg_tenant_entry {
    char name[TG_TENANT_BYTES_MAX + 1];
    uint64_t requests_per_s; /* 0: as many as come; or TG_RATE_DEFAULT */
    uint64_t orders_per_s;
};

struct tg_token_file {
    uint32_t token_count;
    uint32_t tenant_count;                          /* lines; tokens may name others */
    struct tg_token_entry tokens[TG_TOKENS_MAX];    /* in the order of their lines */
    struct tg_tenant_entry tenants[TG_TENANTS_MAX]; /* likewise */
};

/* Reads a whole file into `file`, which holds nothing that counts after a fault. Refuses one that
 * is no regular file, that belongs to another user than root and this one, or that others may
 * write; a line that is not as above, with its number; an id or a tenant that stands twice. A file
 * without tokens is fine, and nobody is let in by it. */
enum tg_error tg_token_file_read(const char *path, struct tg_token_file *file,
                                 struct tg_fault *fault);

/* Room for a line, its newline and its end. */
#define TG_TOKEN_LINE_BYTES 256

/* The line of a token, with its newline. */
void tg_token_line(const struct tg_token_entry *entry, char line[TG_TOKEN_LINE_BYTES]);

#endif
