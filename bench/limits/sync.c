/* What one sync costs: a write of 4 KiB and fdatasync, again and again.
 *
 * The file is written before, so that no block has to be allocated and no size changes: what is
 * left is the write and the disk's flush, of which a commit of LMDB does two. It leaves out
 * everything else that a commit does.
 *
 * usage: sync --dir DIR [--seconds 5] [--json]
 */
#include "base/clock.h"
#include "bench/limits/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define PAGES      4096 /* 16 MiB, written from end to end and again */

static const char usage[] = "usage: sync --dir DIR [--seconds S] [--json]";

static void write_page(int fd, uint64_t page)
{
    static uint8_t bytes[PAGE_BYTES];
    bytes[0]++;
    if (pwrite(fd, bytes, sizeof(bytes), (off_t)(page * PAGE_BYTES)) != PAGE_BYTES)
        limits_check(errno ? errno : EIO, "write");
}

static void sync_now(int fd)
{
    if (fdatasync(fd) < 0)
        limits_check(errno, "fdatasync");
}

int main(int argc, char **argv)
{
    const char *dir = "";
    uint64_t seconds = 5;
    const struct limits_option options[] = {{.name = "dir", .text = &dir},
                                            {.name = "seconds", .number = &seconds, .most = 3600}};
    limits_options(argc, argv, options, 2, usage);
    if (!*dir)
        limits_die("%s", usage);
    char path[4096];
    snprintf(path, sizeof(path), "%s/sync", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        limits_check(errno, path);
    unlink(path);
    for (uint64_t page = 0; page < PAGES; page++)
        write_page(fd, page);
    sync_now(fd);

    static struct tg_histogram histogram;
    int64_t now_ns = tg_clock_mono_ns(), end_ns = now_ns + (int64_t)seconds * TG_NS_PER_S;
    for (uint64_t page = 0; now_ns < end_ns; page++) {
        int64_t begun_ns = now_ns;
        write_page(fd, page % PAGES);
        sync_now(fd);
        now_ns = tg_clock_mono_ns();
        tg_histogram_record(&histogram, (uint64_t)(now_ns - begun_ns), 1);
    }
    const struct limits_figure figures[] = {{"count", (double)histogram.count},
                                            {"p50_us", limits_us(&histogram, 0.5)},
                                            {"p99_us", limits_us(&histogram, 0.99)},
                                            {"max_us", (double)histogram.max / 1000}};
    limits_tell("fdatasync", figures, 4);
}
