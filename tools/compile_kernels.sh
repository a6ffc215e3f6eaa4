#!/bin/sh
# Uses every world a little, so that Numba compiles its kernels into its cache.
set -eu
exec >/dev/null
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
export OMP_NUM_THREADS=1
printf 'play b D4\nkata-genmove_analyze w\nfinal_score\n' | fathom gtp rave --simulations 200
fathom match playout runs/reference/go9-alphago --games 2 --simulations 4 --folder "$runs/games"
fathom train dqn Fathom/Maze-v0 --steps 400 --learning-starts 100 --evaluation-episodes 1 --threads 1 --runs-dir "$runs"
fathom train dqn Fathom/Dialogue-v0 --steps 400 --learning-starts 100 --evaluation-episodes 1 --threads 1 --runs-dir "$runs"
fathom fit word-vectors --epochs 1 --threads 1 --runs-dir "$runs"
