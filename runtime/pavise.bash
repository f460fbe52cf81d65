# SPDX-License-Identifier: Apache-2.0
# bash completion for pavise

_pavise_do() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i
    # Behind the options comes a command with arguments of its own.
    for ((i = 2; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --) ((i++)); break ;;
        --clear-env | --unsupported | --json | --filter-log | --help | --strace* | *=*) ;;
        --*) ((i++)) ;;
        *) break ;;
        esac
    done
    if ((i < COMP_CWORD)); then
        COMPREPLY=($(compgen -f -- "$cur"))
        return
    fi
    case $prev in
    --root | --rw | --ro | --tmpfs | --cwd) COMPREPLY=($(compgen -d -- "$cur")); return ;;
    --platform) COMPREPLY=($(compgen -W "auto ptrace" -- "$cur")); return ;;
    --env) COMPREPLY=($(compgen -v -- "$cur")); return ;;
    esac
    case $cur in
    -*) COMPREPLY=($(compgen -W "--root --rw --ro --tmpfs --cwd --env --clear-env --user --hostname
            --pass-fd --memory --cpus --pids --timeout --platform --strace --log --sched
            --unsupported --json --help" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -c -- "$cur")) ;;
    esac
}

_pavise() {
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "do help version" -- "${COMP_WORDS[1]}"))
        return
    fi
    case ${COMP_WORDS[1]} in
    do) _pavise_do ;;
    help) COMPREPLY=($(compgen -W "do version" -- "${COMP_WORDS[COMP_CWORD]}")) ;;
    esac
}
complete -o filenames -F _pavise pavise
