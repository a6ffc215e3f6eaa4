#!/bin/sh
# Uses every world a little, so that Numba compiles its kernels into its cache.
set -eu
exec >/dev/null
export OMP_NUM_THREADS=1
printf 'play b D4\nkata-genmove_analyze w\nfinal_score\n' | fathom gtp rave --simulations 200
echo genmove b | fathom gtp runs/reference/go9-alphago --simulations 8
fathom evaluate runs/reference/maze-ppo --episodes 2
fathom evaluate runs/reference/movie-dqn --episodes 2
