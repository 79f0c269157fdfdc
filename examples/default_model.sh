#!/usr/bin/env bash
# From nothing to the default model: collect, pretrain, train, check. Stop it whenever you like; run again, it goes on.
#
#   examples/default_model.sh [FOLDER]             on whatever machine this is, a GPU where there is one
#   EPISODES=4000 WORKERS=16 examples/default_model.sh /scratch/default
#   PROCESSES=2 examples/default_model.sh          two processes that learn, of one thread each; good on two cores.
#                                                  What they began goes on with as many
#   SECONDS_AT_MOST=570 examples/default_model.sh  stops by itself and leaves all it has to the next call
set -euo pipefail

out=${1:-runs/default}
episodes=${EPISODES:-1500} wide=${WIDE:-1000} branches=${BRANCHES:-5} views=${VIEWS:-1400} harsh=${HARSH:-1000}
repaints=${REPAINTS:-8}
held_out=${HELD_OUT:-100} size=${SIZE:-256} workers=${WORKERS:-$(nproc)} processes=${PROCESSES:-1}
pretrain=${PRETRAIN:-default-pretrain} cooldown=${COOLDOWN:-default-cooldown} train=${TRAIN:-default-train}
rollout=${ROLLOUT:-default-train-rollout}
invert=${INVERT:-default-invert} invert_views=${INVERT_VIEWS:-default-invert-views}
keyframes=${KEYFRAMES:-default-keyframes}
tasks=${TASKS:-600} tasks_seen=${TASKS_SEEN:-504} tasks_harsh=${TASKS_HARSH:-1500} # of train, of views, of harsh
fit_check=${FIT_CHECK:-} # more of its flags
ends=$(($(date +%s) + ${SECONDS_AT_MOST:-31536000}))
export MUJOCO_GL=${MUJOCO_GL:-egl}

# Run a command for as long as there is time; it resumes by itself the next time.
in_time() {
    local left=$((ends - $(date +%s))) code
    [ "$left" -gt 0 ] || { echo "out of time; run this again to go on"; exit 75; }
    timeout --signal=INT --kill-after=30 "$left" "$@" &
    trap "kill -INT $!" INT  # Ctrl-C does not reach the process group that timeout makes; it breaks the wait off
    while code=0; wait $! || code=$?; kill -0 $! 2>/dev/null; do :; done
    trap - INT
    # 124: it was interrupted in the end; 137: it was killed, by timeout or, with time left, by somebody else
    if [ "$code" = 124 ] || { [ "$code" = 137 ] && [ "$(date +%s)" -ge "$ends" ]; }; then
        echo "out of time; run this again to go on"; exit 75
    fi
    [ "$code" = 0 ] || exit "$code"
}

run=(vjepa2-ac)
if [ "$processes" -gt 1 ]; then
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
    run=(torchrun --nproc-per-node "$processes" -m -- vjepa2_ac.cli)  # or torchrun takes --start for its own
fi

# learn COMMAND FOLDER RECIPE DATA ARGUMENTS...: begin a run whose processes share the recipe's batch, or go on with
# it, unless it has ended in a release.
learn() {
    local command=$1 folder=$2 recipe=$3 data=$4 batch; shift 4
    [ ! -e "$folder/release/config.json" ] || return 0
    if [ -e "$folder/recipe.yaml" ]; then
        in_time "${run[@]}" "$command" --resume --out "$folder" --cache "$out/cache"
    else
        batch=$(vjepa2-ac recipes "$recipe" | awk '$1 == "batch:" { print $2 }')
        [ $((batch % processes)) = 0 ] || { echo "$processes processes cannot share a batch of $batch" >&2; exit 2; }
        in_time "${run[@]}" "$command" --out "$folder" --cache "$out/cache" --data "$data" \
            --recipe "$recipe" --set engine.batch=$((batch / processes)) "$@"
    fi
}

mkdir -p "$out"
data=$out/episodes
collect=(in_time vjepa2-ac collect --workers "$workers" --size "$size")
"${collect[@]}" --out "$data/train" --episodes "$episodes" --branches "$branches"
"${collect[@]}" --out "$data/wide" --episodes "$wide" --branches "$branches" --split wide --seed-base 2000
"${collect[@]}" --out "$out/views" --episodes "$views" --branches 0 --repaints "$repaints" --split views --seed-base 4000
"${collect[@]}" --out "$out/harsh" --episodes "$harsh" --branches 0 --repaints "$repaints" --no-long \
    --split harsh --seed-base 26000
"${collect[@]}" --out "$out/held-out" --episodes "$held_out" --split test
solving=("${collect[@]}" --branches 0 --mix expert=0.6,noisy=0.4)
"${solving[@]}" --out "$out/tasks/train" --episodes "$tasks" --seed-base 30000
"${solving[@]}" --out "$out/tasks/views" --episodes "$tasks_seen" --repaints 3 --repaint-steps 40 \
    --split views --seed-base 32000
"${solving[@]}" --out "$out/tasks/harsh" --episodes "$tasks_harsh" --repaints 7 --repaint-steps 40 \
    --split harsh --seed-base 38000
episode=(-name .unfinished -prune -o -name trajectory.h5 -printf '%h\n')  # not what a killed writer left
# The encoder learns in scenes of the train split first, then goes on with those of the wide split beside them, the
# inverse at last with those of the views and harsh splits; keyframes from tasks being solved.
learn pretrain "$out/first-encoder" "$pretrain" "$data/train"
learn pretrain "$out/encoder" "$cooldown" "$data" --start "$out/first-encoder"
learn train "$out/steps" "$train" "$data" --encoder "$out/encoder/release"
learn train "$out/rollouts" "$rollout" "$data" --encoder "$out/encoder/release" --start "$out/steps/release"
learn invert "$out/inverse" "$invert" "$data" --model "$out/rollouts/release"
find "$data/train" "$out/views" "$out/harsh" "${episode[@]}" | sort > "$out/appearances.txt"
learn invert "$out/appearances-inverse" "$invert_views" "$out/appearances.txt" --model "$out/rollouts/release" \
    --start "$out/inverse/release"
{
    find "$out/tasks" "${episode[@]}"
    for folder in "$data/train" "$data/wide" "$out/views"; do  # and who else solves one
        sed -nE 's/^\{"path": "([^"]+)".*"kind": "(expert|noisy)".*/\1/p' "$folder/index.jsonl" |
            while IFS= read -r path; do echo "$folder/$path"; done
    done
} | sort > "$out/tasks.txt"
learn invert "$out/model" "$keyframes" "$out/tasks.txt" --model "$out/appearances-inverse/release"
in_time vjepa2-ac fit-check "$out/held-out" --model "$out/model/release" --out "$out/fit-check" \
    --read-out-from "$data/train" --cache "$out/cache" $fit_check
echo "the model is in $out/model/release, what it knows in $out/fit-check"
