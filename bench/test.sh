#!/bin/sh
# The arithmetic of bench/: medians, ratios and the judgement of targets (judge.awk), the check of
# counted instructions (micro/check.awk) and their reading (micro/orders.awk), on numbers made up for it. Takes a moment; run by make check.
#
# usage: bench/test.sh
set -eu

here=$(dirname "$0")
dir=$(mktemp -d /tmp/tidegate-bench-test.XXXXXX)
trap 'rm -rf "$dir"' EXIT
failed=0
passed=0

# is WHAT EXPECTED GOT
is() {
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        printf 'FAIL  %s: expected "%s", got "%s"\n' "$1" "$2" "$3"
        failed=$((failed + 1))
    fi
}

# --- judge.awk ---

cat >"$dir/figures" <<'TXT'
# a comment

ratio  | us.a | them.a | >= | 2    | x  | at least twice
least  | us.b |        | <= | 10   | ms | at most ten
below  | us.c |        | <  | 100  | ms | under a hundred
absent | us.d | them.d | >= | 1    | x  | nobody measured it
zero   | us.a | them.z | >= | 1    | x  | over nothing
big    | us.e |        | >= | 2000000 | /s | two millions
TXT

# judged MEASURED NAME COLUMN -> a column of the table; columns are: name, ours, other, result
judged() { awk -f "$here/judge.awk" "$dir/figures" "$1" | awk -v name="$2" -v column="$3" '$1 == name { print $column }'; }
met() { awk -f "$here/judge.awk" "$dir/figures" "$1" | awk -v name="$2" '$1 == name { for (i = 5; i <= NF; i++) if ($i ~ /^(yes|NO|-)$/) { print $i; exit } }'; }

# The ratio is the median of the rounds' ratios (2, 3, 1.5), not the ratio of the medians (200 / 90).
cat >"$dir/odd" <<'TXT'
1 us.a 100
1 them.a 50
2 us.a 300
2 them.a 100
3 us.a 135
3 them.a 90
1 us.b 10
1 us.c 100
1 them.z 0
1 us.e 1999999
TXT
is 'the median of three' 135 "$(judged "$dir/odd" ratio 2)"
is 'of the other side' 90 "$(judged "$dir/odd" ratio 3)"
is 'the median of the ratios of rounds' 2 "$(judged "$dir/odd" ratio 4)"
is 'spread: least and most' '1.5..3' "$(judged "$dir/odd" ratio 5)"
is 'exactly the target is met (>=)' yes "$(met "$dir/odd" ratio)"
is 'exactly the target is met (<=)' yes "$(met "$dir/odd" least)"
is 'exactly the target is not under it' NO "$(met "$dir/odd" below)"
is 'one below two millions' NO "$(met "$dir/odd" big)"
is 'what was not measured is not met' - "$(met "$dir/odd" absent)"
is 'nor is a ratio to nothing' - "$(met "$dir/odd" zero)"

# Four rounds: the mean of the middle two. A round with one side alone has no ratio.
cat >"$dir/even" <<'TXT'
1 us.a 10
1 them.a 10
2 us.a 40
2 them.a 10
3 us.a 15
3 them.a 10
4 us.a 20
4 them.a 10
5 us.a 1000
1 us.b 10.01
1 us.c 99.9
TXT
is 'the median of four ratios' 1.75 "$(judged "$dir/even" ratio 4)"
is 'just missed (>=)' NO "$(met "$dir/even" ratio)"
is 'just missed (<=)' NO "$(met "$dir/even" least)"
is 'under a hundred' yes "$(met "$dir/even" below)"

# A run whose audit failed has no number: null and empty are none, and no round.
printf '1 us.b null\n2 us.b\n3 us.b 4\n' >"$dir/failed"
is 'null is not 0' 4 "$(judged "$dir/failed" least 4)"
printf '1 us.b null\n' >"$dir/failed"
is 'and alone it is nothing' - "$(met "$dir/failed" least)"

json=$(awk -v json=1 -f "$here/judge.awk" "$dir/figures" "$dir/odd" | tr -d '\n')
case $json in
'{"ratio": {'*'"result": 2, "least": 1.5, "most": 3, "met": true}'*'"absent": {'*'"met": null}'*'}') is json ok ok ;;
*) is json ok "$json" ;;
esac
echo 'broken | us.a | >= | 2' >"$dir/broken"
status=0
awk -f "$here/judge.awk" "$dir/broken" "$dir/odd" >/dev/null 2>&1 || status=$?
is 'a figure that cannot be read ends it' 2 $status
is 'every shipped figure can be read' 17 \
    "$(awk -f "$here/judge.awk" "$here/figures.txt" /dev/null | awk 'NR > 1' | wc -l)"

# --- micro/check.awk ---

cat >"$dir/baseline" <<'TXT'
{
  "compiler": "gcc 12",
  "decide": 100.0,
  "ring-2": 34.8
}
TXT

# check LIMIT COUNTS... -> its exit status
check() {
    limit=$1
    shift
    printf '%s\n' "$@" >"$dir/counts"
    status=0
    awk -v limit="$limit" ${only:+-v only=1} -f "$here/micro/check.awk" "$dir/baseline" "$dir/counts" \
        >"$dir/table" 2>&1 || status=$?
    echo $status
}
only=''
is 'the same' 0 "$(check 3 'decide 100.0 a decision' 'ring-2 34.8 a ring')"
is 'three percent is not beyond three' 0 "$(check 3 'decide 103.0 a' 'ring-2 34.8 a')"
is 'a little more is' 3 "$(check 3 'decide 103.1 a' 'ring-2 34.8 a')"
is 'and is named' 1 "$(grep -c '^decide .*+3.10% .*GREW' "$dir/table")"
is 'a second figure counts as much' 3 "$(check 3 'decide 100 a' 'ring-2 36 a')"
is 'less is fine' 0 "$(check 3 'decide 50 a' 'ring-2 34.8 a')"
is 'a new figure is fine' 0 "$(check 3 'decide 100 a' 'ring-2 34.8 a' 'other 5 b')"
is 'a figure that is gone is not' 2 "$(check 3 'decide 100 a')"
is 'nor one without a number' 2 "$(check 3 'decide  a' 'ring-2 34.8 a')"
is 'nor nothing' 2 "$(check 3 '')"
only=1
is 'unless only some were asked for' 0 "$(check 3 'decide 100 a')"

# --- micro/orders.awk ---

cat >"$dir/dump" <<'TXT'
version: 1
fn=(1) loop
10 500
cfn=(2) srv_control_request
calls=3 20
11 4000
cfn=(3) place
calls=9 30
12 900

fn=(2)
20 1000
cfn=(4) pack
calls=3 40
21 3000
cfn=(2)
calls=1 20
22 700

fn=(5) resume
50 60
cfn=(2)
calls=1 20
51 250

totals: 10000
TXT
# 4,000 and 250 are not the orders'; what it calls of itself is in its own cost already.
is 'the instructions of orders alone' '5750 2' \
    "$(awk -v without=srv_control_request -f "$here/micro/orders.awk" "$dir/dump")"
is 'a function that is not there takes nothing' '10000 0' \
    "$(awk -v without=srv_other -f "$here/micro/orders.awk" "$dir/dump")"
status=0
awk -v without=x -f "$here/micro/orders.awk" "$dir/figures" >/dev/null 2>&1 || status=$?
is 'no dump, no number' 2 $status

echo "bench arithmetic: $passed passed, $failed failed"
[ $failed -eq 0 ]
