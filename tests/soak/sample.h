/* What a soak looks at every second: the process in /proc, and the pages of the database file.
 *
 * The database is read beside the daemon, in snapshots that last less than a millisecond but for
 * the list of free pages. One thread.
 */
#ifndef TG_TESTS_SOAK_SAMPLE_H
#define TG_TESTS_SOAK_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The tables that grow with orders. */
enum soak_table {
    SOAK_ORDERS,
    SOAK_LIVES,
    SOAK_EVENTS,
    SOAK_TEAMS,
    SOAK_INGESTED,
    SOAK_TABLES
};
const char *soak_table_name(enum soak_table table);

/* Pages of the file, in bytes. */
struct soak_pages {
    uint64_t file;  /* all up to the last one that was ever used */
    uint64_t used;  /* of tables, of the list of free pages, and the two meta pages */
    uint64_t spare; /* free, to be used again */
    uint64_t rows[SOAK_TABLES];
    uint64_t bytes[SOAK_TABLES]; /* pages of the table */
};

struct soak_sample {
    double at_s;             /* since the loads began */
    uint64_t rss_anon, rss;  /* bytes */
    uint64_t file_allocated; /* blocks of data.mdb, in bytes */
    uint32_t fds, threads;
    uint64_t cpu_ms; /* of the process, since its start */
    struct soak_pages pages;
    double machine_us; /* soak_machine_us */
    /* of the probes of this second */
    uint64_t probes;
    double p50_us, p99_us, max_us;
};

/* The database at `data_dir`, opened for reading beside the daemon that writes it. */
struct soak_book;
struct soak_book *soak_book_open(const char *data_dir);
void soak_book_close(struct soak_book *book);
bool soak_book_pages(struct soak_book *book, struct soak_pages *pages);

/* Fills in what /proc and the file system tell; false when the process is gone. */
bool soak_sample_process(pid_t pid, const char *data_dir, struct soak_sample *sample);

/* What the machine makes of a small task by itself, in us: the worst of five times to wake from a
 * short sleep and to write a page to `fd` and sync it; 0 when that fails. Takes some 10 ms. */
double soak_machine_us(int fd);

#endif
