# The instructions of one dump of callgrind, less those of `without` with all that it calls: what the
# daemon spent on other requests than plain orders.
#
# usage: awk -v without=srv_control_request -f orders.awk callgrind.out.N
#
# The format: docs of callgrind, "Callgrind Format Specification". Names are written once and then known
# by their number; behind a line calls= stands the place of the call and its inclusive cost.

/^totals: / { total = $2 }
/^(fn|cfn)=\(/ {
    number = $0
    sub(/^c?fn=/, "", number)
    name = number
    sub(/\).*/, ")", number)
    sub(/^\([0-9]+\) ?/, "", name)
    if (name != "") names[number] = name
}
/^fn=/ { within = names[number] == without }
/^cfn=/ { called = names[number] }
/^calls=/ {
    if ((getline line) > 0 && called == without && !within) {
        split(line, field, " ")
        other += field[2]
        found++
    }
}

END {
    if (total == "") {
        print "no total in the dump" > "/dev/stderr"
        exit 2
    }
    printf "%d %d\n", total - other, found
}
