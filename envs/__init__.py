"""Fathom's environments, for Gymnasium.

Importing this package registers them: `gymnasium.make("envs:Fathom/Maze-v0")` works anywhere.
"""

import gymnasium

for _id, _single, _vector in (
    ("Fathom/Maze-v0", "envs.maze.maze:Maze", "envs.maze.vector:MazeVector"),
    ("Fathom/MemoryMaze-v0", "envs.maze.maze:MemoryMaze", "envs.maze.vector:MemoryMazeVector"),
    (
        "Fathom/Dialogue-v0",
        "envs.dialogue.dialogue:Dialogue",
        "envs.dialogue.vector:DialogueVector",
    ),
    ("Fathom/TCBot-v0", "envs.dialogue.tc_bot:TCBot", "envs.dialogue.tc_bot_vector:TCBotVector"),
):
    gymnasium.register(_id, entry_point=_single, vector_entry_point=_vector)

for _id, _arguments in (
    ("Fathom/Go-v0", {}),
    ("Fathom/Go9-v0", {"size": 9}),
    ("Fathom/Go19-v0", {"size": 19}),
):
    gymnasium.register(
        _id,
        entry_point="envs.go.go:Go",
        vector_entry_point="envs.go.vector:GoVector",
        kwargs=_arguments,
    )

DATA_SCHEMES = {
    "domain": "envs.dialogue.sentences:dialogue_data",
    "episodes": "envs.episodes:episodes_data",
    "frames": "envs.frames:frames_data",
}
"""Data that worlds offer to perception by `--data SCHEME:NAME`: scheme → "module:provider"."""
