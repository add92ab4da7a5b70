#!/bin/sh
# Writes the C file of server/assets.h: scripts/embed.sh FILE... >assets.c
# index.html is served at /, every other file at /assets/NAME.
set -eu

type_of() {
    case $1 in
    *.html) echo 'text/html; charset=utf-8' ;;
    *.css) echo 'text/css; charset=utf-8' ;;
    *.js | *.mjs) echo 'text/javascript; charset=utf-8' ;;
    *.json) echo 'application/json; charset=utf-8' ;;
    *.svg) echo 'image/svg+xml' ;;
    *.png) echo 'image/png' ;;
    *.ico) echo 'image/x-icon' ;;
    *.woff2) echo 'font/woff2' ;;
    *.txt) echo 'text/plain; charset=utf-8' ;;
    *) echo "embed.sh: what type is $1? Teach type_of its ending" >&2; exit 1 ;;
    esac
}

echo '/* Written by scripts/embed.sh. */'
echo '#include "server/assets.h"'
echo '#include <string.h>'
n=0
table=''
for file in "$@"; do
    name=$(basename "$file")
    type=$(type_of "$name")
    path=/assets/$name
    [ "$name" != index.html ] || path=/
    echo "static const unsigned char data_$n[] = {"
    od -An -v -tu1 "$file" | sed 's/  */,/g; s/^,//; s/$/,/'
    echo '0};' # an empty file is an array all the same
    table="$table    {\"$path\", \"$type\", \"\\\"$(cksum <"$file" | tr ' ' -)\\\"\", data_$n, sizeof(data_$n) - 1},
"
    n=$((n + 1))
done
echo 'const struct srv_asset srv_assets[] = {'
printf '%s' "$table"
echo '};'
echo "const size_t srv_asset_count = $n;"
cat <<'END'
const struct srv_asset *srv_asset_find(const char *path)
{
    for (size_t i = 0; i < srv_asset_count; i++)
        if (strcmp(srv_assets[i].path, path) == 0)
            return &srv_assets[i];
    return NULL;
}
END
