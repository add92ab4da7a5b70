# Turns the documented example of the configuration into the list of keys of tidegate.conf(5).
function escaped(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    return text
}
/^\[/ {
    print ".SH \"THE SECTION " $0 "\""
    print escaped(about)
    next
}
/^# Takes / { takes = substr($0, 3); next }
/^# / { about = substr($0, 3); next }
/^#?[a-z_]+ =/ {
    sub(/^#/, "")
    print ".TP"
    print ".B " escaped($1)
    print escaped(about)
    print escaped(takes)
}
