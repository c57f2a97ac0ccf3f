# Where the cluster lives, and whether a daemon of it is alive. Sourced by the scripts beside it.
root=${SLURM_ROOT:-/tmp/artnet-slurm}
port=${SLURM_BASEPORT:-16800}
export SLURM_CONF=$root/etc/slurm.conf
bridge=art$port subnet=10.231.$((port % 256))  # of the nodes; each has a network namespace, $bridge-node1 and so on
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

# is_alive NAME [PIDFILE]: the process noted in run/PIDFILE.pid runs, and is called NAME: numbers are used again.
is_alive() {
    local file=$root/run/${2:-$1}.pid process
    [ -s "$file" ] || return 1
    process=$(cat "$file" 2>/dev/null) # a daemon that ends removes it
    grep -q "^$1" "/proc/$process/comm" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$process/status"
}
