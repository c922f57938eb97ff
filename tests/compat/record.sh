#!/bin/bash
# Records the grid folders beside this script with an older checkout; see README.md.
#
#   unshare -um bash tests/compat/record.sh CHECKOUT
#
# CHECKOUT has its own .venv. Needs root: host name, home folder and paths are neutral only inside the namespace.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$1" && pwd)
hostname node1
mkdir -p /mnt/out
mount --bind "$here" /mnt/out
mount -t tmpfs none /home
mkdir -p /home/ann/anlp /home/ann/bin
mount --bind "$checkout" /home/ann/anlp
cp -r /mnt/out/grids /home/ann/grids
mkdir /home/ann/compat
cp /mnt/out/answers.py /mnt/out/commands.txt /home/ann/compat/
for program in sbatch squeue sacct scancel scontrol; do
    cp /home/ann/anlp/tests/slurm/fake_slurm.py "/home/ann/bin/$program"
done
chmod +x /home/ann/bin/*
cd /home/ann/anlp

python=/home/ann/anlp/.venv/bin/python
runs=/home/ann/runs
quiet=(env -i "HOME=/home/ann" "USER=ann" "LOGNAME=ann" "LANG=C.UTF-8" "PYTHONDONTWRITEBYTECODE=1"
    "ANLP_RUNS=$runs" "ANLP_DATA=/home/ann/data" "WANDB_DISABLE_GIT=true" "WANDB_DISABLE_CODE=true"
    "MPLCONFIGDIR=/home/ann/mpl" "OMP_NUM_THREADS=1"
    # arithmetic that does not depend on what the processor can do
    "ATEN_CPU_CAPABILITY=default" "MKL_CBWR=COMPATIBLE" "ONEDNN_MAX_CPU_ISA=SSE41"
    "OPENBLAS_CORETYPE=Haswell")
local_only=("${quiet[@]}" "PATH=/home/ann/anlp/.venv/bin:/usr/bin:/bin")
slurm=("${quiet[@]}" "PATH=/home/ann/bin:/home/ann/anlp/.venv/bin:/usr/bin:/bin" "FAKE_SLURM=/home/ann/slurm.json")
here_alone=("${local_only[@]}" "$python" -m jobs.submit --on local --slots 1 -q -y)
submit() { "${here_alone[@]}" "$@"; }

# the folder of the one run of a grid that has logged at least this many epochs and no result
wait_for_epochs() {
    local grid=$1 epochs=$2 metrics
    for _ in $(seq 1200); do
        for metrics in "$runs/$grid"/*/metrics.jsonl; do
            [ -e "$metrics" ] || continue
            [ -e "$(dirname "$metrics")/result.json" ] && continue
            [ -e "$(dirname "$metrics")/stopped-by-recorder" ] && continue
            if [ "$(wc -l <"$metrics")" -ge "$epochs" ]; then
                dirname "$metrics"
                return
            fi
        done
        sleep 0.05
    done
    echo "no run of $grid logged $epochs epochs" >&2
    exit 1
}
pid_of() { sed -E 's/.*"pid": ([0-9]+).*/\1/' "$1"/attempts/000001.json; }

# done, confirmed, diverged; two runs with predictions, one of them with wandb's offline files
best='model=dense lr=0.03 optimizer=adam'
submit /home/ann/grids/digits.yaml --only "$best seed=0" --predictions --wandb offline
submit /home/ann/grids/digits.yaml --only "$best seed=1" --predictions
submit /home/ann/grids/digits.yaml
submit /home/ann/grids/digits.yaml --confirm 1 --per model --seeds 3
submit /home/ann/grids/points.yaml

# failed, and held back
submit /home/ann/grids/broken.yaml --device cuda || true

# done; interrupted by SIGTERM; lost to kill -9; its submitting process killed
submit /home/ann/grids/stopped.yaml --only 'model=dense seed=0'
"${here_alone[@]}" /home/ann/grids/stopped.yaml --only 'model=dense seed=1' &
folder=$(wait_for_epochs stopped 8)
kill -TERM $!
wait $! || true
touch "$folder/stopped-by-recorder"
"${here_alone[@]}" /home/ann/grids/stopped.yaml --only 'model=cnn seed=0' &
folder=$(wait_for_epochs stopped 8)
kill -KILL "$(pid_of "$folder")"
wait $! || true
touch "$folder/stopped-by-recorder"
"${here_alone[@]}" /home/ann/grids/stopped.yaml --only 'model=cnn seed=1' &
folder=$(wait_for_epochs stopped 7)
kill -KILL $!
wait $! || true
for _ in $(seq 100); do grep -q '"ended"' "$folder"/attempts/000001.json && break; sleep 0.1; done
rm -f "$runs"/stopped/*/stopped-by-recorder

# jobs of four runs, two at a time: one as it should be, one in which a run is killed, one that still waits
"${slurm[@]}" "$python" -m jobs.submit /home/ann/grids/packs.yaml --on slurm -y
batch=$runs/packs/batches/1.jsonl
"${slurm[@]}" "$python" -m anlp.run --batch "$batch" --index 0 --job 1_0
"${slurm[@]}" "$python" -m anlp.run --batch "$batch" --index 1 --job 1_1 &
folder=$(wait_for_epochs packs 3)
kill -KILL "$(pid_of "$folder")"
wait $! || true

# nothing of this machine: its boot, wandb's own logs
boot=$(cat /proc/sys/kernel/random/boot_id)
grep -rlI "$boot" "$runs" | xargs sed -i "s/$boot/00000000-0000-4000-8000-000000000000/g"
rm -rf "$runs"/digits/*/wandb/*/{logs,tmp,files}

# git keeps no times: the last heartbeat of a claim that was not released is 3 s after its beginning, here and in the test
grep -L '"ended"' "$runs"/*/*/attempts/*.json | while read -r claim; do
    touch -d "@$(($(sed -E 's/.*"since": ([0-9]+).*/\1/' "$claim") + 3))" "$claim"
done

# what the old commands say about it
tar -C "$runs" -cf /home/ann/folders.tar .
for program in /home/ann/bin/*; do
    printf '#!/bin/sh\necho "%s: error: Unable to contact slurm controller" >&2\nexit 1\n' "${program##*/}" >"$program"
done
for package in jobs analysis; do
    "${slurm[@]}" "$python" /home/ann/compat/answers.py "$package" "$runs" /home/ann/expected </dev/null
done
rm -f /home/ann/expected/*.png

# how the stopped runs go on
rm -rf "$runs" && mkdir "$runs" && tar -C "$runs" -xf /home/ann/folders.tar
submit /home/ann/grids/stopped.yaml
"${local_only[@]}" "$python" -m jobs.retry stopped --on local --slots 1 -q -y
for metrics in "$runs"/stopped/*/metrics.jsonl; do
    folder=$(dirname "$metrics")
    mkdir -p /home/ann/expected/continued
    cp "$metrics" "/home/ann/expected/continued/${folder##*/}.jsonl"
done

rm -rf /mnt/out/folders /mnt/out/expected
mkdir /mnt/out/folders
tar -C /mnt/out/folders --no-same-owner -xf /home/ann/folders.tar
cp -r /home/ann/expected /mnt/out/expected
