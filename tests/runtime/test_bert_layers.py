"""Layers of BERT in fewer operations."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from sktransfer.runtime import DeviceMemory
from sktransfer.runtime.bert_layers import BertLayer, replace_bert_layers
from sktransfer.runtime.prepacked import PrepackedLinear, prepackable_layers
from sktransfer.runtime.torch_private import prepack

pytestmark = pytest.mark.skipif(prepack is None, reason="no prepacked weights on this processor")

KINDS = ["Bert", "Roberta", "Electra", "Camembert", "XLMRoberta"]


def model(kind: str = "Bert", **settings: Any) -> Any:
    import transformers

    sizes = {"hidden_size": 24, "embedding_size": 24, "intermediate_size": 40}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 3, "vocab_size": 50}
    config = getattr(transformers, f"{kind}Config")(**sizes | settings)
    torch.manual_seed(0)
    made = getattr(transformers, f"{kind}Model")(config).eval()
    with torch.no_grad():  # as they come, biases are zero and norms do nothing
        for part in made.parameters():
            part.add_(torch.randn_like(part), alpha=0.1)
    return made


def prepacked(whole: nn.Module) -> nn.Module:
    """A copy of `whole` with prepacked weights, and its layers as they were."""
    assert prepack is not None
    memo: dict[int, Any] = {
        id(layer): PrepackedLinear(layer, prepack(layer.weight.data))
        for layer in prepackable_layers([whole])
    }
    return copy.deepcopy(whole, memo)


def replaced(whole: nn.Module) -> list[BertLayer]:
    return [part for part in whole.modules() if isinstance(part, BertLayer)]


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_the_same_to_the_last_bit(kind: str) -> None:
    whole = model(kind)
    before, after = prepacked(whole), DeviceMemory().prepacked(whole, [whole])
    assert len(replaced(after)) == 2
    assert not replaced(whole)
    ids = torch.randint(5, 50, (3, 7))
    masks = torch.ones_like(ids), (torch.arange(7) < torch.tensor([[7], [2], [4]])).long()
    with torch.inference_mode():
        for mask in masks:
            expected = before(ids, mask)[0][mask.bool()]
            assert torch.equal(after(ids, mask)[0][mask.bool()], expected)
            torch.testing.assert_close(whole(ids, mask)[0][mask.bool()], expected)


def test_a_text_does_not_depend_on_those_beside_it() -> None:
    whole = model()
    layers = DeviceMemory().prepacked(whole, [whole])
    ids = torch.randint(5, 50, (40, 9))
    with torch.inference_mode():
        together = layers(ids)[0]
        for n_texts in (1, 2, 3, 7, 40):
            assert torch.equal(layers(ids[:n_texts])[0], together[:n_texts])


def test_a_tuple_stays_a_tuple() -> None:
    class Wrapped(nn.Module):
        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.attention, self.output = layer.attention, layer.output
            self.intermediate, self.calls = layer.intermediate, (layer,)

        def forward(self, hidden_states: Any, attention_mask: Any) -> tuple[Any, ...]:
            found = self.calls[0](hidden_states, attention_mask)
            return found if isinstance(found, tuple) else (found,)

    layer = prepacked(model()).encoder.layer[0]  # type: ignore[union-attr,index]
    blocks = nn.ModuleList([Wrapped(layer)])
    states = torch.randn(2, 5, 24)
    with torch.no_grad():
        (expected,) = blocks[0](states, None)
        replace_bert_layers(blocks)
        (found,) = blocks[0](states, None)
    assert isinstance(blocks[0], BertLayer)
    assert torch.equal(found, expected)


def test_what_a_layer_is_given_besides_reaches_it() -> None:
    # RoFormer rotates its queries and keys by what its layers are given in a third argument.
    import transformers

    sizes = {"hidden_size": 24, "embedding_size": 24, "intermediate_size": 40}
    config = transformers.RoFormerConfig(
        num_hidden_layers=2, num_attention_heads=3, vocab_size=50, **sizes
    )
    whole = transformers.RoFormerModel(config).eval()
    after = DeviceMemory().prepacked(whole, [whole])
    ids = torch.randint(5, 50, (3, 7))
    with torch.inference_mode():
        torch.testing.assert_close(after(ids)[0], prepacked(whole)(ids)[0])


def test_a_layer_with_further_inputs_computes_itself() -> None:
    whole = model()

    class Shifted(type(whole.encoder.layer[0])):  # type: ignore[misc]
        def forward(
            self, hidden_states: Any, attention_mask: Any = None, shift: Any = None, **kwargs: Any
        ) -> Any:
            moved = hidden_states if shift is None else hidden_states + shift[0]
            return super().forward(moved, attention_mask)

    whole.encoder.layer[0].__class__ = Shifted
    before, after = prepacked(whole), DeviceMemory().prepacked(whole, [whole])
    old, new = before.encoder.layer[0], after.encoder.layer[0]  # type: ignore[union-attr,index]
    assert isinstance(new, BertLayer)
    states, shift = torch.randn(2, 5, 24), (torch.ones(24),)
    with torch.no_grad():
        moved, found = old(states, None, shift), new(states, None, shift=shift)
        still = old(states, None)
    tensors = [part[0] if isinstance(part, tuple) else part for part in (moved, found, still)]
    assert torch.equal(tensors[1], tensors[0])
    assert not torch.allclose(tensors[1], tensors[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_callers_defaults_play_no_part(dtype: torch.dtype) -> None:
    whole = model()
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        with torch.device("meta"):
            after = DeviceMemory().prepacked(whole, [whole])
    finally:
        torch.set_default_dtype(before)
    assert len(replaced(after)) == 2


def hooked(whole: Any) -> Any:
    whole.encoder.layer[0].attention.register_forward_hook(lambda *_: None)
    return whole


def with_adapter(whole: Any) -> Any:
    whole.encoder.layer[0].adapter = nn.Linear(24, 24)
    return whole


def with_other_norm(whole: Any) -> Any:
    class Norm(nn.LayerNorm):
        pass

    whole.encoder.layer[0].output.LayerNorm = Norm(24)
    return whole


def with_other_forward(whole: Any) -> Any:
    class Doubled(type(whole.encoder.layer[0])):  # type: ignore[misc]
        def forward(self, hidden_states: Any, attention_mask: Any, **kwargs: Any) -> Any:
            found = super().forward(hidden_states, attention_mask, **kwargs)
            return (2 * found[0],) if isinstance(found, tuple) else 2 * found

    whole.encoder.layer[0].__class__ = Doubled
    return whole


def with_positions(whole: Any) -> Any:
    class Placed(type(whole.encoder.layer[0])):  # type: ignore[misc]
        def forward(self, hidden_states: Any, attention_mask: Any, **kwargs: Any) -> Any:
            moved = hidden_states + kwargs["position_ids"][..., None]
            return super().forward(moved, attention_mask)

    whole.encoder.layer[0].__class__ = Placed
    return whole


def with_other_inputs(whole: Any) -> Any:
    class Placed(type(whole.encoder.layer[0])):  # type: ignore[misc]
        def forward(self, hidden_states: Any, boxes: Any, attention_mask: Any = None) -> Any:
            raise AssertionError("is not called")

    whole.encoder.layer[0].__class__ = Placed
    return whole


CHANGES = [hooked, with_adapter, with_other_norm, with_other_forward]
CHANGES += [with_positions, with_other_inputs]


@pytest.mark.parametrize("changed", CHANGES)
def test_other_layers_stay(changed: Any) -> None:
    whole = changed(model())
    after = DeviceMemory().prepacked(whole, [whole])
    layers = after.encoder.layer
    assert [isinstance(layer, BertLayer) for layer in layers] == [False, True]


@pytest.mark.parametrize("kind", ["DistilBert", "Albert", "MPNet"])
def test_other_architectures_stay(kind: str) -> None:
    settings = {"dim": 24, "n_heads": 3, "hidden_dim": 40} if kind == "DistilBert" else {}
    whole = model(kind, **settings)
    after = DeviceMemory().prepacked(whole, [whole])
    assert any(isinstance(part, PrepackedLinear) for part in after.modules())
    assert not replaced(after)


def test_decoders_stay() -> None:
    whole = model(is_decoder=True)
    assert not replaced(DeviceMemory().prepacked(whole, [whole]))
