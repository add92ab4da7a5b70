# Counted instructions against stored ones: prints the table, exits 3 when a figure grew by more than
# LIMIT percent, 2 when there is nothing to compare or a stored figure was not counted.
#
# usage: awk -v limit=3 [-v only=1] -f check.awk baseline.json counts
#
# baseline.json is as bench/micro/run.sh writes it, a figure to a line:   "name": 123.4,
# counts has lines:   name instructions what it is
# With only=1 stored figures that were not counted are no fault.

function ended(status) { code = status; exit status }

FNR == NR {
    if (match($0, /"[a-z0-9-]+": *[0-9]/) && split($0, part, "\"") >= 3 && part[2] !~ /^version$/) {
        value = part[3]
        gsub(/[^0-9.]/, "", value)
        stored[part[2]] = value
    }
    next
}

{
    if ($2 !~ /^[0-9]+(\.[0-9]+)?$/ || $2 <= 0) {
        printf "%s was not counted: '%s'\n", $1, $2 > "/dev/stderr"
        ended(2)
    }
    if (!lines++) printf "%-20s %12s %12s %9s   %s\n", "figure", "stored", "counted", "change", "of"
    rest = $0
    sub(/^[^ ]+ +[^ ]+ */, "", rest)
    counted[$1] = 1
    if (!($1 in stored)) {
        printf "%-20s %12s %12.1f %9s   %s\n", $1, "-", $2, "new", rest
        next
    }
    change = ($2 / stored[$1] - 1) * 100
    note = ""
    # 103.0 / 100 - 1 is a little more than 0.03.
    if (change > limit + 1e-9) { note = "  GREW"; grew++ }
    printf "%-20s %12.1f %12.1f %+8.2f%%   %s%s\n", $1, stored[$1], $2, change, rest, note
}

END {
    if (code) exit code
    if (!lines) {
        print "nothing was counted" > "/dev/stderr"
        exit 2
    }
    for (name in stored)
        if (!(name in counted) && !only) {
            printf "%s is stored and was not counted\n", name > "/dev/stderr"
            missing = 1
        }
    if (missing) exit 2
    if (grew) {
        printf "%d grew by more than %s %%. Say why and store them anew (BASELINE=write), or find what grew.\n", grew, limit
        exit 3
    }
}
