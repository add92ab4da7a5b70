# Medians, spreads and ratios of what was measured, held against the targets.
#
# usage: awk -f judge.awk figures.txt measured            a table
#        awk -v json=1 -f judge.awk figures.txt measured  an object: {"NAME": {...}, ...}
#
# figures.txt says what each figure is (see there). A line of `measured` is:   ROUND NAME VALUE
# A value that is no number above or at 0 is none: a run whose audit failed has no number. A figure that
# misses a measurement is told as not measured, never as met.

function trim(text) { gsub(/^[ \t]+|[ \t]+$/, "", text); return text }

# Sorts v[1..n] in place and returns the median; 0 when there is none. Sets smallest and largest.
function median(v, n,    i, k, held) {
    for (i = 2; i <= n; i++) {
        held = v[i]
        for (k = i - 1; k >= 1 && v[k] > held; k--) v[k + 1] = v[k]
        v[k + 1] = held
    }
    if (n == 0) return 0
    smallest = v[1]
    largest = v[n]
    return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}

# The values of one measurement, by round; of two of one round the last stands.
function values_of(name, v,    i, n) {
    n = 0
    for (i = 1; i <= rounds; i++)
        if ((name, order[i]) in value) v[++n] = value[name, order[i]]
    return n
}

# Ratios of the rounds that have both.
function ratios_of(ours, over, v,    i, n) {
    n = 0
    for (i = 1; i <= rounds; i++)
        if ((ours, order[i]) in value && (over, order[i]) in value && value[over, order[i]] > 0)
            v[++n] = value[ours, order[i]] / value[over, order[i]]
    return n
}

function is_met(figure, want, target) {
    if (want == ">=") return figure >= target
    if (want == "<=") return figure <= target
    return figure < target
}

function number(x) { return x >= 1000 ? sprintf("%.0f", x) : x >= 100 ? sprintf("%.4g", x) : sprintf("%.3g", x) }
function plain(x) { return sprintf("%.9g", x) }

FNR == NR {
    if (/^#/ || /^[ \t]*$/) next
    count = split($0, field, "|")
    if (count != 7) {
        printf "figures: line %d has %d fields, not 7\n", FNR, count > "/dev/stderr"
        failed = 2
        exit failed
    }
    names[++figures] = trim(field[1])
    ours[figures] = trim(field[2])
    over[figures] = trim(field[3])
    want[figures] = trim(field[4])
    target[figures] = trim(field[5]) + 0
    unit[figures] = trim(field[6])
    what[figures] = trim(field[7])
    if (want[figures] !~ /^(>=|<=|<)$/) {
        printf "figures: line %d wants %s\n", FNR, want[figures] > "/dev/stderr"
        failed = 2
        exit failed
    }
    next
}

NF == 3 && $3 ~ /^[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$/ {
    if (!($1 in is_round)) {
        is_round[$1] = 1
        order[++rounds] = $1
    }
    value[$2, $1] = $3 + 0
}

END {
    if (failed) exit failed
    if (json) print "{"
    else printf "%-15s %13s %13s %10s  %-19s %-19s %-4s  %s\n", "figure", "tidegate", "other", "result", "spread", "target", "met", "what"
    for (f = 1; f <= figures; f++) {
        split("", a)
        split("", b)
        split("", r)
        n_ours = values_of(ours[f], a)
        mid_ours = median(a, n_ours)
        n_other = over[f] == "" ? 0 : values_of(over[f], b)
        mid_other = median(b, n_other)
        if (over[f] == "") {
            n = n_ours
            result = median(a, n)
        } else {
            n = ratios_of(ours[f], over[f], r)
            result = median(r, n)
        }
        # smallest and largest are those of the result, which was looked at last
        met = n == 0 ? "-" : is_met(result, want[f], target[f]) ? "yes" : "NO"
        if (json) {
            printf "%s\"%s\": {\"what\": \"%s\", \"unit\": \"%s\", \"want\": \"%s\", \"target\": %s, ", (f == 1 ? "" : ",\n"), names[f], what[f], unit[f], want[f], plain(target[f])
            printf "\"tidegate\": %s, \"other\": %s, \"rounds\": %d, ", (n_ours ? plain(mid_ours) : "null"), (n_other ? plain(mid_other) : "null"), n
            if (n) printf "\"result\": %s, \"least\": %s, \"most\": %s, \"met\": %s}", plain(result), plain(smallest), plain(largest), (met == "yes" ? "true" : "false")
            else printf "\"result\": null, \"least\": null, \"most\": null, \"met\": null}"
            continue
        }
        printf "%-15s %13s %13s %10s  %-19s %-19s %-4s  %s\n", names[f], (n_ours ? number(mid_ours) : "-"), (n_other ? number(mid_other) : "-"), (n ? number(result) : "-"), (n > 1 ? number(smallest) ".." number(largest) : ""), want[f] " " number(target[f]) (unit[f] == "x" ? "" : " " unit[f]), met, what[f]
    }
    if (json) print "\n}"
}
