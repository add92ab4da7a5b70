/* Tokens and the file of their hashes: what is read, what is refused and in which words. */
#include "base/token.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

static struct tg_token_file file;

static enum tg_error read_bytes(const void *bytes, size_t size, mode_t mode, struct tg_fault *fault)
{
    char path[] = "/tmp/tidegate-tokens-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
    cr_assert_eq(fchmod(fd, mode), 0);
    close(fd);
    *fault = (struct tg_fault){.error = TG_ERR_OK};
    memset(&file, 0xa5, sizeof(file));
    enum tg_error error = tg_token_file_read(path, &file, fault);
    unlink(path);
    return error;
}

static void expect_read(const char *text)
{
    struct tg_fault fault;
    cr_assert_eq(read_bytes(text, strlen(text), 0600, &fault), TG_ERR_OK, "%s", fault.text);
}

/* It is refused, with the number of the line and this word. */
static void expect_refused(const char *text, int line, const char *word)
{
    struct tg_fault fault;
    char place[32];
    snprintf(place, sizeof(place), ", line %d: ", line);
    cr_assert_eq(read_bytes(text, strlen(text), 0600, &fault), TG_ERR_INVALID, "%s", text);
    cr_assert_not_null(strstr(fault.text, place), "'%s' without '%s'", fault.text, place);
    cr_assert_not_null(strstr(fault.text, word), "'%s' without '%s'", fault.text, word);
}

/* --- one token --- */

Test(token, one_that_is_made_is_read_again_and_has_its_id)
{
    char token[TG_TOKEN_BYTES_MAX + 1], id[TG_TOKEN_ID_BYTES_MAX + 1];
    cr_assert(tg_token_make("till7", token));
    cr_assert(tg_token_read(token, strlen(token), id));
    cr_assert_str_eq(id, "till7");
    cr_assert_eq(strlen(token), 3 + 5 + 1 + TG_TOKEN_SECRET_BYTES);
    cr_assert(tg_token_make("0123456789abcdef", token));
    cr_assert_eq(strlen(token), TG_TOKEN_BYTES_MAX);
    cr_assert(tg_token_read(token, strlen(token), id));
}

Test(token, no_two_are_alike_in_any_of_their_parts)
{
    char tokens[64][TG_TOKEN_BYTES_MAX + 1], id[64][TG_TOKEN_ID_BYTES_MAX + 1];
    uint64_t seen[TG_TOKEN_SECRET_BYTES][2] = {{0}};
    for (int i = 0; i < 64; i++) {
        cr_assert(tg_token_make(NULL, tokens[i]));
        cr_assert(tg_token_read(tokens[i], strlen(tokens[i]), id[i]));
        const char *secret = strrchr(tokens[i] + 3, '\0') - TG_TOKEN_SECRET_BYTES;
        for (int j = 0; j < TG_TOKEN_SECRET_BYTES; j++)
            seen[j][secret[j] / 64] |= 1ull << secret[j] % 64;
        for (int j = 0; j < i; j++) {
            cr_assert_str_neq(id[i], id[j]);
            cr_assert_str_neq(tokens[i], tokens[j]);
        }
    }
    /* Of 64 random digits at one place some are alike, never half of them; the last has four bits.
     */
    for (int j = 0; j < TG_TOKEN_SECRET_BYTES; j++) {
        int digits = __builtin_popcountll(seen[j][0]) + __builtin_popcountll(seen[j][1]);
        cr_assert_geq(digits, j + 1 < TG_TOKEN_SECRET_BYTES ? 25 : 8, "place %d has %d", j, digits);
    }
}

Test(token, what_has_another_form_is_none)
{
    char id[TG_TOKEN_ID_BYTES_MAX + 1], token[TG_TOKEN_BYTES_MAX + 1], wrong[128];
    cr_assert(tg_token_make("abc", token));
    size_t bytes = strlen(token);
    for (size_t cut = 0; cut < bytes; cut++) /* shorter, the id may get an end of its secret */
        cr_assert_not(tg_token_read(token, cut, id), "%zu", cut);
    for (size_t i = 0; i < bytes; i++) {
        for (const char *bad = " +/=.\n\x80"; *bad; bad++) {
            memcpy(wrong, token, bytes);
            wrong[i] = *bad;
            cr_assert_not(tg_token_read(wrong, bytes, id), "%.*s", (int)bytes, wrong);
        }
        memcpy(wrong, token, bytes);
        wrong[i] = '\0';
        cr_assert_not(tg_token_read(wrong, bytes, id), "a zero byte at %zu", i);
    }
    snprintf(wrong, sizeof(wrong), "tg_%s_%s", "0123456789abcdefg", token + 7);
    cr_assert_not(tg_token_read(wrong, strlen(wrong), id), "its id is too long");
    snprintf(wrong, sizeof(wrong), "tg__%s", token + 7);
    cr_assert_not(tg_token_read(wrong, strlen(wrong), id), "it has no id");
    snprintf(wrong, sizeof(wrong), "tg_ABC_%s", token + 7);
    cr_assert_not(tg_token_read(wrong, strlen(wrong), id), "its id has capitals");
    cr_assert_not(tg_token_read("", 0, id));
}

/* So that a line can be made without tidegatectl: printf %s TOKEN | sha256sum. */
Test(token, stands_behind_a_scheme_in_capitals_or_not)
{
    static const char *const bearers[] = {"Bearer tg_a", "bearer tg_a", "BEARER ", "bEaReR x"};
    static const char *const others[] = {"", "Bearer", "Basic eDp5", "Bearer\ttg_a",
                                         " Bearer tg_a"};
    for (size_t i = 0; i < sizeof(bearers) / sizeof(bearers[0]); i++)
        cr_assert_eq(tg_token_bearer(bearers[i], strlen(bearers[i])), 7, "%s", bearers[i]);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        cr_assert_eq(tg_token_bearer(others[i], strlen(others[i])), 0, "%s", others[i]);
    cr_assert_eq(tg_token_bearer("Bearer tg_a", 6), 0, "no byte is read behind the last");
}

Test(token, its_hash_is_the_sha256_of_its_text)
{
    uint8_t hash[TG_TOKEN_HASH_BYTES];
    tg_token_hash("test", 4, hash);
    expect_read("token a t read " HASH "\n");
    cr_assert(tg_token_hash_is(file.tokens[0].hash, hash));
    for (int i = 0; i < TG_TOKEN_HASH_BYTES; i++) {
        hash[i] ^= 1;
        cr_assert_not(tg_token_hash_is(file.tokens[0].hash, hash), "byte %d", i);
        hash[i] ^= 1;
    }
}

Test(token, roles_are_words_with_commas_between_each_once)
{
    uint32_t roles;
    char text[TG_ROLES_TEXT_BYTES];
    cr_assert(tg_roles_parse("read,submit,operate,consume", &roles));
    cr_assert_eq(roles, TG_ROLES_ALL);
    cr_assert_str_eq(tg_roles_text(roles, " or ", text), "submit or consume or operate or read");
    cr_assert(tg_roles_parse("operate", &roles));
    cr_assert_eq(roles, TG_ROLE_OPERATE);
    cr_assert_str_eq(tg_roles_text(0, ",", text), "");
    const char *const wrong[] = {"",      ",",   "read,",       ",read", "read,read",  "Read",
                                 "reads", "rea", "read submit", "admin", "read;submit"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_not(tg_roles_parse(wrong[i], &roles), "'%s'", wrong[i]);
}

/* --- the file --- */

Test(token, a_file_of_tokens_and_tenants_is_read_in_its_order)
{
    expect_read("# who may do what\n"
                "\n"
                "tenant shop-a requests_per_s=200 orders_per_s=50000\r\n"
                "  tenant\tshop-b   orders_per_s=0  \n"
                "token k1 shop-a submit,read " HASH "\n"
                "\ttoken k2 shop-c consume " HASH);
    cr_assert_eq(file.token_count, 2);
    cr_assert_eq(file.tenant_count, 2);
    cr_assert_str_eq(file.tokens[0].id, "k1");
    cr_assert_str_eq(file.tokens[0].tenant, "shop-a");
    cr_assert_eq(file.tokens[0].roles, TG_ROLE_SUBMIT | TG_ROLE_READ);
    cr_assert_eq(file.tokens[0].hash[0], 0x9f);
    cr_assert_eq(file.tokens[0].hash[31], 0x08);
    cr_assert_str_eq(file.tokens[1].tenant, "shop-c");
    cr_assert_eq(file.tenants[0].requests_per_s, 200);
    cr_assert_eq(file.tenants[0].orders_per_s, 50000);
    cr_assert_eq(file.tenants[1].requests_per_s, TG_RATE_DEFAULT);
    cr_assert_eq(file.tenants[1].orders_per_s, 0);
    expect_read("");
    cr_assert_eq(file.token_count, 0);
}

Test(token, a_line_that_is_written_is_read_again)
{
    struct tg_token_entry entry = {
        .id = "0123456789abcdef", .tenant = "a.b-c_d", .roles = TG_ROLES_ALL};
    char line[TG_TOKEN_LINE_BYTES];
    tg_token_hash("x", 1, entry.hash);
    tg_token_line(&entry, line);
    cr_assert_eq(line[strlen(line) - 1], '\n');
    expect_read(line);
    cr_assert_str_eq(file.tokens[0].id, entry.id);
    cr_assert_str_eq(file.tokens[0].tenant, entry.tenant);
    cr_assert_eq(file.tokens[0].roles, entry.roles);
    cr_assert(tg_token_hash_is(file.tokens[0].hash, entry.hash));
    memset(entry.tenant, 'z', TG_TENANT_BYTES_MAX);
    tg_token_line(&entry, line);
    expect_read(line);
    cr_assert_str_eq(file.tokens[0].tenant, entry.tenant, "the longest line has room");
}

Test(token, a_wrong_line_is_told_by_its_number_and_what_it_must_be)
{
    expect_refused("tokn a t read " HASH "\n", 1, "did you mean token?");
    expect_refused("\n# c\n\nread " HASH "\n", 4, "begins with token, tenant or #");
    expect_refused("token a t read\n", 1, "a token is 'token ID TENANT");
    expect_refused("token a t read " HASH " more\n", 1, "a token is 'token ID TENANT");
    expect_refused("token A t read " HASH "\n", 1, "the id 'A' must be 1 to 16");
    expect_refused("token 0123456789abcdefg t read " HASH "\n", 1, "must be 1 to 16");
    expect_refused("token a Shop read " HASH "\n", 1, "the tenant 'Shop' must be 1 to 32");
    expect_refused("token a t admin " HASH "\n", 1, "the roles 'admin' must be");
    expect_refused("token a t read sha256:9f86\n", 1, "64 digits");
    expect_refused("token a t read " HASH "0\n", 1, "64 digits");
    expect_refused("token a t read "
                   "sha256:9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08\n",
                   1, "0-9a-f");
    expect_refused("token a t read " HASH "\ntoken b t read " HASH "\ntoken a t read " HASH "\n", 3,
                   "the id 'a' stands twice");
    expect_refused("tenant t\ntenant t\n", 2, "the tenant 't' stands twice");
    expect_refused("tenant\n", 1, "a tenant is 'tenant NAME");
    expect_refused("tenant t x\n", 1, "'x' must be requests_per_s=N or orders_per_s=N");
    expect_refused("tenant t orders_per_s=1 orders_per_s=2\n", 1, "each once");
    expect_refused("tenant t orders_per_s=\n", 1, "orders_per_s=N");
    expect_refused("tenant t orders_per_s=-1\n", 1, "orders_per_s=N");
    expect_refused("tenant t orders_per_s=1k\n", 1, "orders_per_s=N");
    expect_refused("tenant t orders_per_s=1000000001\n", 1, "to 1000000000");
    expect_refused("tenant t orders_per_s=99999999999999999999\n", 1, "to 1000000000");
    expect_refused("tenant t order=1\n", 1, "orders_per_s=N");
    expect_refused("tenant t requests_per_s=1 orders_per_s=2 x\n", 1, "a tenant is");
}

/* Whoever puts a token into the file instead of its hash must not find it in a log. */
Test(token, what_may_be_a_secret_is_not_repeated)
{
    char token[TG_TOKEN_BYTES_MAX + 1], text[256];
    struct tg_fault fault;
    cr_assert(tg_token_make(NULL, token));
    const char *const forms[] = {"%s\n",
                                 "token a t read %s\n",
                                 "%s a t read " HASH "\n",
                                 "token %s t read " HASH "\n",
                                 "token a %s read " HASH "\n",
                                 "token a t %s " HASH "\n",
                                 "tenant %s\n",
                                 "tenant t %s\n"};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof(text), forms[i], token);
#pragma GCC diagnostic pop
        cr_assert_eq(read_bytes(text, strlen(text), 0600, &fault), TG_ERR_INVALID);
        char part[12]; /* a fault shows but the beginning of a long word */
        snprintf(part, sizeof(part), "%.11s", token + 3);
        cr_assert_null(strstr(fault.text, part), "%s", fault.text);
    }
}

Test(token, long_lines_and_zero_bytes_are_refused)
{
    char text[600];
    memset(text, ' ', sizeof(text));
    text[0] = '#';
    text[TG_TOKEN_LINE_BYTES - 2] = '\n';
    text[TG_TOKEN_LINE_BYTES - 1] = '\0';
    expect_read(text);
    memset(text, ' ', sizeof(text));
    text[0] = '#';
    text[599] = '\0';
    expect_refused(text, 1, "is longer than");
    struct tg_fault fault;
    static const char with_zero[] = "token a t read " HASH "\n# a\0b\n";
    cr_assert_eq(read_bytes(with_zero, sizeof(with_zero) - 1, 0600, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, ", line 2: "), "%s", fault.text);
    static const char only_zero[] = "\0";
    cr_assert_eq(read_bytes(only_zero, 1, 0600, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, ", line 1: "), "%s", fault.text);
}

Test(token, a_file_that_others_may_write_is_refused)
{
    struct tg_fault fault;
    const mode_t fine[] = {0400, 0600, 0640, 0644}, bad[] = {0620, 0602, 0666};
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
        cr_assert_eq(read_bytes("", 0, fine[i], &fault), TG_ERR_OK, "%03o", fine[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(read_bytes("", 0, bad[i], &fault), TG_ERR_INVALID, "%03o", bad[i]);
        cr_assert_not_null(strstr(fault.text, "chmod go-w"), "%s", fault.text);
    }
}

Test(token, what_is_no_file_is_refused)
{
    struct tg_fault fault;
    cr_assert_eq(tg_token_file_read("/tmp", &file, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "no regular file"), "%s", fault.text);
    cr_assert_eq(tg_token_file_read("/nowhere/tokens", &file, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "/nowhere/tokens"), "%s", fault.text);
}

Test(token, as_many_as_there_may_be_and_no_more)
{
    size_t size = (size_t)(TG_TOKENS_MAX + 1) * TG_TOKEN_LINE_BYTES, used = 0, whole = 0;
    char *text = malloc(size);
    cr_assert_not_null(text);
    for (int i = 0; i <= TG_TOKENS_MAX; i++) {
        whole = i < TG_TOKENS_MAX ? used : whole;
        used += (size_t)snprintf(text + used, size - used, "token t%d t read " HASH "\n", i);
        whole = i < TG_TOKENS_MAX ? used : whole;
    }
    struct tg_fault fault;
    cr_assert_eq(read_bytes(text, whole, 0600, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(file.token_count, TG_TOKENS_MAX);
    cr_assert_eq(read_bytes(text, used, 0600, &fault), TG_ERR_INVALID);
    cr_assert_not_null(strstr(fault.text, "line 4097: more than 4096 tokens"), "%s", fault.text);
    free(text);
}
