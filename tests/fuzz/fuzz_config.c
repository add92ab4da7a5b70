/* Configuration files: whatever stands in one, it is taken or refused with words; what is taken is
 * in range, and means the same when it is written out and read again.
 *
 * input: the file
 */
#include "tests/fuzz/fuzz.h"

#include "server/config.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

static enum tg_error load(struct srv_config *config, const void *text, size_t size,
                          struct tg_fault *fault)
{
    static int fd = -1;
    char path[40];
    if (fd < 0)
        fd = memfd_create("fuzz.ini", MFD_CLOEXEC);
    FUZZ_MUST(fd >= 0 && ftruncate(fd, 0) == 0);
    FUZZ_MUST(pwrite(fd, text, size, 0) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    srv_config_init(config);
    *fault = (struct tg_fault){0};
    return srv_config_load(config, path, fault);
}

static void check_ranges(const struct srv_config *config)
{
#define CHECK(section, name, initial, low, high, unit, reload, help)                               \
    FUZZ_MUST(config->name + 1 > (uint64_t)(low) && config->name <= (uint64_t)(high));
    SRV_NUMBERS(CHECK)
#undef CHECK
    FUZZ_MUST(memchr(config->listen, 0, sizeof(config->listen)) != NULL);
    FUZZ_MUST(memchr(config->data_dir, 0, sizeof(config->data_dir)) != NULL);
}

/* The texts are left out: an INI file cannot say each of them. */
static size_t write_out(const struct srv_config *config, char *text, size_t room)
{
    size_t used = (size_t)snprintf(text, room, "[server]\ninsecure = %s\n",
                                   config->insecure ? "true" : "false");
#define WRITE(section, name, initial, low, high, unit, reload, help)                               \
    used += (size_t)snprintf(text + used, room - used,                                             \
                             "[" #section "]\n" #name " = %" PRIu64 "\n", config->name);
    SRV_NUMBERS(WRITE)
#undef WRITE
    FUZZ_MUST(used < room);
    return used;
}

static void check_again(const struct srv_config *config)
{
    char text[8192];
    struct srv_config again;
    struct tg_fault fault;
    FUZZ_MUST(load(&again, text, write_out(config, text, sizeof(text)), &fault) == TG_ERR_OK);
    FUZZ_MUST(again.insecure == config->insecure);
#define SAME(section, name, initial, low, high, unit, reload, help)                                \
    FUZZ_MUST(again.name == config->name);
    SRV_NUMBERS(SAME)
#undef SAME
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct srv_config config;
    struct tg_fault fault;
    if (size > FUZZ_BYTES_MAX)
        return 0;
    enum tg_error error = load(&config, data, size, &fault);
    check_ranges(&config); /* also what was read before a fault */
    if (error == TG_ERR_OK)
        check_again(&config);
    else
        FUZZ_MUST(error == TG_ERR_INVALID && strstr(fault.text, "line ") != NULL);
    fault.text[0] = 0;
    if (srv_config_check(&config, &fault) != TG_ERR_OK)
        FUZZ_MUST(fault.text[0] != 0);
    return 0;
}
