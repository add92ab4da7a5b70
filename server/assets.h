/* The files of server/web/, which the build puts into the binary (scripts/embed.sh): the live page
 * needs no file at run time. Constant; any thread. */
#ifndef TG_SERVER_ASSETS_H
#define TG_SERVER_ASSETS_H

#include <stddef.h>

struct srv_asset {
    const char *path; /* as in a request: "/" for index.html, "/assets/NAME" for all others */
    const char *type; /* Content-Type */
    const char *etag; /* quoted: changes with the content */
    const unsigned char *data;
    size_t size;
};

extern const struct srv_asset srv_assets[];
extern const size_t srv_asset_count;

/* The asset of exactly this path, or NULL. */
const struct srv_asset *srv_asset_find(const char *path);

#endif
