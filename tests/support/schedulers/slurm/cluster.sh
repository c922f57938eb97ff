#!/bin/bash
# A real Slurm of four nodes on one Debian host, for tests. Run as root; only packages go into the system.
#
#   cluster.sh up             install what is missing, configure, start, wait; returns at once where it runs already
#   cluster.sh down           end all jobs, stop what `up` started, forget everything
#   cluster.sh fail NODE      the node dies with all of its processes, and the controller is told
#   cluster.sh start NODE     the node returns
#   cluster.sh stop-controller | start-controller | stop-accounts | start-accounts
#
# State is in $SLURM_CLUSTER (short: sockets below it must fit into 107 bytes); clients need SLURM_CONF=.../slurm.conf.
# Several clusters on one host need folders of their own, and names of nodes of their own ($SLURM_NODES, such as "a" for
# a1 to a4): memory cgroups are named after nodes. Each takes eight free ports in a row, and keeps them while it runs.
set -euo pipefail

root=${SLURM_CLUSTER:-/tmp/anlp-slurm}
here=$(cd "$(dirname "$0")" && pwd)
prefix=${SLURM_NODES:-n}
nodes=("${prefix}1" "${prefix}2" "${prefix}3" "${prefix}4")
ulimit -c 0 # jobs of tests crash on purpose
export SLURM_CONF=$root/slurm.conf

# pid files that outlive their process may name a stranger, so the executable is compared
pid_of() { # NAME EXECUTABLE
    local pid
    pid=$(cat "$root/run/$1.pid" 2>/dev/null) || return 1
    case $(readlink "/proc/$pid/exe" 2>/dev/null) in
        */"$2" | */"$2"-wlm) echo "$pid" ;; # Debian's slurmd is a link to slurmd-wlm
        *) return 1 ;;
    esac
}

wait_for() { # SECONDS WHAT COMMAND...
    local left=$(($1 * 10)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            echo "cluster.sh: $what is not there; see $root/log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

daemon() { # with a clean environment, and without the lock that this script holds
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SLURM_CONF="$SLURM_CONF" "$@" 9>&-
}

stop() { # NAME EXECUTABLE
    local pid
    pid=$(pid_of "$1" "$2") || return 0
    kill -TERM "$pid"
    for _ in $(seq 100); do
        pid_of "$1" "$2" >/dev/null || break
        sleep 0.1
    done
    if pid_of "$1" "$2" >/dev/null; then kill -KILL "$pid"; fi
    rm -f "$root/run/$1.pid"
}

used_ports() { # in decimal; of every state, since a port in TIME_WAIT cannot be bound either
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$2 ~ /:/ { split($2, at, ":"); print at[length(at)] }' |
        while read -r hex; do echo $((16#$hex)); done
}

choose_ports() { # below the range that the kernel gives to clients
    local used first number
    if [ -s "$root/port" ] && pid_of mariadbd mariadbd >/dev/null; then # which no test stops
        port=$(cat "$root/port")
        return
    fi
    used=$(used_ports | sort -u)
    for first in $(shuf -i 1500-3900); do
        port=$((first * 8))
        for number in $(seq "$port" $((port + 7))); do
            if grep -qx "$number" <<<"$used"; then continue 2; fi
        done
        echo "$port" >"$root/port"
        return
    done
    echo "cluster.sh: no eight free ports in a row" >&2
    exit 1
}

install_packages() {
    local missing=() made=
    exec 8>/run/lock/anlp-tests-install # one installation at a time on this host
    flock 8
    for need in slurmctld:slurmctld slurmd:slurmd slurmdbd:slurmdbd sbatch:slurm-client munged:munge mariadbd:mariadb-server; do
        command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
    done
    if [ ${#missing[@]} = 0 ]; then
        exec 8>&-
        return 0
    fi
    if [ ! -e /usr/sbin/policy-rc.d ]; then # the packages must not start daemons of their own
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        made=1
    fi
    export DEBIAN_FRONTEND=noninteractive
    {
        apt-get -q -o DPkg::Lock::Timeout=600 update &&
            apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=600 install "${missing[@]}"
    } >"$root/log/apt.log" 2>&1 || {
        echo "cluster.sh: could not install ${missing[*]}; see $root/log/apt.log" >&2
        exit 1
    }
    [ -z "$made" ] || rm -f /usr/sbin/policy-rc.d
    exec 8>&-
}

configure() {
    local task='TaskPlugin=task/none' over='JobAcctGatherParams=OverMemoryKill'
    if mkdir "/sys/fs/cgroup/memory/probe$$" 2>/dev/null; then # memory limits that the kernel keeps
        rmdir "/sys/fs/cgroup/memory/probe$$"
        task='TaskPlugin=task/cgroup' over=
    fi
    for number in 0 1 2 3; do
        [ -e "$root/dev/nvidia$number" ] || mknod -m 666 "$root/dev/nvidia$number" c 1 3 # /dev/null, as a GPU
    done
    [ -s "$root/munge/key" ] || (umask 077 && head -c 1024 /dev/urandom >"$root/munge/key")
    for file in slurm.conf gres.conf cgroup.conf; do
        sed -e "s|@ROOT@|$root|g; s|@PORT@|$port|g; s|@DBD@|$((port + 1))|g; s|@PREFIX@|$prefix|g" \
            -e "s|@NODES@|$((port + 4))-$((port + 7))|g; s|@TASK@|$task|; s|@OVER@|$over|" \
            "$here/$file" >"$root/$file"
    done
    sed -e "s|@ROOT@|$root|g; s|@DBD@|$((port + 1))|g; s|@SQL@|$((port + 2))|g" "$here/slurmdbd.conf" >"$root/slurmdbd.conf"
    chmod 600 "$root/slurmdbd.conf"
}

sql() { mariadb --no-defaults --socket="$root/run/sql.sock" -u root "$@"; }

start_database() {
    pid_of mariadbd mariadbd >/dev/null && return 0
    [ -d "$root/sql/mysql" ] || mariadb-install-db --no-defaults --user=root --datadir="$root/sql" --skip-test-db \
        --skip-name-resolve --auth-root-authentication-method=socket --auth-root-socket-user=root >"$root/log/sql.log" 2>&1
    setsid mariadbd --no-defaults --user=root --datadir="$root/sql" --socket="$root/run/sql.sock" \
        --pid-file="$root/run/mariadbd.pid" --bind-address=127.0.0.1 --port=$((port + 2)) --skip-name-resolve \
        --plugin-load-add=auth_socket --innodb-buffer-pool-size=128M --innodb-log-file-size=64M \
        --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 --max-allowed-packet=64M \
        </dev/null >"$root/log/sql.log" 2>&1 9>&- &
    wait_for 180 'the database' sql -e 'select 1'
    sql -e "create database if not exists slurm_acct_db;
            create user if not exists slurm@'127.0.0.1' identified by 'slurm';
            grant all on slurm_acct_db.* to slurm@'127.0.0.1';"
}

start_accounts() {
    pid_of slurmdbd slurmdbd >/dev/null || daemon slurmdbd
    wait_for 180 slurmdbd timeout 30 sacctmgr -n show cluster
}

fill_accounts() { # a second account, and a QOS that lets a user have 5 jobs
    sacctmgr -n -P show qos format=name | grep -qx tiny && return 0
    {
        sacctmgr -i add cluster test
        sacctmgr -i add qos tiny MaxSubmitJobsPerUser=5 MaxJobsPerUser=2
        sacctmgr -i add account lab
        sacctmgr -i add user root account=lab
        sacctmgr -i modify user root set qos+=tiny
    } >"$root/log/accounts.log"
}

start_controller() {
    pid_of slurmctld slurmctld >/dev/null || daemon slurmctld
    wait_for 120 slurmctld scontrol ping
}

start_node() {
    mkdir -p "$root/spool/$1"
    pid_of "slurmd.$1" slurmd >/dev/null || daemon slurmd -N "$1"
}

are_nodes_up() { [ "$(sinfo -h -N -p test -t idle,mix,alloc -o %N | sort -u | wc -l)" = "${#nodes[@]}" ] && timeout 30 sacct -n -X -S now; }

up() {
    mkdir -p "$root"/{run,log,state,spool,dev,munge,sql}
    chmod 755 "$root" "$root/run"
    chmod 700 "$root/munge"
    install_packages
    choose_ports
    configure
    pid_of munged munged >/dev/null || munged --force --key-file="$root/munge/key" --socket="$root/run/munge.sock" \
        --pid-file="$root/run/munged.pid" --log-file="$root/munge/log" --seed-file="$root/munge/seed" 9>&-
    wait_for 60 munge munge -n -S "$root/run/munge.sock"
    start_database
    start_accounts
    fill_accounts
    start_controller
    for node in "${nodes[@]}"; do start_node "$node"; done
    wait_for 180 'every node' are_nodes_up
}

end_jobs() {
    timeout 10 scontrol ping 2>/dev/null | grep -q UP || return 0
    squeue -h -o %A | sort -u | xargs -r -n 500 scancel --signal=KILL --full 2>/dev/null || true
    squeue -h -o %A | sort -u | xargs -r -n 500 scancel 2>/dev/null || true
    for _ in $(seq 100); do
        [ -n "$(squeue -h -o %A)" ] || break
        sleep 0.1
    done
}

steps_of() { # NODE: a step is known by the log of its node, which it keeps open
    local step
    for step in $(pgrep -f slurmstepd); do
        if find "/proc/$step/fd" -lname "$root/log/slurmd.$1.log" 2>/dev/null | grep -q .; then echo "$step"; fi
    done
}

family_of() { # PID...: these processes and all that they started, in one look
    ps -eo pid=,ppid= | awk -v eldest="$*" '
        { parent[$1] = $2 }
        END {
            split(eldest, pids, " ")
            for (i in pids) family[pids[i]]
            do {
                grown = 0
                for (pid in parent) if (!(pid in family) && parent[pid] in family) { family[pid]; grown = 1 }
            } while (grown)
            for (pid in family) print pid
        }'
}

kill_steps() { # NODE: all at once, since none may live to tell of its end; a step that was just beginning comes later
    local steps
    for _ in 1 2 3; do
        steps=$(steps_of "$1")
        # shellcheck disable=SC2046,SC2086 # several words
        [ -z "$steps" ] || kill -KILL $(family_of $steps) 2>/dev/null || true
    done
}

down() {
    [ -d "$root" ] || return 0
    end_jobs
    for node in "${nodes[@]}"; do
        stop "slurmd.$node" slurmd
        kill_steps "$node"
    done
    stop slurmctld slurmctld
    stop slurmdbd slurmdbd
    stop mariadbd mariadbd
    stop munged munged
    find /sys/fs/cgroup/*/slurm_"$prefix"[1-4] -depth -type d -exec rmdir {} + 2>/dev/null || true
    rm -rf "${root:?}"/{run,log,state,spool,dev,munge,sql,port}
}

mkdir -p "$root"
exec 9>"$root/lock"
flock 9
case ${1:-} in
    up) up ;;
    down) down ;;
    fail)
        pid=$(pid_of "slurmd.$2" slurmd) && kill -KILL "$pid"
        kill_steps "$2"
        rm -f "$root/run/slurmd.$2.pid"
        scontrol update nodename="$2" state=down reason=test
        ;;
    start)
        start_node "$2"
        wait_for 120 "node $2" are_nodes_up
        ;;
    stop-controller) stop slurmctld slurmctld ;;
    start-controller) start_controller ;;
    stop-accounts) stop slurmdbd slurmdbd ;;
    start-accounts) start_accounts ;;
    *)
        echo "usage: cluster.sh up | down | fail NODE | start NODE | stop-controller | start-controller | stop-accounts | start-accounts" >&2
        exit 2
        ;;
esac
