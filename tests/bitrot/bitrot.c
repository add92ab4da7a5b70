/* Bit rot: turns bits, bytes, sectors and pages of a sound database, one damage at a time, and
 * looks at each file with the start-up and the verify that ship. docs/bit-rot.md tells the rules.
 *
 *   map     what each byte of the sound file is (map.c, not the product's own walk)
 *   damage  of a kind and at a place that the seed draws, into a copy
 *   look    in a child that may die of it (look.c); in one of PROGRAMS_EVERY by the programs
 *   judge   what lives must be missed, by name; what does not may change nothing
 *
 * Usage: bitrot --database DIR [--flips N] [--seed S] [--only FLIP] [--workers N]
 * DIR holds data/data.mdb, as tests/bitrot/database.sh makes it. --only repeats one damage.
 *
 * Exit status: 0 passed; 1 damage was not missed, or not survived; 2 usage; 3 cannot be run. */
#include "base/clock.h"
#include "base/rng.h"
#include "tests/bitrot/look.h"
#include "tests/bitrot/map.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLIPS_DEFAULT  3000
#define WORKERS_MAX    16
#define PROGRAMS_EVERY 15
#define SECTOR         512u
#define FINDINGS_MAX   4 /* that are told, of each worker */
#define TEXT_BYTES     768

enum {
    EXIT_BROKEN = 1,
    EXIT_USAGE = 2,
    EXIT_UNABLE = 3,
};

enum kind {
    KIND_BIT,
    KIND_BYTE,
    KIND_SECTOR_ZERO,
    KIND_SECTOR_OTHER, /* that of another place */
    KIND_PAGE_OTHER,   /* a page with what is in another */
    KIND_PAGES_SWAPPED,
    KIND_CUT, /* the end of the file is gone */
    KINDS,
};

static const char *const kind_names[KINDS] = {
    [KIND_BIT] = "one bit",
    [KIND_BYTE] = "one byte",
    [KIND_SECTOR_ZERO] = "a sector of 512 bytes zeroed",
    [KIND_SECTOR_OTHER] = "a sector with the bytes of another",
    [KIND_PAGE_OTHER] = "a page with the bytes of another",
    [KIND_PAGES_SWAPPED] = "two pages swapped",
    [KIND_CUT] = "the end of the file cut off",
};

struct options {
    const char *database;
    uint64_t flips, seed, workers, only;
    bool has_only;
};

struct piece {
    uint64_t at, bytes;
};

struct damage {
    enum kind kind;
    uint64_t at; /* of its first byte */
    struct piece pieces[2];
    uint32_t piece_count;
    uint64_t length; /* of the file behind it */
};

/* How often, of one class or kind. */
struct tally {
    uint64_t flips, refused, unchanged;
};

struct finding {
    uint64_t flip;
    char text[TEXT_BYTES];
};

/* What one worker has seen; shared with the parent. */
struct seen {
    _Atomic uint64_t flips;
    struct tally classes[MAP_CLASSES];
    struct tally kinds[KINDS];
    struct tally programs;
    uint64_t idle; /* damages that changed no byte, and were drawn again */
    uint64_t findings;
    struct finding told[FINDINGS_MAX];
};

struct run {
    const struct options *options;
    const uint8_t *sound;
    struct map map;
    uint64_t digest;
    struct seen *seen; /* of each worker */
};

/* One worker's copy of the file. */
struct image {
    char dir[300];
    char path[320];
    int fd;
    uint8_t *bytes; /* of the copy, as it is */
    struct look_result *result;
};

static void fail(const char *what)
{
    fprintf(stderr, "bitrot: %s: %s\n", what, strerror(errno));
    exit(EXIT_UNABLE);
}

/* --- the copy --- */

static void image_write(struct image *image, const uint8_t *bytes, uint64_t at, uint64_t count)
{
    if (pwrite(image->fd, bytes, count, (off_t)at) != (ssize_t)count)
        fail("cannot write the copy");
}

/* A look may have written, when it took the file for sound, or made another. */
static void image_mark(struct image *image)
{
    if (futimens(image->fd, (struct timespec[2]){{0, 0}, {0, 0}}))
        fail("cannot mark the copy");
}

static bool image_is_marked(const struct image *image)
{
    struct stat by_fd, by_path;
    return fstat(image->fd, &by_fd) == 0 && stat(image->path, &by_path) == 0 &&
           by_fd.st_ino == by_path.st_ino && by_fd.st_mtim.tv_sec == 0 &&
           by_fd.st_mtim.tv_nsec == 0;
}

/* The copy anew, with these bytes. */
static void image_make(struct image *image, const uint8_t *bytes, uint64_t length)
{
    if (image->fd >= 0)
        close(image->fd);
    image->fd = open(image->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (image->fd < 0)
        fail(image->path);
    image_write(image, bytes, 0, length);
    image_mark(image);
}

static void image_open(struct image *image, const struct run *run, uint64_t worker)
{
    snprintf(image->dir, sizeof(image->dir), "%s/worker%" PRIu64, run->options->database, worker);
    if (mkdir(image->dir, 0700) && errno != EEXIST)
        fail(image->dir);
    snprintf(image->path, sizeof(image->path), "%s/data.mdb", image->dir);
    image->fd = -1;
    image->bytes = malloc(run->map.bytes);
    if (!image->bytes)
        fail("no memory for a copy");
    memcpy(image->bytes, run->sound, run->map.bytes);
    image_make(image, run->sound, run->map.bytes);
    image->result = look_init();
}

/* --- damage --- */

/* Classes are drawn evenly, not by their share of the file: the meta page has 150 bytes. */
static uint64_t draw_byte(const struct run *run, struct tg_rng *rng)
{
    for (;;) {
        uint32_t class = (uint32_t)tg_rng_below(rng, MAP_CLASSES);
        if (run->map.counts[class])
            return run->map.of_class[class][tg_rng_below(rng, run->map.counts[class])];
    }
}

static uint64_t draw_live_page(const struct run *run, struct tg_rng *rng)
{
    return run->map.live_pages[tg_rng_below(rng, run->map.live_count)] *
           (uint64_t)run->map.page_bytes;
}

static void change(struct image *image, struct damage *damage, uint64_t at, const uint8_t *bytes,
                   uint64_t count)
{
    if (bytes)
        memcpy(image->bytes + at, bytes, count);
    else
        memset(image->bytes + at, 0, count);
    damage->pieces[damage->piece_count++] = (struct piece){at, count};
}

static enum kind draw_kind(struct tg_rng *rng)
{
    static const uint8_t shares[KINDS] = {60, 14, 6, 6, 5, 4, 5};
    uint64_t draw = tg_rng_below(rng, 100);
    enum kind kind = KIND_BIT;
    while (draw >= shares[kind])
        draw -= shares[kind++];
    return kind;
}

static void damage_draw(const struct run *run, struct image *image, struct damage *damage,
                        struct tg_rng *rng)
{
    uint32_t page_bytes = run->map.page_bytes;
    uint64_t pages = run->map.bytes / page_bytes, other;
    uint8_t byte;
    *damage = (struct damage){.kind = draw_kind(rng), .length = run->map.bytes};
    damage->at = draw_byte(run, rng);
    switch (damage->kind) {
    case KIND_BIT:
        byte = (uint8_t)(image->bytes[damage->at] ^ 1u << tg_rng_below(rng, 8));
        change(image, damage, damage->at, &byte, 1);
        break;
    case KIND_BYTE:
        byte = (uint8_t)(image->bytes[damage->at] ^ (1 + tg_rng_below(rng, 255)));
        change(image, damage, damage->at, &byte, 1);
        break;
    case KIND_SECTOR_ZERO:
        damage->at -= damage->at % SECTOR;
        change(image, damage, damage->at, NULL, SECTOR);
        break;
    case KIND_SECTOR_OTHER:
        damage->at -= damage->at % SECTOR;
        other = tg_rng_below(rng, run->map.bytes / SECTOR) * SECTOR;
        change(image, damage, damage->at, run->sound + other, SECTOR);
        break;
    case KIND_PAGE_OTHER:
    case KIND_PAGES_SWAPPED:
        damage->at = draw_live_page(run, rng);
        other = tg_rng_below(rng, pages) * page_bytes;
        change(image, damage, damage->at, run->sound + other, page_bytes);
        if (damage->kind == KIND_PAGES_SWAPPED)
            change(image, damage, other, run->sound + damage->at, page_bytes);
        break;
    case KIND_CUT:
        damage->length = tg_rng_below(rng, run->map.bytes / SECTOR) * SECTOR;
        damage->at = damage->length;
        damage->pieces[damage->piece_count++] =
            (struct piece){damage->length, run->map.bytes - damage->length};
        memset(image->bytes + damage->length, 0, run->map.bytes - damage->length);
        break;
    case KINDS:
        abort();
    }
}

static void damage_apply(struct image *image, const struct damage *damage)
{
    if (damage->kind == KIND_CUT) {
        if (ftruncate(image->fd, (off_t)damage->length))
            fail("cannot cut the copy");
    } else {
        for (uint32_t i = 0; i < damage->piece_count; i++)
            image_write(image, image->bytes + damage->pieces[i].at, damage->pieces[i].at,
                        damage->pieces[i].bytes);
    }
    image_mark(image);
}

static void damage_undo(const struct run *run, struct image *image, const struct damage *damage)
{
    bool is_marked = image_is_marked(image);
    for (uint32_t i = 0; i < damage->piece_count; i++) {
        const struct piece *piece = &damage->pieces[i];
        memcpy(image->bytes + piece->at, run->sound + piece->at, piece->bytes);
        if (is_marked)
            image_write(image, image->bytes + piece->at, piece->at, piece->bytes);
    }
    if (!is_marked)
        image_make(image, run->sound, run->map.bytes);
}

/* --- judgement --- */

/* Whether a byte of what lives is another; `*changed`: any is. A cut changes what it takes. */
static bool damage_lives(const struct run *run, const struct image *image,
                         const struct damage *damage, bool *changed)
{
    bool lives = false;
    *changed = damage->kind == KIND_CUT;
    for (uint32_t i = 0; i < damage->piece_count; i++) {
        const struct piece *piece = &damage->pieces[i];
        for (uint64_t at = piece->at; at < piece->at + piece->bytes; at++) {
            if (damage->kind != KIND_CUT && image->bytes[at] == run->sound[at])
                continue;
            *changed = true;
            lives |= map_class_lives(run->map.classes[at]);
        }
    }
    return lives;
}

/* Whether the words name the row, or the page, of one turned byte; of larger damage, any. */
static bool names_it(const struct run *run, const struct image *image, const struct damage *damage,
                     const char *text)
{
    char row[80], turned[80], page[40], table[40];
    const struct map_owner *owner = &run->map.owner_list[run->map.owners[damage->at]];
    uint8_t class = run->map.classes[damage->at];
    if (damage->kind != KIND_BIT && damage->kind != KIND_BYTE)
        return strstr(text, "page ") || strstr(text, "table ") || strstr(text, "pages ");
    snprintf(page, sizeof(page), "page %" PRIu64 " ", damage->at / run->map.page_bytes);
    if (strstr(text, page))
        return true;
    snprintf(table, sizeof(table), "table %s", owner->table);
    if (class != MAP_VALUE && class != MAP_KEY && class != MAP_LARGE)
        return strstr(text, "page ") || strstr(text, "table ") || strstr(text, "free list") ||
               strstr(text, "pages 0 and 1") || strstr(text, "list of tables");
    if (!owner->has_row)
        return strstr(text, table) != NULL;
    uint64_t other = owner->row;
    if (class == MAP_KEY) {
        uint64_t first = damage->at;
        while (first > 0 && run->map.owners[first - 1] == run->map.owners[damage->at] &&
               run->map.classes[first - 1] == MAP_KEY)
            first--;
        memcpy((uint8_t *)&other + (damage->at - first), image->bytes + damage->at, 1);
    }
    snprintf(row, sizeof(row), "%s, row %" PRIu64 ":", table, owner->row);
    snprintf(turned, sizeof(turned), "%s, row %" PRIu64 ":", table, other);
    return strstr(text, row) || strstr(text, turned);
}

/* NULL, or the promise that is broken. */
static const char *judge(const struct run *run, const struct image *image,
                         const struct damage *damage, bool lives, bool by_programs)
{
    const struct look_result *result = image->result;
    if (!result->ended)
        return result->how;
    if (result->starts && lives)
        return "it starts on damaged data";
    if (result->starts && !by_programs && result->digest != run->digest)
        return "it starts, with other rows";
    if (result->is_content && !result->starts)
        return "it does not start, and verify finds nothing";
    if (!result->starts && !names_it(run, image, damage, result->start))
        return "its refusal does not name what is damaged";
    if (!result->is_content && !names_it(run, image, damage, result->verify))
        return "verify does not name what is damaged";
    return NULL;
}

static void note_finding(struct seen *seen, const struct run *run, uint64_t flip,
                         const struct image *image, const struct damage *damage,
                         const char *problem)
{
    uint8_t class = run->map.classes[damage->kind == KIND_CUT ? 0 : damage->at];
    if (seen->findings < FINDINGS_MAX) {
        struct finding *finding = &seen->told[seen->findings];
        finding->flip = flip;
        snprintf(finding->text, sizeof(finding->text),
                 "%s: %s at byte %" PRIu64 " (page %" PRIu64 ", %s); start says \"%.200s\"; verify "
                 "says \"%.200s\"",
                 problem, kind_names[damage->kind], damage->at, damage->at / run->map.page_bytes,
                 map_class_name(class), image->result->start, image->result->verify);
    }
    seen->findings++;
}

static void count(struct tally *tally, const struct look_result *result)
{
    tally->flips++;
    tally->refused += !result->starts;
    tally->unchanged += result->starts;
}

static void flip_look(const struct run *run, struct image *image, struct seen *seen, uint64_t flip)
{
    struct damage damage;
    struct tg_rng rng;
    bool changed = false, lives = false;
    tg_rng_init(&rng, tg_mix64(run->options->seed ^ tg_mix64(flip + 1)));
    for (;;) {
        damage_draw(run, image, &damage, &rng);
        lives = damage_lives(run, image, &damage, &changed);
        if (changed)
            break;
        seen->idle++;
        damage_undo(run, image, &damage);
    }
    damage_apply(image, &damage);
    look_at(image->dir, image->result);
    const char *problem = judge(run, image, &damage, lives, false);
    if (problem)
        note_finding(seen, run, flip, image, &damage, problem);
    count(&seen->kinds[damage.kind], image->result);
    if (damage.kind == KIND_BIT || damage.kind == KIND_BYTE)
        count(&seen->classes[run->map.classes[damage.at]], image->result);
    if (flip % PROGRAMS_EVERY == 0) {
        if (!image_is_marked(image))
            image_make(image, image->bytes, damage.length);
        look_at_programs(image->dir, image->result);
        problem = judge(run, image, &damage, lives, true);
        if (problem)
            note_finding(seen, run, flip, image, &damage, problem);
        count(&seen->programs, image->result);
    }
    damage_undo(run, image, &damage);
    seen->flips++;
}

/* --- workers --- */

static void work(const struct run *run, uint64_t worker)
{
    struct image image = {0};
    struct seen *seen = &run->seen[worker];
    image_open(&image, run, worker);
    for (uint64_t flip = worker; flip < run->options->flips; flip += run->options->workers) {
        if (!run->options->has_only)
            flip_look(run, &image, seen, flip);
    }
    if (run->options->has_only)
        flip_look(run, &image, seen, run->options->only);
}

static void show_progress(const struct run *run, bool on_terminal)
{
    uint64_t done = 0;
    for (uint64_t i = 0; i < run->options->workers; i++)
        done += run->seen[i].flips;
    fprintf(stderr, "%s%" PRIu64 " of %" PRIu64 " damages looked at%s", on_terminal ? "\r" : "",
            done, run->options->flips, on_terminal ? "" : "\n");
}

static void work_all(const struct run *run)
{
    pid_t pids[WORKERS_MAX], parent = getpid();
    bool on_terminal = isatty(STDERR_FILENO) == 1;
    fflush(stdout);
    uint64_t going = run->options->workers;
    for (uint64_t i = 0; i < going; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            fail("cannot fork");
        if (pids[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() == parent)
                work(run, i);
            _exit(getppid() == parent ? 0 : EXIT_UNABLE);
        }
    }
    for (uint64_t turn = 1; going > 0; turn++) {
        usleep(50000);
        for (uint64_t i = 0; i < run->options->workers; i++) {
            int status;
            if (pids[i] == 0 || waitpid(pids[i], &status, WNOHANG) != pids[i])
                continue;
            pids[i] = 0;
            going--;
            if (status != 0)
                fail("a worker ended early");
        }
        if (turn % (on_terminal ? 4 : 100) == 0)
            show_progress(run, on_terminal);
    }
    if (on_terminal)
        fputs("\r\033[K", stderr);
}

/* --- report --- */

static void add(struct tally *to, const struct tally *of)
{
    to->flips += of->flips;
    to->refused += of->refused;
    to->unchanged += of->unchanged;
}

static void sum_up(const struct run *run, struct seen *sum)
{
    memset(sum, 0, sizeof(*sum));
    for (uint64_t w = 0; w < run->options->workers; w++) {
        const struct seen *seen = &run->seen[w];
        sum->flips += seen->flips;
        sum->idle += seen->idle;
        sum->findings += seen->findings;
        add(&sum->programs, &seen->programs);
        for (int i = 0; i < MAP_CLASSES; i++)
            add(&sum->classes[i], &seen->classes[i]);
        for (int i = 0; i < KINDS; i++)
            add(&sum->kinds[i], &seen->kinds[i]);
    }
}

static void report_line(const struct tally *tally, const char *name)
{
    printf("%8" PRIu64 " %9" PRIu64 " %10" PRIu64 "  %s\n", tally->flips, tally->refused,
           tally->unchanged, name);
}

static void report(const struct run *run, const struct seen *sum)
{
    printf("\n damages   refused  unchanged  one bit or byte of\n");
    for (int i = 0; i < MAP_CLASSES; i++)
        report_line(&sum->classes[i], map_class_name(i));
    printf("\n damages   refused  unchanged  kind\n");
    for (int i = 0; i < KINDS; i++)
        report_line(&sum->kinds[i], kind_names[i]);
    report_line(&sum->programs, "of these, also by tidegated and tidegatectl verify");
    printf("\n");
    for (uint64_t w = 0; w < run->options->workers; w++) {
        const struct seen *seen = &run->seen[w];
        for (uint64_t i = 0; i < seen->findings && i < FINDINGS_MAX; i++)
            printf("FINDING %s\n  repeat: " TG_BUILD
                   "/tests/bitrot/bitrot --database %s --seed %" PRIu64 " --only %" PRIu64 "\n",
                   seen->told[i].text, run->options->database, run->options->seed,
                   seen->told[i].flip);
    }
}

/* --- beginning --- */

static void sound_read(struct run *run)
{
    char path[340];
    struct stat stat;
    snprintf(path, sizeof(path), "%s/data/data.mdb", run->options->database);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat))
        fail(path);
    uint8_t *bytes = malloc((size_t)stat.st_size);
    if (!bytes || read(fd, bytes, (size_t)stat.st_size) != stat.st_size)
        fail(path);
    close(fd);
    run->sound = bytes;
    map_make(&run->map, bytes, (uint64_t)stat.st_size);
}

/* The file must be sound before it is damaged. */
static void sound_look(struct run *run)
{
    struct image image = {0};
    image_open(&image, run, WORKERS_MAX);
    look_at(image.dir, image.result);
    if (!image.result->ended || !image.result->starts || !image.result->is_content) {
        fprintf(stderr, "bitrot: the database is not sound: %s %s %s\n", image.result->how,
                image.result->start, image.result->verify);
        exit(EXIT_BROKEN);
    }
    run->digest = image.result->digest;
    printf("%" PRIu64 " bytes, %u live pages, %" PRIu64 " orders, seed %" PRIu64 "\n",
           run->map.bytes, run->map.live_count, image.result->orders, run->options->seed);
    munmap(image.result, sizeof(*image.result));
    free(image.bytes);
    close(image.fd);
}

static bool number_of(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && errno == 0;
}

static bool options_parse(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {
        {"database", required_argument, NULL, 'd'}, {"flips", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},     {"only", required_argument, NULL, 'o'},
        {"workers", required_argument, NULL, 'w'},  {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) >= 0) {
        bool good = option == 'd'   ? (options->database = optarg, true)
                    : option == 'f' ? number_of(optarg, &options->flips)
                    : option == 's' ? number_of(optarg, &options->seed)
                    : option == 'w' ? number_of(optarg, &options->workers)
                    : option == 'o' ? (options->has_only = number_of(optarg, &options->only))
                                    : false;
        if (!good)
            return false;
    }
    if (options->has_only)
        options->workers = 1;
    return options->database && strlen(options->database) < 256 && optind == argc &&
           options->flips > 0 && options->workers > 0 && options->workers <= WORKERS_MAX;
}

int main(int argc, char **argv)
{
    struct options options = {.flips = FLIPS_DEFAULT, .seed = 1, .workers = 2};
    if (!options_parse(argc, argv, &options)) {
        fprintf(stderr, "usage: bitrot --database DIR [--flips N] [--seed S] [--only FLIP] "
                        "[--workers 1..16]\n");
        return EXIT_USAGE;
    }
    struct run run = {.options = &options};
    int64_t begun_ns = tg_clock_mono_ns();
    sound_read(&run);
    sound_look(&run);
    run.seen = mmap(NULL, options.workers * sizeof(*run.seen), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (run.seen == MAP_FAILED)
        fail("no memory");
    work_all(&run);
    struct seen sum;
    sum_up(&run, &sum);
    report(&run, &sum);
    printf("bitrot: %" PRIu64 " damages in %.1f s, seed %" PRIu64 ": %" PRIu64 " findings\n",
           sum.flips, (double)(tg_clock_mono_ns() - begun_ns) / 1e9, options.seed, sum.findings);
    map_free(&run.map);
    free((void *)(uintptr_t)run.sound);
    return sum.findings ? EXIT_BROKEN : 0;
}
