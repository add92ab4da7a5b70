#include "tests/fuzz/fuzz.h"
#include "tests/lib/tree.h"

#include <stdarg.h>
#include <unistd.h>

_Noreturn void fuzz_fail(const char *file, int line, const char *check, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s:%d: %s ", file, line, check);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

#define DIRECTORIES_MAX 4

static char directories[DIRECTORIES_MAX][64];
static unsigned directory_count;

static void remove_directories(void)
{
    for (unsigned i = 0; i < directory_count; i++)
        tree_remove(directories[i]);
}

const char *fuzz_directory(void)
{
    FUZZ_MUST(directory_count < DIRECTORIES_MAX);
    char *path = directories[directory_count];
    const char *told = getenv("FUZZ_DIRECTORY");
    const char *parent = told ? told : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, sizeof(directories[0]), "%s/tidegate-fuzz-XXXXXX", parent);
    FUZZ_MUST(mkdtemp(path) != NULL);
    if (directory_count++ == 0)
        atexit(remove_directories);
    return path;
}
