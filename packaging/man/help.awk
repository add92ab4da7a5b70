# Turns a program's --help into the body of a manual page: headings at the beginning of a line become
# sections, all else stands as it was written, with options in bold.
#
# -v from=2      how far the help indents what stands below a heading
# -v level=SS    the request for a heading; SH unless said
# -v skip='|NAME|EXIT CODES|'   sections to leave out
# -v lead=1      the first line is "name - what it is": a NAME section
function escaped(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    return text
}
function line(text, option) {
    text = substr(text, 1, from) ~ /^ *$/ ? substr(text, from + 1) : text
    if (match(text, /^ *--[a-z][a-z0-9-]*/)) {
        option = substr(text, 1, RLENGTH)
        sub(/^ */, "", option)
        text = substr(text, 1, RLENGTH - length(option)) "\001" option "\002" substr(text, RLENGTH + 1)
    }
    text = escaped(text)
    sub(/\001/, "\\fB", text)
    sub(/\002/, "\\fR", text)
    return (text ~ /^[.']/ ? "\&" : "") text
}
function close_block() {
    if (open)
        print ".fi"
    open = 0
    blank = 0
}
BEGIN { if (!level) level = "SH" }
lead && NR == 1 {
    print ".SH NAME"
    print escaped($0)
    next
}
/^[A-Z][A-Za-z ,()0-9]*$/ {
    close_block()
    skipping = index(skip, "|" $0 "|") > 0
    if (!skipping)
        print "." level " " $0
    if (!skipping && $0 == "NAME")
        named = 1
    next
}
skipping { next }
/^ *$/ { blank = open; next }
named {
    sub(/^ */, "")
    print escaped($0)
    named = 0
    next
}
{
    if (!open)
        print ".nf"
    open = 1
    if (blank)
        print ""
    blank = 0
    print line($0)
}
END { close_block() }
