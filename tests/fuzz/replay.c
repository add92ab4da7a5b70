/* Gives a fuzz target every file of the directories named on the command line, in the order of
 * their names: seeds and regressions, without libFuzzer, in any flavour of the build. A broken
 * promise aborts the process; the file under way was named just before.
 *
 * usage: replay_<target> DIRECTORY-OR-FILE...    exit 0: all passed; 2: usage
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

static char path_now[1024];
static uint32_t file_count;

/* Only what a signal handler may do. */
static void tell(int number)
{
    static const char words[] = "the input that does it: ";
    if (write(STDERR_FILENO, words, sizeof(words) - 1) < 0 ||
        write(STDERR_FILENO, path_now, strlen(path_now)) < 0 || write(STDERR_FILENO, "\n", 1) < 0)
        _exit(1);
    signal(number, SIG_DFL);
    raise(number);
}

static bool replay_file(const char *path)
{
    snprintf(path_now, sizeof(path_now), "%s", path);
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    static uint8_t room[FUZZ_BYTES_MAX];
    size_t size = fread(room, 1, sizeof(room), file);
    fclose(file);
    /* A copy of its own size, so that a sanitizer sees a read behind it. */
    uint8_t *data = malloc(size ? size : 1);
    FUZZ_MUST(data != NULL);
    memcpy(data, room, size);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    file_count++;
    return true;
}

static bool replay_directory(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    bool all = count >= 0;
    if (count < 0)
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    for (int i = 0; i < count; i++) {
        char file[1024];
        snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            all = replay_file(file) && all;
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return all;
}

int main(int argc, char **argv)
{
    bool all = argc > 1;
    signal(SIGABRT, tell);
    signal(SIGSEGV, tell);
    signal(SIGBUS, tell);
    for (int i = 1; i < argc; i++) {
        struct stat status;
        bool is_directory = stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode);
        all = (is_directory ? replay_directory(argv[i]) : replay_file(argv[i])) && all;
    }
    if (!all) {
        fprintf(stderr, "usage: %s DIRECTORY-OR-FILE...\n", argv[0]);
        return 2;
    }
    printf("%u inputs\n", file_count);
    return 0;
}
