"""Networks that read speech."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from perception.networks.speech import (
    END,
    AttentionDecoder,
    LogMel,
    SpeechEncoder,
    mask,
    mel_filters,
)


def test_mel_filters_are_triangles_that_become_wider_and_overlap_to_one() -> None:
    filters = mel_filters(10, 501, 8000)
    assert filters.shape == (10, 501)
    assert (filters.amax(dim=1) > 0.9).all()
    centres = filters.argmax(dim=1)
    gaps = centres.diff()
    assert (gaps.diff() > 0).all()
    inner = filters[:, centres[0] : centres[-1]].sum(dim=0)
    assert torch.allclose(inner, torch.ones_like(inner), atol=1e-4)


def test_a_tone_is_in_its_band_whatever_its_loudness() -> None:
    features = LogMel(8000, 20)
    time = torch.arange(8000) / 8000
    tones = torch.stack([torch.sin(2 * torch.pi * hertz * time) for hertz in (300, 1000, 3000)])
    loud, frames = features(20_000 * tones, torch.tensor([8000, 8000, 8000]))
    assert loud.shape == (3, 20, 101)
    assert frames.tolist() == [101] * 3
    middles = 700 * (10 ** (torch.linspace(0, 2146.07, 22)[1:-1] / 2595) - 1)
    nearest = [int((middles - hertz).abs().argmin()) for hertz in (300, 1000, 3000)]
    assert loud[:, :, 50].argmax(dim=1).tolist() == nearest
    quiet, _ = features(200 * tones, torch.tensor([8000, 8000, 8000]))
    torch.testing.assert_close(quiet, loud, atol=1e-3, rtol=0)
    assert loud.min() == 0
    assert loud.max() == 2


def test_padding_and_neighbours_in_the_batch_change_nothing() -> None:
    torch.manual_seed(0)
    features, encoder = LogMel(8000, 20), SpeechEncoder(20, 8, 2, 0.5).eval()
    for norm in encoder.norms:
        torch.nn.init.normal_(norm.bias)  # padding would not be 0 after it
    samples = torch.randn(2, 6000)
    samples[0, 3001:] = 0
    lengths = torch.tensor([3001, 6000])
    spectrograms, frames = features(samples, lengths)
    assert frames.tolist() == [38, 76]
    assert spectrograms[0, :, 38:].abs().max() == 0
    states, sizes = encoder(spectrograms, frames)
    assert sizes.tolist() == [10, 19]
    alone, _ = encoder(spectrograms[:1, :, :38], frames[:1])
    torch.testing.assert_close(states[:1, :10], alone)
    assert states[0, 10:].abs().max() == 0


def test_mask() -> None:
    assert mask(torch.tensor([0, 2]), 3).tolist() == [[False] * 3, [True, True, False]]


def test_the_decoder_s_loss_is_minus_the_probability_of_what_it_writes() -> None:
    torch.manual_seed(1)
    decoder = AttentionDecoder(5, 6, 8)
    keys, lengths = torch.randn(2, 4, 6), torch.tensor([4, 2])
    decoder.symbol.weight.data *= 5
    for row, (text, log, looks) in enumerate(decoder.write(keys, lengths)):
        assert looks.shape == (len(text), lengths[row])
        assert END not in text
        if len(text) > 4:
            continue  # cut before its end
        length = lengths[row : row + 1]
        labels = torch.tensor([text], dtype=torch.int64).reshape(1, -1)
        labels = F.pad(labels, (0, 2))  # padding does not count
        loss = decoder.loss(keys[row : row + 1], length, labels, torch.tensor([len(text)]))
        assert float(loss) * (len(text) + 1) == pytest.approx(-log, abs=1e-4)
        torch.testing.assert_close(looks.sum(dim=1), torch.ones(len(text)))
    assert np.isfinite(log)
