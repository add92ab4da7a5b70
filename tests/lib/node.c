#include "tests/lib/node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_TAIL 2048

const char *node_phase_name(enum node_phase phase)
{
    switch (phase) {
    case NODE_EXEC:
        return "before the data file was open";
    case NODE_RECOVERING:
        return "recovering";
    case NODE_RECOVERED:
        return "recovered, not ready";
    case NODE_READY:
        return "serving";
    case NODE_DRAINING:
        return "draining";
    case NODE_ENDED:
        return "ended";
    }
    return "";
}

void node_init(struct node *node, const char *root)
{
    *node = (struct node){.line = {.fd = -1}};
    snprintf(node->data_dir, sizeof(node->data_dir), "%.180s/data", root);
    snprintf(node->log_path, sizeof(node->log_path), "%.180s/log", root);
}

void node_arg(struct node *node, const char *arg)
{
    if (node->arg_count < NODE_ARGS_MAX)
        node->args[node->arg_count++] = arg;
}

/* --- a life --- */

static void close_ready(struct node *node)
{
    if (node->line.fd >= 0)
        close(node->line.fd);
    node->line.fd = -1;
}

bool node_spawn(struct node *node)
{
    char listen[32];
    struct stat log;
    int ready[2];
    const char *argv[NODE_ARGS_MAX + 6] = {proc_program("tidegated"), "--data-dir", node->data_dir,
                                           "--listen", listen};
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", node->port);
    memcpy(argv + 5, node->args, (size_t)node->arg_count * sizeof(node->args[0]));
    close_ready(node);
    if (pipe2(ready, O_CLOEXEC))
        return false;
    node->log_begin = stat(node->log_path, &log) == 0 ? log.st_size : 0;
    node->line = (struct proc_line){.fd = ready[0]};
    bool started = proc_start(&node->proc, argv, ready[1], node->log_path);
    close(ready[1]);
    return started;
}

static bool line_read(struct node *node)
{
    unsigned port;
    if (sscanf(node->line.text,
               "tidegated ready on 127.0.0.1:%u threads=%*u recovered_orders=%" SCNu64, &port,
               &node->recovered_orders) != 2)
        return false;
    node->port = (uint16_t)port;
    snprintf(node->address, sizeof(node->address), "127.0.0.1:%u", port);
    return true;
}

int node_ready(struct node *node, int timeout_ms)
{
    int there = proc_line_read(&node->line, timeout_ms);
    return there == 1 && !line_read(node) ? -1 : there;
}

/* --- looking --- */

static bool file_has(const char *path, off_t begin, const char *text)
{
    char line[4096];
    bool found = false;
    FILE *file = fopen(path, "re");
    if (file && begin > 0)
        fseeko(file, begin, SEEK_SET);
    while (file && !found && fgets(line, sizeof(line), file))
        found = strstr(line, text) != NULL;
    if (file)
        fclose(file);
    return found;
}

enum node_phase node_phase(struct node *node)
{
    char maps[64];
    if (!proc_runs(&node->proc))
        return NODE_ENDED;
    snprintf(maps, sizeof(maps), "/proc/%d/maps", (int)node->proc.pid);
    if (file_has(node->log_path, node->log_begin, "draining"))
        return NODE_DRAINING;
    if (node_ready(node, 0) == 1)
        return NODE_READY;
    if (file_has(node->log_path, node->log_begin, "recovered "))
        return NODE_RECOVERED;
    return file_has(maps, 0, "/data.mdb") ? NODE_RECOVERING : NODE_EXEC;
}

/* --- the end of a life --- */

void node_kill(struct node *node)
{
    proc_kill(&node->proc);
    close_ready(node);
}

void node_drain(const struct node *node)
{
    kill(node->proc.pid, SIGTERM);
}

bool node_drained(struct node *node, int timeout_ms)
{
    if (!proc_wait(&node->proc, timeout_ms))
        return false;
    close_ready(node);
    return node->proc.status == 0;
}

/* --- the log --- */

const char *node_log_tail(const struct node *node)
{
    static char tail[LOG_TAIL + 1];
    tail[0] = '\0';
    int fd = open(node->log_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tail;
    off_t size = lseek(fd, 0, SEEK_END);
    ssize_t got = pread(fd, tail, LOG_TAIL, size > LOG_TAIL ? size - LOG_TAIL : 0);
    tail[got > 0 ? got : 0] = '\0';
    close(fd);
    return tail;
}

void node_log_lines(const struct node *node, void (*visit)(void *context, const char *line),
                    void *context)
{
    char line[4096];
    FILE *file = fopen(node->log_path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        visit(context, line);
    }
    if (file)
        fclose(file);
}
