#!/bin/sh
# From nothing to a trained agent, its score and its film, in under a minute on any machine.
set -eu
cd "$(dirname "$0")/.."
name="corridor-$(date +%Y%m%d-%H%M%S)"

fathom train dqn examples/corridor.py:Corridor --name "$name" --steps 10_000 \
    --learning-starts 500 --epsilon-steps 2_000 --replay-capacity 10_000 \
    --target-every 100 --learning-rate 1e-3 --hidden 64 --threads 1
fathom evaluate "$name" --episodes 100
fathom record "$name"
