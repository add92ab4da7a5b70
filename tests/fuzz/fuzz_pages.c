/* A database file whose bytes have turned, beneath LMDB: storage/pages.h must say what is damaged,
 * or LMDB must be able to live with it.
 *
 * input: edits, at most EDITS_MAX
 *
 *   edit: | u8: what | u16: page | ...
 *         0..: SET u16 offset, u8 size (1 .. 16), bytes
 *         0xc0.. COPY u16 page, from there        0xe0.. CUT the file behind the page
 *
 * What must hold: the look comes back, with words when it finds something; what it finds nothing
 * wrong with is opened, recovered and verified without harm; what it finds damaged is not opened.
 */
#include "storage/pages.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/book.h"

enum {
    EDITS_MAX = 32,
    PAGE_BYTES = 4096,
};

static struct {
    char dir[64];
    uint8_t *file; /* the sound database */
    uint8_t *copy;
    size_t size;
} sound;

static void path_of(char path[96], const char *directory)
{
    snprintf(path, 96, "%s/data.mdb", directory);
}

static void prepare(void)
{
    char path[96];
    if (sound.file)
        return;
    struct book *book = book_make();
    path_of(path, book->dir);
    book_close(book);
    FILE *file = fopen(path, "rb");
    FUZZ_MUST(file && fseek(file, 0, SEEK_END) == 0);
    sound.size = (size_t)ftell(file);
    sound.file = malloc(sound.size);
    sound.copy = malloc(sound.size);
    rewind(file);
    FUZZ_MUST(sound.file && sound.copy && fread(sound.file, 1, sound.size, file) == sound.size);
    fclose(file);
    book_free(book);
    snprintf(sound.dir, sizeof(sound.dir), "%s", fuzz_directory());
}

/* Returns the size of the file. */
static size_t edit(struct fuzz_bytes *bytes, size_t size)
{
    uint8_t what = fuzz_u8(bytes);
    size_t pages = sound.size / PAGE_BYTES;
    uint8_t *page = sound.copy + fuzz_u16(bytes) % pages * PAGE_BYTES;
    if (what >= 0xe0)
        return (size_t)(page - sound.copy) < size ? (size_t)(page - sound.copy) : size;
    if (what >= 0xc0) {
        memmove(page, sound.copy + fuzz_u16(bytes) % pages * PAGE_BYTES, PAGE_BYTES);
        return size;
    }
    size_t offset = fuzz_u16(bytes) % PAGE_BYTES, count = 1 + fuzz_u8(bytes) % 16u;
    fuzz_take(bytes, page + offset, count < PAGE_BYTES - offset ? count : PAGE_BYTES - offset);
    return size;
}

static void write_damaged(struct fuzz_bytes *bytes)
{
    char path[96];
    size_t size = sound.size;
    memcpy(sound.copy, sound.file, sound.size);
    for (int i = 0; i < EDITS_MAX && bytes->left > 0; i++)
        size = edit(bytes, size);
    path_of(path, sound.dir);
    FILE *file = fopen(path, "wb");
    FUZZ_MUST(file && fwrite(sound.copy, 1, size, file) == size && fclose(file) == 0);
}

/* --- what must hold --- */

/* Whether it was opened; recovery and verify come back, whatever they say. */
static bool open_all(struct tg_fault *fault)
{
    struct sto_options options = {.data_dir = sound.dir,
                                  .map_bytes = 16 << 20,
                                  .items_max = BOOK_ITEM_MAX,
                                  .readers_max = 4,
                                  .request_ttl_s = 3600};
    struct sto_recovery recovery = {0}; /* all rows are read, none is kept */
    struct sto_recovery_stats stats;
    struct sto_env *env;
    if (sto_env_open(&options, &env, fault) != TG_ERR_OK)
        return false;
    sto_recover(env, &recovery, &stats, fault);
    sto_env_close(env);
    return true;
}

static bool on_damage(void *context, const char *line)
{
    FUZZ_MUST(line[0] != 0);
    ++*(uint64_t *)context;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_bytes bytes = {data, size};
    struct tg_fault fault = {.text = ""}, opened = {.text = ""};
    struct sto_pages_report report;
    struct sto_verify_report verified;
    uint64_t lines = 0;
    struct sto_pages_look look = {.context = &lines, .damage = on_damage};
    if (size > FUZZ_BYTES_MAX)
        return 0;
    prepare();
    write_damaged(&bytes);
    enum tg_error error = sto_pages_look(sound.dir, STO_PAGES_NEWEST, &look, &report, &fault);
    FUZZ_MUST(error == TG_ERR_OK || fault.text[0] != 0);
    FUZZ_MUST(error != TG_ERR_CORRUPT || lines > 0);
    sto_verify(sound.dir, NULL, NULL, NULL, &verified, &(struct tg_fault){.text = ""});
    bool is_open = open_all(&opened);
    if (error == TG_ERR_CORRUPT && is_open)
        fuzz_fail(__FILE__, __LINE__, "a damaged file was opened:", "%s", fault.text);
    return 0;
}
