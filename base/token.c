#include "base/token.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX        "tg_"
#define PREFIX_BYTES  3
#define HASH_WORD     "sha256:"
#define ID_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789"
#define ID_BYTES      8 /* of one that is made: with it a token is hashed as one block */
#define WORDS_MAX     6 /* of a line; one more than any line has */

/* --- roles --- */

static const char *const role_words[TG_ROLE_COUNT] = {
#define ROLE_WORD(name, word) [TG_ROLE_PLACE_##name] = (word),
    TG_ROLES(ROLE_WORD)
#undef ROLE_WORD
};

const char *tg_roles_text(uint32_t roles, const char *between, char text[TG_ROLES_TEXT_BYTES])
{
    int used = 0;
    text[0] = '\0';
    for (int place = 0; place < TG_ROLE_COUNT; place++)
        if (roles & 1u << place)
            used += snprintf(text + used, TG_ROLES_TEXT_BYTES - (size_t)used, "%s%s",
                             used ? between : "", role_words[place]);
    return text;
}

bool tg_roles_parse(const char *text, uint32_t *roles)
{
    *roles = 0;
    for (;;) {
        size_t bytes = strcspn(text, ",");
        uint32_t role = 0;
        for (int place = 0; place < TG_ROLE_COUNT; place++)
            if (strlen(role_words[place]) == bytes && memcmp(role_words[place], text, bytes) == 0)
                role = 1u << place;
        if (role == 0 || *roles & role)
            return false;
        *roles |= role;
        if (text[bytes] == '\0')
            return true;
        text += bytes + 1;
    }
}

/* --- one token --- */

static bool consists_of(const char *text, size_t bytes, const char *allowed)
{
    for (size_t i = 0; i < bytes; i++)
        if (text[i] == '\0' || !strchr(allowed, text[i]))
            return false;
    return true;
}

bool tg_token_id_is_valid(const char *id)
{
    size_t bytes = strlen(id);
    return bytes >= 1 && bytes <= TG_TOKEN_ID_BYTES_MAX && consists_of(id, bytes, ID_CHARACTERS);
}

bool tg_tenant_is_valid(const char *name)
{
    size_t bytes = strlen(name);
    return bytes >= 1 && bytes <= TG_TENANT_BYTES_MAX &&
           consists_of(name, bytes, ID_CHARACTERS "-_.");
}

/* base64url of 32 bytes, without the '=' at its end. */
static void secret_text(const uint8_t secret[32], char text[TG_TOKEN_SECRET_BYTES + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < TG_TOKEN_SECRET_BYTES; i++) {
        size_t bit = i * 6, byte = bit / 8;
        uint32_t two = (uint32_t)secret[byte] << 8 | (byte + 1 < 32 ? secret[byte + 1] : 0);
        text[i] = digits[two >> (10 - bit % 8) & 63];
    }
    text[TG_TOKEN_SECRET_BYTES] = '\0';
}

bool tg_token_make(const char *id, char token[TG_TOKEN_BYTES_MAX + 1])
{
    char made[ID_BYTES + 1] = {0}, text[TG_TOKEN_SECRET_BYTES + 1];
    uint8_t random[ID_BYTES], secret[32];
    if (RAND_bytes(random, sizeof(random)) != 1 || RAND_priv_bytes(secret, sizeof(secret)) != 1)
        return false;
    for (size_t i = 0; i < ID_BYTES; i++) /* an id is no secret: a little skew does no harm */
        made[i] = ID_CHARACTERS[random[i] % (sizeof(ID_CHARACTERS) - 1)];
    secret_text(secret, text);
    snprintf(token, TG_TOKEN_BYTES_MAX + 1, PREFIX "%.16s_%s", id ? id : made, text);
    OPENSSL_cleanse(secret, sizeof(secret));
    OPENSSL_cleanse(text, sizeof(text));
    return true;
}

bool tg_token_read(const char *token, size_t bytes, char id[TG_TOKEN_ID_BYTES_MAX + 1])
{
    if (bytes <= PREFIX_BYTES + 1 + TG_TOKEN_SECRET_BYTES || bytes > TG_TOKEN_BYTES_MAX ||
        memcmp(token, PREFIX, PREFIX_BYTES) != 0)
        return false;
    size_t id_bytes = bytes - PREFIX_BYTES - 1 - TG_TOKEN_SECRET_BYTES;
    const char *secret = token + PREFIX_BYTES + id_bytes + 1;
    if (secret[-1] != '_' || !consists_of(token + PREFIX_BYTES, id_bytes, ID_CHARACTERS) ||
        !consists_of(secret, TG_TOKEN_SECRET_BYTES,
                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ" ID_CHARACTERS "-_"))
        return false;
    memcpy(id, token + PREFIX_BYTES, id_bytes);
    id[id_bytes] = '\0';
    return true;
}

size_t tg_token_bearer(const char *value, size_t bytes)
{
    static const char scheme[] = "Bearer ";
    size_t length = sizeof(scheme) - 1;
    return bytes >= length && strncasecmp(value, scheme, length) == 0 ? length : 0;
}

void tg_token_hash(const char *token, size_t bytes, uint8_t hash[TG_TOKEN_HASH_BYTES])
{
    /* Without a hash nothing could be told apart: there is no way to go on. */
    if (EVP_Q_digest(NULL, "SHA256", NULL, token, bytes, hash, NULL) != 1)
        abort();
}

bool tg_token_hash_is(const uint8_t hash[TG_TOKEN_HASH_BYTES],
                      const uint8_t other[TG_TOKEN_HASH_BYTES])
{
    return CRYPTO_memcmp(hash, other, TG_TOKEN_HASH_BYTES) == 0;
}

/* --- a line --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hash(const char *text, uint8_t hash[TG_TOKEN_HASH_BYTES])
{
    size_t head = strlen(HASH_WORD);
    if (strncmp(text, HASH_WORD, head) != 0 || strlen(text + head) != (size_t)2 * 32)
        return false;
    text += head;
    for (size_t i = 0; i < TG_TOKEN_HASH_BYTES; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        hash[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void tg_token_line(const struct tg_token_entry *entry, char line[TG_TOKEN_LINE_BYTES])
{
    char roles[TG_ROLES_TEXT_BYTES];
    int used = snprintf(line, TG_TOKEN_LINE_BYTES, "token %s %s %s " HASH_WORD, entry->id,
                        entry->tenant, tg_roles_text(entry->roles, ",", roles));
    for (size_t i = 0; i < TG_TOKEN_HASH_BYTES; i++)
        used += snprintf(line + used, TG_TOKEN_LINE_BYTES - (size_t)used, "%02x", entry->hash[i]);
    snprintf(line + used, TG_TOKEN_LINE_BYTES - (size_t)used, "\n");
}

/* Cuts a line into words, in place; returns how many, WORDS_MAX for that many and more. */
static uint32_t cut(char *line, char *words[WORDS_MAX])
{
    uint32_t count = 0;
    for (char *rest = line, *word; (word = strtok_r(rest, " \t\r\n", &rest));)
        if (count < WORDS_MAX)
            words[count++] = word;
    return count;
}

/* A word as a fault repeats it, which goes to the log: a token that was put there by mistake is not
 * told. */
static const char *shown(const char *word)
{
    return strncmp(word, PREFIX, PREFIX_BYTES) == 0 ? PREFIX "..." : word;
}

static enum tg_error read_token_line(struct tg_token_file *file, char *const *words, uint32_t count,
                                     struct tg_fault *fault)
{
    if (count != 5)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "a token is 'token ID TENANT ROLE[,ROLE]... sha256:HEX'");
    if (file->token_count == TG_TOKENS_MAX)
        return tg_fault_set(fault, TG_ERR_INVALID, "more than %d tokens", TG_TOKENS_MAX);
    struct tg_token_entry *entry = &file->tokens[file->token_count];
    if (!tg_token_id_is_valid(words[1]))
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "the id '%.32s' must be 1 to %d of a-z and 0-9: it is what stands "
                            "between tg_ and _ in the token",
                            shown(words[1]), TG_TOKEN_ID_BYTES_MAX);
    if (!tg_tenant_is_valid(words[2]))
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "the tenant '%.40s' must be 1 to %d of a-z, 0-9, '-', '_' and '.'",
                            shown(words[2]), TG_TENANT_BYTES_MAX);
    if (!tg_roles_parse(words[3], &entry->roles))
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "the roles '%.64s' must be one or more of submit, consume, operate "
                            "and read, with commas between, each once",
                            shown(words[3]));
    if (!read_hash(words[4], entry->hash)) /* whatever stands there is not repeated: see below */
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "the last word must be sha256: and 64 digits 0-9a-f, the hash of the "
                            "token and never the token");
    for (uint32_t i = 0; i < file->token_count; i++)
        if (strcmp(file->tokens[i].id, words[1]) == 0)
            return tg_fault_set(fault, TG_ERR_INVALID, "the id '%s' stands twice", words[1]);
    snprintf(entry->id, sizeof(entry->id), "%s", words[1]);
    snprintf(entry->tenant, sizeof(entry->tenant), "%s", words[2]);
    file->token_count++;
    return TG_ERR_OK;
}

/* "name=number" into one of the two; false when it is neither, or was there. */
static bool read_rate(struct tg_tenant_entry *entry, char *word)
{
    char *equals = strchr(word, '=');
    if (!equals)
        return false;
    size_t name_bytes = (size_t)(equals - word);
    uint64_t *rate = NULL;
    if (strncmp(word, "requests_per_s", name_bytes) == 0 && name_bytes == 14)
        rate = &entry->requests_per_s;
    else if (strncmp(word, "orders_per_s", name_bytes) == 0 && name_bytes == 12)
        rate = &entry->orders_per_s;
    const char *digits = equals + 1;
    size_t count = strspn(digits, "0123456789");
    if (!rate || *rate != TG_RATE_DEFAULT || count == 0 || count > 10 || digits[count] != '\0')
        return false;
    *rate = strtoull(digits, NULL, 10);
    return *rate <= TG_RATE_PER_S_MAX;
}

static enum tg_error read_tenant_line(struct tg_token_file *file, char *const *words,
                                      uint32_t count, struct tg_fault *fault)
{
    if (count < 2 || count > 4)
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "a tenant is 'tenant NAME [requests_per_s=N] [orders_per_s=N]'");
    if (file->tenant_count == TG_TENANTS_MAX)
        return tg_fault_set(fault, TG_ERR_INVALID, "more than %d tenants", TG_TENANTS_MAX);
    struct tg_tenant_entry *entry = &file->tenants[file->tenant_count];
    if (!tg_tenant_is_valid(words[1]))
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "the tenant '%.40s' must be 1 to %d of a-z, 0-9, '-', '_' and '.'",
                            shown(words[1]), TG_TENANT_BYTES_MAX);
    entry->requests_per_s = entry->orders_per_s = TG_RATE_DEFAULT;
    for (uint32_t i = 2; i < count; i++)
        if (!read_rate(entry, words[i]))
            return tg_fault_set(fault, TG_ERR_INVALID,
                                "'%.64s' must be requests_per_s=N or orders_per_s=N, each once, "
                                "with 0 (no limit) to %d",
                                shown(words[i]), TG_RATE_PER_S_MAX);
    for (uint32_t i = 0; i < file->tenant_count; i++)
        if (strcmp(file->tenants[i].name, words[1]) == 0)
            return tg_fault_set(fault, TG_ERR_INVALID, "the tenant '%s' stands twice", words[1]);
    snprintf(entry->name, sizeof(entry->name), "%s", words[1]);
    file->tenant_count++;
    return TG_ERR_OK;
}

static enum tg_error read_line(struct tg_token_file *file, char *line, struct tg_fault *fault)
{
    static const char *const kinds[] = {"token", "tenant"};
    char *words[WORDS_MAX];
    uint32_t count = cut(line, words);
    if (count == 0 || words[0][0] == '#')
        return TG_ERR_OK;
    if (strcmp(words[0], "token") == 0)
        return read_token_line(file, words, count, fault);
    if (strcmp(words[0], "tenant") == 0)
        return read_tenant_line(file, words, count, fault);
    /* It may be a token that was put here by mistake, and this text goes to the log. */
    const char *near = tg_text_nearest(words[0], kinds, 2);
    return tg_fault_set(fault, TG_ERR_INVALID, "a line begins with token, tenant or #%s%s%s",
                        near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* --- the file --- */

/* Whoever may write the file may let anybody in. */
static enum tg_error check_owner(int fd, const char *path, struct tg_fault *fault)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return tg_fault_set_errno(fault, TG_ERR_INVALID, errno, "cannot look at %.200s", path);
    if (!S_ISREG(status.st_mode))
        return tg_fault_set(fault, TG_ERR_INVALID, "%.200s is no regular file", path);
    if (status.st_uid != 0 && status.st_uid != geteuid())
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "%.200s belongs to user %u, who could let anybody in: it must be "
                            "root's, or that of user %u",
                            path, status.st_uid, geteuid());
    if (status.st_mode & (S_IWGRP | S_IWOTH))
        return tg_fault_set(fault, TG_ERR_INVALID,
                            "%.200s can be written by others than its owner (mode %03o): chmod "
                            "go-w it, and look whether all tokens in it are yours",
                            path, status.st_mode & 0777u);
    return TG_ERR_OK;
}

/* Where the text of `line` ends; false when it is too long, or has a NUL in it. */
static bool line_is_whole(const char *line, size_t bytes, bool at_end)
{
    return bytes > 0 && strlen(line) == bytes && (line[bytes - 1] == '\n' || at_end);
}

static enum tg_error read_lines(FILE *stream, const char *path, struct tg_token_file *file,
                                struct tg_fault *fault)
{
    char line[TG_TOKEN_LINE_BYTES];
    struct tg_fault why;
    for (uint32_t number = 1;; number++) {
        /* What fgets leaves alone says how much it wrote, NULs included. */
        memset(line, '\n', sizeof(line));
        if (!fgets(line, sizeof(line), stream))
            break;
        const char *end = memrchr(line, '\0', sizeof(line));
        enum tg_error error = TG_ERR_OK;
        if (!line_is_whole(line, (size_t)(end - line), feof(stream)))
            error =
                tg_fault_set(&why, TG_ERR_INVALID, "is longer than %d bytes, or holds a zero byte",
                             TG_TOKEN_LINE_BYTES - 2);
        else
            error = read_line(file, line, &why);
        if (error != TG_ERR_OK)
            return tg_fault_set(fault, error, "%.200s, line %" PRIu32 ": %.250s", path, number,
                                why.text);
    }
    if (ferror(stream))
        return tg_fault_set_errno(fault, TG_ERR_INVALID, errno, "cannot read %.200s", path);
    return TG_ERR_OK;
}

enum tg_error tg_token_file_read(const char *path, struct tg_token_file *file,
                                 struct tg_fault *fault)
{
    file->token_count = file->tenant_count = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return tg_fault_set_errno(fault, TG_ERR_INVALID, errno, "cannot open %.200s", path);
    enum tg_error error = check_owner(fd, path, fault);
    FILE *stream = error == TG_ERR_OK ? fdopen(fd, "r") : NULL;
    if (error == TG_ERR_OK && !stream)
        error = tg_fault_set_errno(fault, TG_ERR_NOMEM, errno, "cannot read %.200s", path);
    if (error == TG_ERR_OK)
        error = read_lines(stream, path, file, fault);
    if (stream)
        fclose(stream);
    else
        close(fd);
    return error;
}
