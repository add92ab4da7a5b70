/* Memory that is warm: touches so much and ends.
 *
 * A virtual machine gives memory that lay free for some seconds back to its host, and whoever
 * touches it next waits for the host: 2 to 5 s a GiB where it is 0.1 s otherwise. A recovery that
 * follows a pause would be measured with that in it. This, right before it, sees to it that it
 * finds what it would find on a machine of its own.
 *
 * usage: warm [--mib 2048]
 */
#include "bench/limits/limits.h"

#include <errno.h>
#include <sys/mman.h>

#define MIB_MOST (1024 * 1024)

int main(int argc, char **argv)
{
    uint64_t mib = 2048;
    const struct limits_option options[] = {{.name = "mib", .number = &mib, .most = MIB_MOST}};
    limits_options(argc, argv, options, 1, "usage: warm [--mib N]");
    size_t bytes = mib << 20;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        limits_check(errno, "mmap");
    madvise(memory, bytes, MADV_HUGEPAGE); /* only a wish */
    if (madvise(memory, bytes, MADV_POPULATE_WRITE) < 0)
        limits_check(errno, "madvise");
}
