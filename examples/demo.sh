#!/bin/sh
# What `make demo` shows: a trained agent's score and video, then fresh ones that learn, then digits.
set -eu
cd "$(dirname "$0")/.."
stamp=$(date +%Y%m%d-%H%M%S)
game=ALE/RoadRunner-v5

echo "1. Pong, by the trained agent that ships with Fathom: its score, and a video"
fathom evaluate runs/reference/pong-dqn --episodes 16
fathom record runs/reference/pong-dqn --folder "runs/demo/pong-$stamp"

echo
echo "2. A fresh agent learns mazes from nothing; it is tested on mazes that it has never seen"
fathom train ppo Fathom/Maze-v0 --name "maze-$stamp" --record

echo
echo "3. A fresh agent learns $game for about three minutes"
fathom train dqn "$game" --name "demo-$stamp" --steps 40_000 --segment-steps 20_000 --epsilon-steps 20_000 \
    --evaluation-episodes 8 --evaluation-epsilon 0.05 --record  # a novice that never errs can stand still for ever

echo
echo "4. A fresh network learns to read digits, and one that ships with Fathom reads a digit from an image"
fathom fit digits --name "digits-$stamp"
python -c "
from PIL import Image
from sklearn.datasets import load_digits
Image.fromarray((load_digits().images[3] * 15.9).astype('uint8')).resize((200, 200)).save('runs/demo/three.png')"
fathom predict runs/reference/digits-cnn runs/demo/three.png

cat <<END

All of it in a browser, live, to compare and to play with:  .venv/bin/fathom watch

What to look at
  runs/demo/pong-$stamp/         a video of the trained agent
  runs/maze-$stamp/videos/       a video of the agent that learnt mazes just now
  runs/demo-$stamp/videos/       a video of the agent that learnt Road Runner
  runs/digits-$stamp/pictures/   the digits that the network is least sure of
  runs/demo-$stamp/run.toml      all that the training was asked to do
  runs/demo-$stamp/metrics.jsonl its curves, and for TensorBoard: .venv/bin/tensorboard --logdir runs

What to try next
  . .venv/bin/activate
  fathom list
  fathom train ppo CartPole-v1 --name cartpole         # solved within a minute
  fathom train ppo Fathom/MemoryMaze-v0 --name sign    # a maze in which the agent must remember
  fathom train dqn examples/corridor.py:Corridor       # a world of your own in one file
  fathom fit examples/my_task.py:Photograph            # a perception task of your own in one file
  fathom train dqn ALE/Pong-v5 --name pong             # stop it with Ctrl-C whenever you like …
  fathom resume pong                                   # … and it goes on from its last checkpoint
END
