# bash completion for tidegated, tidegatectl and tidegate-load. What can be said is read from the
# program's own --help, so this never lags behind it. Needs nothing but bash.

# Options in the lines of a help text that begin with one.
_tidegate_options() {
    "$@" --help 2>/dev/null | sed -n '/^ *--/p' | grep -o -- '--[a-z][a-z0-9-]*'
}

_tidegate_files() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen "-${2:-f}" -- "$1")
    compopt -o filenames 2>/dev/null
}

_tidegate_words() { # WORD LIST
    local line
    COMPREPLY=()
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -W "$2" -- "$1")
}

# "section.key=" for --set.
_tidegate_keys() {
    "$1" --help 2>/dev/null | sed -n 's/^  \([a-z]*\.[a-z_]*\) .*/\1=/p'
}

_tidegated() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    case $before in
    --data-dir) _tidegate_files "$word" d ;;
    --config) _tidegate_files "$word" ;;
    --set)
        _tidegate_words "$word" "$(_tidegate_keys "$1")"
        compopt -o nospace 2>/dev/null
        ;;
    --listen | --admin-listen | --threads) COMPREPLY=() ;;
    *) _tidegate_words "$word" "$(_tidegate_options "$1")" ;;
    esac
}

_tidegate_load() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} names
    case $before in
    --scenario)
        names=$("$1" --help 2>/dev/null | sed -n 's/^ *--scenario \([a-z][a-z-]*\) .*/\1/p')
        _tidegate_words "$word" "$names"
        [ ${#COMPREPLY[@]} -gt 0 ] || _tidegate_files "$word"
        return
        ;;
    --json | --html | --junit | --hgrm | --audit | --audit-log | --tls-ca | --tls-cert | --tls-key)
        _tidegate_files "$word"
        return
        ;;
    --probe)
        _tidegate_files "$word" d
        return
        ;;
    esac
    case ${COMP_WORDS[1]} in
    compare | render)
        if [ "$COMP_CWORD" -gt 1 ] && [ "${word#-}" = "$word" ]; then
            _tidegate_files "$word"
            return
        fi
        ;;
    esac
    if [ "${COMP_WORDS[1]}" = compare ] && [ "$COMP_CWORD" -gt 1 ]; then
        _tidegate_words "$word" "$(_tidegate_options "$1" compare)"
    elif [ "$COMP_CWORD" -eq 1 ] && [ "${word#-}" = "$word" ]; then
        _tidegate_words "$word" "compare render"
    else
        _tidegate_words "$word" "$(_tidegate_options "$1")"
    fi
}

# The commands, one a line: "sale create".
_tidegatectl_commands() {
    "$1" --help 2>/dev/null |
        sed -n '/^COMMANDS$/,/^$/s/^    \([a-z][a-z-]*\( [a-z][a-z-]*\)*\)  .*/\1/p'
}

_tidegatectl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} commands at i
    local -a said=()
    case $before in
    --server | --timeout | --tls-name) COMPREPLY=() && return ;;
    --data-dir) _tidegate_files "$word" d && return ;;
    --out | --file | --token-file | --tls-ca | --tls-cert | --tls-key) _tidegate_files "$word" && return ;;
    esac
    # The words of the command so far; options and the values of the global ones are none.
    for ((i = 1; i < COMP_CWORD; i++)); do
        at=${COMP_WORDS[i]}
        case $at in
        --server | --timeout | --token-file | --tls-ca | --tls-cert | --tls-key | --tls-name) i=$((i + 1)) ;;
        --*) ;;
        # bash cuts HOST:PORT at the colon
        :) i=$((i + 1)) ;;
        *) said+=("$at") ;;
        esac
    done
    commands=$(_tidegatectl_commands "$1")
    if [ ${#said[@]} -eq 0 ] && [ "${word#-}" = "$word" ]; then
        _tidegate_words "$word" "$(printf '%s\n' "$commands" | sed 's/ .*//' | sort -u)"
    elif [ ${#said[@]} -eq 0 ]; then
        _tidegate_words "$word" "$(_tidegate_options "$1")"
    elif [ ${#said[@]} -eq 1 ] && printf '%s\n' "$commands" | grep -q "^${said[0]} "; then
        _tidegate_words "$word" "$(printf '%s\n' "$commands" | sed -n "s/^${said[0]} //p")"
    elif [ "${word#-}" != "$word" ]; then
        if printf '%s\n' "$commands" | grep -qx "${said[0]}"; then
            said=("${said[0]}")
        else
            said=("${said[@]:0:2}")
        fi
        _tidegate_words "$word" "$(_tidegate_options "$1" "${said[@]}")"
    else
        _tidegate_files "$word"
    fi
}

complete -F _tidegated tidegated
complete -F _tidegatectl tidegatectl
complete -F _tidegate_load tidegate-load
