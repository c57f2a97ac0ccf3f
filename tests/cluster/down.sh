#!/usr/bin/env bash
# Stop the cluster that up.sh started, and nothing else; --purge removes its files too.
. "$(dirname "$0")/common.sh"

# stop NAME [PIDFILE]: ask it to end, and kill it after 10 s.
stop() {
    local file=$root/run/${2:-$1}.pid
    if is_alive "$@"; then
        kill "$(cat "$file")"
        for _ in $(seq 100); do is_alive "$@" || break; sleep 0.1; done
        is_alive "$@" && kill -9 "$(cat "$file")"
    fi
    rm -f "$file"
}

if is_alive slurmctld; then
    jobs=$(timeout 5 squeue -h -o %A 2>/dev/null | sort -u)
    # shellcheck disable=SC2086
    [ -z "$jobs" ] || timeout 20 scancel -f $jobs 2>/dev/null
    for _ in $(seq 80); do
        [ -n "$(timeout 5 squeue -h -o %A -t R,CG 2>/dev/null)" ] || break
        sleep 0.1
    done
fi
for file in "$root"/run/slurmd.*.pid; do
    [ -e "$file" ] && stop slurmd "$(basename "$file" .pid)"
done
for daemon in slurmctld slurmdbd mariadbd munged; do stop $daemon; done
for space in $(ip netns list 2>/dev/null | grep -o "^$bridge-node[0-9]*"); do ip netns del "$space"; done
ip link del "$bridge" 2>/dev/null
[ "${1:-}" != --purge ] || rm -rf "$root"
