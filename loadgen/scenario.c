#include "loadgen/scenario.h"

#include "base/text.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX        2048u
#define KEY_BYTES       40u
#define VALUE_BYTES     LG_ABOUT_BYTES
#define SECTION_BYTES   50u
#define PART_NAME_CHARS "abcdefghijklmnopqrstuvwxyz0123456789-"

enum section_kind {
    SECTION_NONE,
    SECTION_SCENARIO,
    SECTION_PART,
    SECTION_THRESHOLDS,
};

struct section {
    enum section_kind kind;
    char name[LG_PART_NAME_BYTES]; /* of the part; "" for the thresholds of all */
    int line;
};

struct key {
    struct section section;
    int line;
    char name[KEY_BYTES];
    char value[VALUE_BYTES];
};

struct reader {
    struct lg_scenario *scenario;
    FILE *file;
    struct key *keys; /* owned, KEYS_MAX */
    uint32_t key_count;
    struct section section;                  /* that keys are in now */
    struct section parts[LG_PARTS_MAX];      /* scenario->part_count of them */
    struct section limits[LG_PARTS_MAX + 1]; /* thresholds, each once */
    uint32_t limit_count;
    int line; /* the last one read */
    int fault_line;
    struct tg_fault fault;
};

/* Keeps the first fault. Returns 0, which the parser takes for a mistake. */
static int wrong(struct reader *r, int line, const char *text)
{
    if (r->fault_line == 0) {
        r->fault_line = line;
        tg_fault_set(&r->fault, TG_ERR_INVALID, "%s", text);
    }
    return 0;
}

static int unknown_word(struct reader *r, int line, const char *what, const char *word,
                        const char *const *known, uint32_t count)
{
    char text[200];
    const char *nearest = tg_text_nearest(word, known, count);
    snprintf(text, sizeof(text), "unknown %s \"%.40s\"%s%s%s", what, word,
             nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    return wrong(r, line, text);
}

/* --- reading -----------------------------------------------------------------------------------
 */

static const struct section *find_part(const struct reader *r, const char *name)
{
    for (uint32_t i = 0; i < r->scenario->part_count; i++)
        if (strcmp(r->parts[i].name, name) == 0)
            return &r->parts[i];
    return NULL;
}

static void begin_part(struct reader *r, const struct section *section)
{
    char text[160];
    const char *name = section->name;
    if (name[0] == '\0' || name[strspn(name, PART_NAME_CHARS)] != '\0')
        wrong(r, section->line,
              "a part is named by at most 19 small letters, digits and dashes: [part buyers]");
    else if (find_part(r, name)) {
        snprintf(text, sizeof(text), "[part %s] stands twice", name);
        wrong(r, section->line, text);
    } else if (r->scenario->part_count == LG_PARTS_MAX)
        wrong(r, section->line, "there can be 16 parts at most");
    else
        r->parts[r->scenario->part_count++] = *section;
}

static void begin_thresholds(struct reader *r, const struct section *section)
{
    for (uint32_t i = 0; i < r->limit_count; i++)
        if (strcmp(r->limits[i].name, section->name) == 0) {
            wrong(r, section->line, "these thresholds stand twice");
            return;
        }
    if (r->limit_count == LG_PARTS_MAX + 1)
        wrong(r, section->line, "there are more thresholds than parts");
    else
        r->limits[r->limit_count++] = *section;
}

/* "[part buyers]": the parser tells of a section only with its keys, so it is taken here. */
static void begin_section(struct reader *r, const char *line)
{
    static const char *const words[] = {"scenario", "part", "thresholds"};
    char inside[SECTION_BYTES];
    const char *end = strchr(line, ']');
    if (!end || (size_t)(end - line) > sizeof(inside)) {
        wrong(r, r->line,
              "a section must be one of [scenario], [part NAME], [thresholds] and "
              "[thresholds NAME]");
        return;
    }
    memcpy(inside, line + 1, (size_t)(end - line - 1));
    inside[end - line - 1] = '\0';
    char *rest = inside + strspn(inside, " \t");
    const char *word = strsep(&rest, " \t");
    struct section section = {.line = r->line};
    if (rest) {
        rest += strspn(rest, " \t");
        rest[strcspn(rest, " \t")] = '\0';
        /* One too long stays too long to be a name. */
        snprintf(section.name, sizeof(section.name), "%s",
                 strlen(rest) < sizeof(section.name) ? rest : "?");
    }
    if (strcmp(word, "scenario") == 0)
        section.kind = SECTION_SCENARIO;
    else if (strcmp(word, "part") == 0)
        section.kind = SECTION_PART;
    else if (strcmp(word, "thresholds") == 0)
        section.kind = SECTION_THRESHOLDS;
    else
        unknown_word(r, r->line, "section", word, words, 3);
    r->section = section;
    if (section.kind == SECTION_PART)
        begin_part(r, &section);
    else if (section.kind == SECTION_THRESHOLDS)
        begin_thresholds(r, &section);
}

/* The parser gives no line number to on_key, takes an indented line for more of the value above,
 * and cuts a long one in pieces. So the lines pass through here. */
static char *read_line(char *line, int size, void *context)
{
    struct reader *r = context;
    if (r->fault_line || !fgets(line, size, r->file))
        return NULL;
    r->line++;
    if (!strchr(line, '\n') && !feof(r->file))
        return wrong(r, r->line, "the line is too long"), NULL;
    if ((line[0] == ' ' || line[0] == '\t') && !strchr(";#\r\n", line[strspn(line, " \t")]))
        return wrong(r, r->line,
                     "begins with a space: keys and sections start at the beginning of their line"),
               NULL;
    if (line[0] == '[')
        begin_section(r, line);
    return r->fault_line ? NULL : line;
}

static bool stands_before(const struct reader *r, const char *name)
{
    for (uint32_t i = 0; i < r->key_count; i++)
        if (r->keys[i].section.line == r->section.line && strcmp(r->keys[i].name, name) == 0)
            return true;
    return false;
}

static int on_key(void *context, const char *section, const char *name, const char *value)
{
    struct reader *r = context;
    char text[160];
    (void)section;
    if (r->fault_line)
        return 0;
    if (r->section.kind == SECTION_NONE)
        return wrong(r, r->line, "a key stands before the first section");
    if (strcmp(name, "stage") != 0 && stands_before(r, name)) {
        snprintf(text, sizeof(text), "%.40s stands twice", name);
        return wrong(r, r->line, text);
    }
    if (r->key_count == KEYS_MAX || strlen(name) >= KEY_BYTES || strlen(value) >= VALUE_BYTES)
        return wrong(r, r->line, "the key or its value is too long, or there are too many");
    struct key *key = &r->keys[r->key_count++];
    key->section = r->section;
    key->line = r->line;
    snprintf(key->name, sizeof(key->name), "%s", name);
    snprintf(key->value, sizeof(key->value), "%s", value);
    return 1;
}

static enum tg_error read_keys(struct reader *r, const char *path, struct tg_fault *fault)
{
    r->file = fopen(path, "re");
    if (!r->file)
        return tg_fault_set_errno(fault, TG_ERR_INVALID, errno, "cannot read %.300s", path);
    int line = ini_parse_stream(read_line, r, on_key, r);
    bool broken = ferror(r->file);
    fclose(r->file);
    if (broken)
        return tg_fault_set(fault, TG_ERR_INVALID, "cannot read %.300s: is it a file?", path);
    /* The parser's own complaint may come before ours. */
    if (line > 0 && (r->fault_line == 0 || line < r->fault_line)) {
        r->fault_line = 0;
        wrong(r, line, "not a 'key = value' line");
    }
    return TG_ERR_OK;
}

/* --- taking ------------------------------------------------------------------------------------
 */

static void take_about(struct reader *r, const struct key *key)
{
    static const char *const words[] = {"about"};
    if (strcmp(key->name, words[0]) != 0)
        unknown_word(r, key->line, "key", key->name, words, 1);
    else
        snprintf(r->scenario->about, sizeof(r->scenario->about), "%s", key->value);
}

static void set_option(struct reader *r, struct lg_options *options, const struct key *key,
                       uint32_t places)
{
    struct tg_fault fault;
    if (lg_options_set(options, key->name, key->value, places, &fault) != TG_ERR_OK)
        wrong(r, key->line, fault.text);
}

/* The scenario first: all other keys of the part override it. */
static void take_part(struct reader *r, uint32_t number)
{
    struct lg_options *o = &r->scenario->parts[number];
    const struct section *section = &r->parts[number];
    lg_options_init(o);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < r->key_count; i++) {
            const struct key *key = &r->keys[i];
            bool is_scenario = strcmp(key->name, "scenario") == 0;
            if (key->section.line == section->line && is_scenario == (pass == 0))
                set_option(r, o, key, LG_PLACE_PART);
        }
    }
    snprintf(r->scenario->names[number], sizeof(r->scenario->names[number]), "%s", section->name);
    o->part = r->scenario->names[number];
}

static struct lg_options *whose_thresholds(struct reader *r, const struct key *key,
                                           struct lg_options *whole)
{
    const char *known[LG_PARTS_MAX];
    if (key->section.name[0] == '\0')
        return whole;
    for (uint32_t i = 0; i < r->scenario->part_count; i++) {
        known[i] = r->parts[i].name;
        if (strcmp(known[i], key->section.name) == 0)
            return &r->scenario->parts[i];
    }
    unknown_word(r, key->section.line, "part", key->section.name, known, r->scenario->part_count);
    return NULL;
}

/* What the command line asks for is over what the file asks for. */
static void put_over(struct lg_thresholds *file, const struct lg_thresholds *line)
{
#define OVER(field, unset)                                                                         \
    if (line->field != (unset))                                                                    \
        file->field = line->field;
    OVER(min_accepted_per_s, 0)
    OVER(min_responses_per_s, 0)
    OVER(max_p50_ns, 0)
    OVER(max_p99_ns, 0)
    OVER(max_p999_ns, 0)
    OVER(max_p9999_ns, 0)
    OVER(max_slip_p99_ns, 0)
    OVER(max_backlog, LG_NO_LIMIT)
    OVER(max_errors, LG_NO_LIMIT)
#undef OVER
}

static void take_line(struct lg_scenario *scenario, const struct lg_options *line)
{
    for (uint32_t i = 0; i < scenario->part_count; i++) {
        struct lg_options *o = &scenario->parts[i];
        o->server = line->server;
        o->progress = line->progress;
        o->live = line->live;
        o->quiet = line->quiet;
        if (line->seed_given || !o->seed_given)
            o->seed = line->seed + i;
    }
}

static void finish_parts(struct reader *r)
{
    struct tg_fault fault;
    for (uint32_t i = 0; i < r->scenario->part_count; i++)
        if (lg_options_finish(&r->scenario->parts[i], &fault) != TG_ERR_OK)
            wrong(r, r->parts[i].line, fault.text);
}

static void take_keys(struct reader *r, const struct lg_options *line)
{
    struct lg_options all;
    lg_options_init(&all);
    for (uint32_t i = 0; i < r->scenario->part_count; i++)
        take_part(r, i);
    for (uint32_t i = 0; i < r->key_count; i++) {
        const struct key *key = &r->keys[i];
        struct lg_options *o =
            key->section.kind == SECTION_THRESHOLDS ? whose_thresholds(r, key, &all) : NULL;
        if (key->section.kind == SECTION_SCENARIO)
            take_about(r, key);
        else if (o)
            set_option(r, o, key, LG_PLACE_THRESHOLD);
    }
    put_over(&all.thresholds, &line->thresholds);
    r->scenario->whole = *line;
    r->scenario->whole.thresholds = all.thresholds;
    take_line(r->scenario, line);
    if (r->fault_line == 0)
        finish_parts(r);
    if (r->scenario->part_count == 0)
        wrong(r, r->line ? r->line : 1, "there is no part: [part NAME] begins one");
}

enum tg_error lg_scenario_read(struct lg_scenario *scenario, const struct lg_options *line,
                               struct tg_fault *fault)
{
    memset(scenario, 0, sizeof(*scenario));
    struct reader *r = calloc(1, sizeof(*r));
    struct key *keys = calloc(KEYS_MAX, sizeof(*keys));
    enum tg_error error = TG_ERR_OK;
    if (!r || !keys)
        error = tg_fault_set(fault, TG_ERR_NOMEM, "no memory for a scenario file");
    if (!error) {
        r->scenario = scenario;
        r->keys = keys;
        error = read_keys(r, line->file, fault);
    }
    if (!error && r->fault_line == 0)
        take_keys(r, line);
    if (!error && r->fault_line)
        error = tg_fault_set(fault, TG_ERR_INVALID, "%.200s, line %d: %.280s", line->file,
                             r->fault_line, r->fault.text);
    free(keys);
    free(r);
    return error;
}
