"""all-MiniLM-L6-v2 (BERT, 6 layers of 384) with what its authors put behind it: mean pooling and a length of one.

Names of modules are those of the weights. Without dropout: it is here to be run, not trained.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

WORDS, POSITIONS, HIDDEN, INNER, HEADS, LAYERS = 30522, 512, 384, 1536, 12, 6
EPSILON = 1e-12  # of LayerNorm, as in BERT


class MiniLM(nn.Module):
    """input_ids and attention_mask, int64 [batch, length] -> one vector of length 1 for each text, [batch, 384]."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer() for _ in range(LAYERS))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(HIDDEN, HIDDEN)})  # lies in the file; embeddings don't use it

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.embeddings(input_ids)
        attended = attention_mask[:, None, None, :].bool()  # for each head and query
        for layer in self.encoder["layer"]:
            hidden = layer(hidden, attended)
        weights = attention_mask[:, :, None].to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return functional.normalize(mean, dim=1)


class Embeddings(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(WORDS, HIDDEN)
        self.position_embeddings = nn.Embedding(POSITIONS, HIDDEN)
        self.token_type_embeddings = nn.Embedding(2, HIDDEN)
        self.LayerNorm = nn.LayerNorm(HIDDEN, EPSILON)
        self.register_buffer("position_ids", torch.arange(POSITIONS)[None])

    def forward(self, input_ids: Tensor) -> Tensor:
        positions = self.position_embeddings(self.position_ids[:, : input_ids.shape[1]])
        of_one_text = self.token_type_embeddings.weight[0]
        return self.LayerNorm(self.word_embeddings(input_ids) + positions + of_one_text)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": SelfAttention(), "output": Output(HIDDEN)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(HIDDEN, INNER)})
        self.output = Output(INNER)

    def forward(self, hidden: Tensor, attended: Tensor) -> Tensor:
        hidden = self.attention["output"](self.attention["self"](hidden, attended), hidden)
        return self.output(functional.gelu(self.intermediate["dense"](hidden)), hidden)


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(HIDDEN, HIDDEN) for _ in range(3))

    def forward(self, hidden: Tensor, attended: Tensor) -> Tensor:
        batch, length, _ = hidden.shape
        query, key, value = (
            made(hidden).view(batch, length, HEADS, HIDDEN // HEADS).transpose(1, 2)
            for made in (self.query, self.key, self.value)
        )
        found = functional.scaled_dot_product_attention(query, key, value, attended)
        return found.transpose(1, 2).reshape(batch, length, HIDDEN)


class Output(nn.Module):
    """A linear layer whose result is added to what went in before."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, HIDDEN)
        self.LayerNorm = nn.LayerNorm(HIDDEN, EPSILON)

    def forward(self, found: Tensor, before: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(found) + before)
