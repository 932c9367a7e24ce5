"""Train fashion_mobilenet: a MobileNetV2-type network on Fashion-MNIST, then export it to ONNX.

    pip install torch==2.13.0 onnx onnxruntime
    python train.py --data /usr/share/datasets/fashion-mnist --out model.onnx

The data is Debian's package `dataset-fashion-mnist` (MIT). The network follows Sandler et al.,
"MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, scaled to 28 x 28 pixels.
The test images are looked at once, after the last epoch; nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

# (expansion, channels, blocks, stride) in the paper's notation, table 2.
STAGES = ((2, 32, 1, 2), (3, 48, 2, 1), (4, 96, 1, 2), (4, 96, 3, 1))
STEM, HEAD, CLASSES = 16, 320, 10


def conv_bn(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(cout),
    ]
    return nn.Sequential(*layers, *([nn.ReLU6(inplace=True)] if act else []))


class InvertedResidual(nn.Module):
    def __init__(self, cin: int, cout: int, stride: int, expansion: int) -> None:
        super().__init__()
        mid = cin * expansion
        self.residual = stride == 1 and cin == cout
        self.body = nn.Sequential(
            conv_bn(cin, mid, 1), conv_bn(mid, mid, 3, stride, groups=mid), conv_bn(mid, cout, 1, act=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class FashionMobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn(1, STEM, 3)]
        cin = STEM
        for expansion, cout, blocks, stride in STAGES:
            for block in range(blocks):
                layers.append(InvertedResidual(cin, cout, stride if block == 0 else 1, expansion))
                cin = cout
        layers += [conv_bn(cin, HEAD, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(HEAD, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def read_idx(path: Path) -> np.ndarray:
    raw = gzip.decompress(path.read_bytes())
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def load(root: Path, split: str) -> tuple[Tensor, Tensor]:
    """Return images in [-1, 1] (what conf/data/fashion_mnist.yaml declares) and labels."""
    images = torch.from_numpy(read_idx(root / f"{split}-images-idx3-ubyte.gz").copy()).float()
    labels = torch.from_numpy(read_idx(root / f"{split}-labels-idx1-ubyte.gz").copy()).long()
    return ((images / 255 - 0.5) / 0.5)[:, None], labels


def augment(x: Tensor) -> Tensor:
    """Flip, shift by up to 2 pixels and erase one square, each image on its own."""
    n, _, height, width = x.shape
    padded = functional.pad(x, (2, 2, 2, 2), value=-1.0)
    dy, dx = torch.randint(0, 5, (2, n))
    rows = dy[:, None] + torch.arange(height)
    cols = dx[:, None] + torch.arange(width)
    flip = torch.rand(n) < 0.5
    cols = torch.where(flip[:, None], cols.flip(1), cols)
    out = padded[torch.arange(n)[:, None, None], 0, rows[:, :, None], cols[:, None, :]]
    cy, cx = torch.randint(0, height, (2, n, 1, 1))
    half = torch.randint(2, 6, (n, 1, 1))
    near = (torch.arange(height)[None, :, None] - cy).abs() < half
    near = near & ((torch.arange(width)[None, None, :] - cx).abs() < half)
    near &= torch.rand(n, 1, 1) < 0.5
    return out.masked_fill(near, -1.0)[:, None]


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    hits = sum(int((model(x).argmax(1) == y).sum()) for x, y in zip(images.split(500), labels.split(500), strict=True))
    return hits / len(labels)


def train(args: argparse.Namespace) -> nn.Module:
    torch.manual_seed(args.seed)
    images, labels = load(args.data, "train")
    model = FashionMobileNet().to(memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    steps = args.epochs * (len(images) // args.batch)
    optimizer = torch.optim.SGD(model.parameters(), args.lr, 0.9, weight_decay=4e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.lr, steps, pct_start=0.15, div_factor=10, final_div_factor=1000
    )
    started = time.monotonic()
    for epoch in range(args.epochs):
        model.train()
        for batch in torch.randperm(len(images))[: len(images) // args.batch * args.batch].split(args.batch):
            x = augment(images[batch]).to(memory_format=torch.channels_last)
            loss = functional.cross_entropy(model(x), labels[batch], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for mean, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
                    mean.lerp_(new, 0.002) if mean.is_floating_point() else mean.copy_(new)
        print(f"epoch {epoch + 1}/{args.epochs} loss {loss.item():.3f} {time.monotonic() - started:.0f} s", flush=True)
        torch.save(average.state_dict(), args.out.with_suffix(".pt"))
    return average


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=Path, default=Path("model.onnx"))
    parser.add_argument("--epochs", type=int, default=28)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = train(args).eval().to(memory_format=torch.contiguous_format)
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 28, 28),),
        str(args.out),
        dynamo=False,
        opset_version=17,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
    )
    print(f"test accuracy {accuracy(model, *load(args.data, 't10k')):.4f}", flush=True)


if __name__ == "__main__":
    main()
