#!/usr/bin/env bash
# Bring up a SLURM cluster on this machine, or what is missing of it. README.md says what it is.
set -euo pipefail
. "$(dirname "$0")/common.sh"
cpus=${SLURM_CPUS:-8} gpus=${SLURM_GPUS:-2} nodes=${SLURM_NODES:-4}
controller=$((port + 17)) accounting=$((port + 19)) database=$((port + 6))

[ "$(id -u)" = 0 ] || { echo "error: the cluster's daemons need root; run this as root" >&2; exit 2; }
exec 9>"/tmp/.artnet-slurm.lock"
flock 9

say() { echo "cluster: $*"; }

wait_for() {
    local seconds=$1; shift
    for _ in $(seq $((seconds * 10))); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
    echo "error: after $seconds s still not true: $*; the daemons' logs are in $root/log" >&2
    return 1
}

install_packages() {
    local missing=() package own_policy=
    for package in slurmctld slurmd slurmdbd slurm-client slurm-wlm-mysql-plugin munge mariadb-server iproute2; do
        [ "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" = "install ok installed" ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    # Packages would start daemons of the distribution's; a policy that is there already stays as it is.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        own_policy=yes
    fi
    local status=0
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}"; } >"$root/log/apt.log" 2>&1 || status=$?
    [ -z "$own_policy" ] || rm -f /usr/sbin/policy-rc.d
    [ $status = 0 ] || { tail -20 "$root/log/apt.log" >&2; exit $status; }
}

# Replace a file only where it differs: daemons that run keep what they have read.
put() {
    local new; new=$(mktemp)
    cat >"$new"
    cmp -s "$new" "$1" 2>/dev/null || install -m "${2:-644}" "$new" "$1"
    rm -f "$new"
}

# A network of the nodes' own, as between machines: a bridge that leads nowhere else.
connect() {
    ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" type bridge
    ip addr replace "$subnet.1/24" dev "$bridge"
    ip link set "$bridge" up
    local number space
    for number in $(seq "$nodes"); do
        space=$bridge-node$number
        ip netns list | grep -qw "$space" && continue
        ip netns add "$space"
        ip link add "$bridge.$number" type veth peer name eth0 netns "$space"
        ip link set "$bridge.$number" master "$bridge" up
        ip -n "$space" addr add "$subnet.$((10 + number))/24" dev eth0
        ip -n "$space" link set eth0 up
        ip -n "$space" link set lo up
    done
}

configure() {
    local gpu
    for gpu in $(seq 0 $((gpus - 1))); do
        # SLURM wants character devices: these are /dev/null.
        [ -c "$root/dev/gpu$gpu" ] || mknod "$root/dev/gpu$gpu" c 1 3
    done
    put "$root/etc/slurm.conf" <<CONF
ClusterName=artnet
SlurmctldHost=$(hostname -s)($subnet.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$controller
CommunicationParameters=NoCtldInAddrAny
AuthType=auth/munge
CredType=cred/munge
# The expiry is also how long a requeued job is held back: 120 s by default.
AuthInfo=socket=$root/run/munge.sock,cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
SlurmctldPidFile=$root/run/slurmctld.pid
SlurmdPidFile=$root/run/slurmd.%n.pid
SlurmdSpoolDir=$root/spool/%n
StateSaveLocation=$root/state
SlurmctldLogFile=$root/log/slurmctld.log
SlurmdLogFile=$root/log/slurmd.%n.log
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=5
KillOnBadExit=1
MinJobAge=60
SlurmctldTimeout=10
SlurmdTimeout=10
MessageTimeout=10
BatchStartTimeout=10
UnkillableStepTimeout=30
TCPTimeout=2
MaxArraySize=${SLURM_MAX_ARRAY:-10001}
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,bf_continue,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# A preempted job gets the signal that it asked for, not only SIGTERM.
SlurmctldParameters=preempt_send_user_signal
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$accounting
AccountingStoragePass=$root/run/munge.sock
AccountingStorageTRES=gres/gpu
GresTypes=gpu
NodeName=node[1-$nodes] NodeHostname=$(hostname -s) NodeAddr=$subnet.[11-$((10 + nodes))] \
Port=[$((port + 21))-$((port + 20 + nodes))] CPUs=$cpus RealMemory=64000 Gres=gpu:$gpus State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=1-0 DefaultTime=60 PriorityTier=10 PreemptMode=OFF
PartitionName=low  Nodes=ALL MaxTime=1-0 DefaultTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
PartitionName=high Nodes=ALL MaxTime=1-0 DefaultTime=60 PriorityTier=100 PreemptMode=OFF
CONF
    put "$root/etc/gres.conf" <<CONF
AutoDetect=off
NodeName=node[1-$nodes] Name=gpu File=$root/dev/gpu[0-$((gpus - 1))]
CONF
    put "$root/etc/slurmdbd.conf" 600 <<CONF
AuthType=auth/munge
AuthInfo=socket=$root/run/munge.sock
CommunicationParameters=NoInAddrAny
DbdHost=$(hostname -s)
DbdAddr=127.0.0.1
DbdPort=$accounting
SlurmUser=root
LogFile=$root/log/slurmdbd.log
PidFile=$root/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$database
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CONF
    local number
    {
        grep -vw "$(hostname -s)" /etc/hosts
        echo "$subnet.1 $(hostname -s)"
        for number in $(seq "$nodes"); do echo "$subnet.$((10 + number)) node$number"; done
    } | put "$root/etc/hosts"
}

sql() { mariadb --no-defaults -uroot -S "$root/run/sql/socket" "$@"; }

start_munge() {
    is_alive munged && return
    [ -s "$root/etc/munge.key" ] || (umask 077; head -c 1024 /dev/urandom >"$root/etc/munge.key")
    rm -f "$root"/run/munge.sock*
    munged --force --num-threads=4 --key-file="$root/etc/munge.key" --socket="$root/run/munge.sock" \
        --pid-file="$root/run/munged.pid" --seed-file="$root/run/munged.seed" --log-file="$root/log/munged.log" 9>&-
    wait_for 5 munge -n -S "$root/run/munge.sock"
}

start_database() {
    is_alive mariadbd && return
    mkdir -p "$root/run/sql"
    touch "$root/log/mariadb.log"
    chown mysql "$root/mysql" "$root/run/sql" "$root/log/mariadb.log"
    [ -d "$root/mysql/mysql" ] || mariadb-install-db --no-defaults --user=mysql --datadir="$root/mysql" \
        --auth-root-authentication-method=normal --skip-test-db >"$root/log/mariadb-install.log" 2>&1
    setsid mariadbd --no-defaults --user=mysql --datadir="$root/mysql" --socket="$root/run/sql/socket" \
        --pid-file="$root/run/sql/pid" --bind-address=127.0.0.1 --port=$database --innodb-buffer-pool-size=64M \
        --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900 --performance-schema=OFF \
        --skip-name-resolve --log-error="$root/log/mariadb.log" </dev/null >/dev/null 2>&1 9>&- &
    echo $! >"$root/run/mariadbd.pid"
    wait_for 30 sql -e 'select 1'
    sql -e "create database if not exists slurm_acct_db;
        create user if not exists slurm@'127.0.0.1' identified by 'slurm';
        grant all on slurm_acct_db.* to slurm@'127.0.0.1'; flush privileges"
}

start_accounting() {
    is_alive slurmdbd || (umask 077; slurmdbd 9>&-)
    wait_for 30 sacctmgr -n show cluster format=cluster
    sacctmgr -n show cluster format=cluster | grep -qw artnet || sacctmgr -i add cluster artnet >/dev/null
}

# Start a daemon that finds the cluster's addresses under its names.
with_hosts() {
    # shellcheck disable=SC2016
    unshare --mount --propagation private sh -c 'mount --bind "$0" /etc/hosts && exec "$@"' "$root/etc/hosts" "$@"
}

is_up() { scontrol ping | grep -q UP; }

start_controller() {
    is_alive slurmctld && return
    rm -f "$root/run/slurmctld.pid"
    with_hosts slurmctld 9>&-
    wait_for 20 is_up
}

start_node() {
    is_alive slurmd "slurmd.$1" && return
    mkdir -p "$root/spool/$1"
    # shellcheck disable=SC2016
    with_hosts nsenter --net="/run/netns/$bridge-$1" unshare --uts sh -c \
        'hostname "$1" && exec slurmd -N "$1"' sh "$1" 9>&-
}

all_ready() { [ "$(sinfo -h -N -p main -o %T | grep -cE '^(idle|mixed|allocated)$')" = "$nodes" ]; }

umask 022
mkdir -p "$root"/{etc,run,log,spool,state,dev,mysql}
install_packages
connect
configure
start_munge
start_database
start_accounting
start_controller
for number in $(seq "$nodes"); do start_node "node$number"; done
if ! wait_for 5 all_ready 2>/dev/null; then
    scontrol update nodename="node[1-$nodes]" state=resume 2>/dev/null || true
    wait_for 15 all_ready
fi
say "ready: export SLURM_CONF=$SLURM_CONF"
