#include "loadgen/machine.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PROBE_BYTES 4096u
#define PROBE_PAGES 256u /* the file is overwritten again and again, as LMDB's are */

/* The first line of a small file, "" when there is none. */
static void first_line(const char *path, char *line, size_t bytes)
{
    FILE *file = fopen(path, "re");
    line[0] = '\0';
    if (!file)
        return;
    if (!fgets(line, (int)bytes, file))
        line[0] = '\0';
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
}

static void read_cpu(struct lg_machine *machine)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file)
        return;
    while (!machine->cpu[0] && fgets(line, sizeof(line), file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(machine->cpu, sizeof(machine->cpu), "%.127s", colon + 1 + strspn(colon + 1, " "));
    }
    fclose(file);
}

void lg_machine_read(struct lg_machine *machine)
{
    struct utsname name;
    long cores = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES);
    memset(machine, 0, sizeof(*machine));
    read_cpu(machine);
    machine->cores = cores > 0 ? (uint32_t)cores : 0;
    machine->memory_bytes = pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
    if (uname(&name) == 0)
        snprintf(machine->kernel, sizeof(machine->kernel), "%s %s", name.sysname, name.release);
    first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", machine->clock,
               sizeof(machine->clock));
    first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", machine->governor,
               sizeof(machine->governor));
    snprintf(machine->libc, sizeof(machine->libc), "glibc %s", gnu_get_libc_version());
}

/* --- the disk --- */

/* The type of the filesystem that a file lies on, by its device in /proc/self/mountinfo:
 *   36 35 98:0 /root /mount options - type source options */
static void read_filesystem(struct lg_machine *machine, int fd)
{
    struct stat file;
    char line[1024], device[32];
    FILE *mounts = fstat(fd, &file) == 0 ? fopen("/proc/self/mountinfo", "re") : NULL;
    if (!mounts)
        return;
    snprintf(device, sizeof(device), " %u:%u ", major(file.st_dev), minor(file.st_dev));
    while (fgets(line, sizeof(line), mounts)) {
        const char *type = strstr(line, " - ");
        if (!type || !strstr(line, device))
            continue;
        snprintf(machine->filesystem, sizeof(machine->filesystem), "%.*s",
                 (int)strcspn(type + 3, " "), type + 3);
        break;
    }
    fclose(mounts);
}

static enum tg_error write_and_sync(struct lg_machine *machine, int fd)
{
    static const char page[PROBE_BYTES] = {1};
    int64_t begin_ns = tg_clock_mono_ns(), now_ns = begin_ns;
    for (uint32_t i = 0; i < LG_PROBE_WRITES && now_ns - begin_ns < LG_PROBE_NS_MAX; i++) {
        int64_t before_ns = now_ns;
        if (pwrite(fd, page, sizeof(page), (off_t)(i % PROBE_PAGES) * PROBE_BYTES) !=
                (ssize_t)sizeof(page) ||
            fdatasync(fd) != 0)
            return TG_ERR_IO;
        now_ns = tg_clock_mono_ns();
        tg_histogram_record(&machine->fdatasync_ns, (uint64_t)(now_ns - before_ns), 1);
    }
    return TG_ERR_OK;
}

enum tg_error lg_machine_probe(struct lg_machine *machine, const char *directory,
                               struct tg_fault *fault)
{
    char path[4096];
    snprintf(path, sizeof(path), "%.4000s/tidegate-probe-XXXXXX", directory);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return tg_fault_set_errno(fault, TG_ERR_IO, errno, "--probe: cannot write in %.300s",
                                  directory);
    unlink(path);
    read_filesystem(machine, fd);
    /* Its room is there beforehand: what is measured is a write, not the growth of a file. */
    enum tg_error error = posix_fallocate(fd, 0, (off_t)PROBE_BYTES * PROBE_PAGES) == 0
                              ? write_and_sync(machine, fd)
                              : TG_ERR_IO;
    machine->probed = !error;
    if (error)
        tg_fault_set_errno(fault, error, errno, "--probe: cannot write and sync in %.300s",
                           directory);
    close(fd);
    return error;
}
