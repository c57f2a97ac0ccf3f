#!/usr/bin/env bash
# Cut the power of a node: kill every process in its own namespace at once. up.sh brings it back.
set -u
. "$(dirname "$0")/common.sh"
node=${1:?usage: kill-node.sh NODE, such as node2}
is_alive slurmd "slurmd.$node" || { echo "error: $node is not running" >&2; exit 2; }
namespace=$(readlink "/proc/$(cat "$root/run/slurmd.$node.pid")/ns/uts")
for own in self 1; do
    if [ -z "$namespace" ] || [ "$namespace" = "$(readlink /proc/$own/ns/uts)" ]; then
        echo "error: $node shares this machine's namespace, so its processes cannot be told from others" >&2
        exit 2
    fi
done
for _ in 1 2 3; do  # a process may start another while it is being killed
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/ns/uts" 2>/dev/null)" != "$namespace" ] || kill -9 "${process#/proc/}" 2>/dev/null
    done
    sleep 0.05
done
rm -f "$root/run/slurmd.$node.pid"
