/* The end of the file runs ahead of its pages.
 *
 * When the sync of a commit finds the file longer than it was, the filesystem puts the new length
 * into its journal: two more writes and a flush, which take a small commit longer than its pages do
 * (docs/decisions/0015). LMDB lengthens its file by the pages that it writes, so every commit would
 * pay for that. Here a small commit that comes near to the end of the file has zeros written behind
 * it first, room for some forty more: one of them pays.
 *
 *            pages_end                 file_bytes
 *   |  pages  |  zeros: MARGIN_BYTES at least  |
 *   +---------+--------------------------------+ - - - - - - - - +
 *             |  this commit's pages           |  GROW_BYTES more
 *
 * Zeros are only written behind the end of the file, where there is nothing to lose, by the thread
 * that commits, before LMDB writes: so they never stand where a page should. LMDB knows its pages
 * by their numbers and not by the file's length, and what lies behind the last of them is nothing
 * to it. A write of zeros that fails changes nothing either: LMDB lengthens the file as before. */
#include "storage/step.h"

#include <sys/stat.h>
#include <unistd.h>

/* Rows of a commit that is small: of a larger one the length is a small part of the cost, and
 * writing its pages twice would not be. */
#define SMALL_ROW_BYTES (32 * 1024ul)
/* Pages that a small commit may add to the file, beside those of its rows. */
#define MARGIN_BYTES    (64 * 1024ul)
#define GROW_BYTES      (256 * 1024ul)
/* When the filesystem has less than this beside what is kept of it, room is for orders. */
#define SPARE_BYTES     (64ull * 1024 * 1024)

static const char zeros[GROW_BYTES];

/* It would be of use, and harm nobody. */
static bool may_grow(const struct sto_step *step)
{
    const struct sto_options *options = &step->env->options;
    return step->row_bytes <= SMALL_ROW_BYTES &&
           step->free_bytes >= options->free_bytes_min + step->needed_bytes + SPARE_BYTES &&
           step->env->file_bytes + GROW_BYTES <= options->map_bytes;
}

void sto_step_grow_file(const struct sto_step *step)
{
    struct sto_env *env = step->env;
    const uint64_t wanted = step->pages_end + 2 * step->row_bytes + MARGIN_BYTES;
    mdb_filehandle_t fd;
    struct stat file;
    if (env->file_bytes >= wanted || !may_grow(step) || mdb_env_get_fd(env->lmdb, &fd) ||
        fstat(fd, &file))
        return;
    env->file_bytes = (uint64_t)file.st_size;
    if (env->file_bytes >= wanted || !may_grow(step))
        return;
    ssize_t written = pwrite(fd, zeros, sizeof(zeros), file.st_size);
    if (written > 0)
        env->file_bytes += (uint64_t)written;
}
