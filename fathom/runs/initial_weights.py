"""The initial weights of a training that are another run's: all of them, or its encoder of images.

They are read from the checkpoint alone, so that neither the other run's environment nor its data are needed, and nothing of
it is imported. Optimizer and counters are new.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from agents.agent import Agent, AgentState
from fathom.errors import FathomError
from fathom.runs.checkpoint import Checkpoint
from fathom.runs.config import InitialWeights, RunConfig
from fathom.runs.folder import RunFolder
from fathom.runs.options import TrainOptions
from perception.networks.cnn import CNNS

_FIRST = "cnn.convolutions.0.weight"
_MEAN = "mean_picture"
_OWN = (_MEAN, "low", "span")
"""Buffers of an encoder of images that follow from its own observations."""
_CONVOLUTION = r"cnn\.convolutions\.\d+\.weight"
_FEATURES = "number of features (by the size of an image)"


def initial_state(options: TrainOptions, config: RunConfig, agent: Agent) -> AgentState | None:
    """Load the weights that a new run is to start from into its agent, and note in `config` where they are from.

    Returns:
        The agent's state; None where the run starts from the weights that the agent was built with.

    Raises:
        FathomError: there is no such run, or its weights do not fit.
    """
    if options.weights is not None and options.encoder is not None:
        raise FathomError(
            "--weights are those of a whole network, its encoder included: give these or --encoder"
        )
    reference = options.weights if options.encoder is None else options.encoder
    if reference is None:
        return None
    source = RunFolder.find(reference, options.runs_dir)
    take = _whole_network if options.encoder is None else _encoder
    state, checkpoint = take(source, config, agent)
    agent.load(state)
    config.weights = InitialWeights(
        run=str(source.folder.resolve()), step=checkpoint.progress.steps
    )
    if options.encoder is not None:
        config.weights["part"] = "encoder"
    return agent.state()


def _whole_network(
    source: RunFolder, config: RunConfig, agent: Agent
) -> tuple[AgentState, Checkpoint]:
    """The network that acts, with the moments of its observations; a target network begins as the same."""
    if source.config.learner != config.agent:
        raise FathomError(
            f"{source.folder} is a run of {source.config.learner}, whose weights {config.agent} cannot take"
        )
    checkpoint = source.trained_checkpoint()
    theirs, ours = checkpoint.state.weights, agent.state().weights
    for name in [*ours, *theirs]:
        there, here = (
            f"the shape {tuple(weights[name].shape)}" if name in weights else "nothing"
            for weights in (theirs, ours)
        )
        if there != here:
            raise FathomError(
                f"the weights of {source.folder} do not fit: {name} has {there} in that run and {here} in"
                " this one; observations, actions and the network's hyperparameters must be the same"
            )
    return AgentState(theirs), checkpoint


def _encoder(source: RunFolder, config: RunConfig, agent: Agent) -> tuple[AgentState, Checkpoint]:
    """The agent's own weights, but in its encoder of images those of the other run."""
    checkpoint, state = source.trained_checkpoint(), agent.state()
    _, theirs = _encoder_of(checkpoint.state.weights, str(source.folder))
    place, ours = _encoder_of(state.weights, f"the {config.agent} of {config.environment}")
    if _shapes(theirs) != _shapes(ours):
        there, here = _described(theirs), _described(ours)
        different = [name for name in here if there.get(name) != here[name]]
        if different[:1] == ["cnn"]:  # another number of features follows
            different = [name for name in different if name != _FEATURES]
        sentences = [
            f"{n} is {there.get(n, 'unknown')} there and {here[n]} here" for n in different
        ]
        raise FathomError(
            f"the encoder of {source.folder} does not fit this run: "
            + (", ".join(sentences) or "its tensors have other shapes")
        )
    taken = {place + name: tensor for name, tensor in theirs.items() if name not in _OWN}
    return AgentState(state.weights | taken, {}, state.numbers), checkpoint


def _encoder_of(weights: Mapping[str, Tensor], owner: str) -> tuple[str, dict[str, Tensor]]:
    """What the names of the tensors of a network's `ImageEncoder` begin with, and these tensors by the rest."""
    places = [name.removesuffix(_FIRST) for name in weights if name.endswith(f".{_FIRST}")]
    if len(places) != 1:
        raise FathomError(
            f"{owner} has {len(places)} encoders of images, and --encoder needs one, as agents that observe images and"
            " fits of autoencoder --network convolutional have"
        )
    (place,) = places
    return place, {
        name.removeprefix(place): tensor
        for name, tensor in weights.items()
        if name.startswith(place)
    }


def _shapes(encoder: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Of the weights, and of the mean image whether there is one."""
    return {
        name: () if name == _MEAN else tuple(tensor.shape)
        for name, tensor in encoder.items()
        if name == _MEAN or name not in _OWN
    }


def _described(encoder: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the shapes of an encoder follow from; nothing for tensors that are none's."""
    shapes = _shapes(encoder)
    layers = [shapes[name] for name in sorted(shapes) if re.fullmatch(_CONVOLUTION, name)]
    if {len(shape) for shape in layers} != {4} or len(shapes.get("dense.weight", ())) != 2:
        return {}
    filters = [(shape[0], shape[2]) for shape in layers]
    known = {name: [layer[:2] for layer in cnn] for name, cnn in CNNS.items()}
    return {
        "cnn": next((name for name, cnn in known.items() if cnn == filters), "unknown"),
        "number of channels": layers[0][1],
        "hidden_size": shapes["dense.weight"][0],
        _FEATURES: shapes["dense.weight"][1],
        "layer_norm": "norm.weight" in shapes,
        "subtract_mean_image": _MEAN in shapes,
    }
