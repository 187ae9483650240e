"""The peer of bench_train in PyTorch; a script for an interpreter that has torch and no srgan.

    <torch python> tests/benchmarks/train_torch.py '<job as JSON>'

The same layers, batch, losses, clipping, Adam and moving average as ours, written as one writes
them in PyTorch: channels-last, autocast for bfloat16, D's step and then G's. Prints one line of
JSON: seconds of each step after the warm-up, version, device.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Job = dict[str, Any]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Block(nn.Module):
    def __init__(self, config: Job) -> None:
        super().__init__()
        width, normalised = config["filters"], config["norm"] == "batch"
        self.scale = config["residual_scale"]
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=not normalised),
            nn.BatchNorm2d(width) if normalised else nn.Identity(),
            activation(config),
            nn.Conv2d(width, width, 3, padding=1, bias=not normalised),
            nn.BatchNorm2d(width) if normalised else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return x + (y if self.scale == 1 else y * self.scale)


class Generator(nn.Module):
    """SRResNet and the residual-over-bicubic network, by the same settings as ours."""

    def __init__(self, config: Job) -> None:
        super().__init__()
        width, outer, colours = config["filters"], config["outer_kernel"], config["channels"]
        normalised = config["norm"] == "batch"
        self.scale, self.bicubic = config["scale"], config["base"] == "bicubic"
        self.head = nn.Sequential(
            nn.Conv2d(colours, width, outer, padding=outer // 2), activation(config)
        )
        self.trunk = nn.Sequential(
            *(Block(config) for _ in range(config["blocks"])),
            nn.Conv2d(width, width, 3, padding=1, bias=not normalised),
            nn.BatchNorm2d(width) if normalised else nn.Identity(),
        )
        if config["upsample"] == "shuffle":
            last = nn.Conv2d(width, colours * self.scale**2, 3, padding=1)
            self.tail = nn.Sequential(last, nn.PixelShuffle(self.scale))
        else:
            doubles = []
            for _ in range(self.scale.bit_length() - 1):
                doubles += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2)]
                doubles.append(activation(config))
            last = nn.Conv2d(width, colours, outer, padding=outer // 2)
            self.tail = nn.Sequential(*doubles, last)

    def forward(self, lr: Tensor) -> Tensor:
        first = self.head(lr)
        image = self.tail(self.trunk(first) + first).float()
        if not self.bicubic:
            return torch.tanh(image)
        base = functional.interpolate(lr, scale_factor=self.scale, mode="bicubic")
        return base * 2 - 1 + image


def activation(config: Job) -> nn.Module:
    if config["activation"] == "prelu":
        return nn.PReLU(config["filters"])
    return nn.ReLU(inplace=True)


def discriminator(config: Job, size: int) -> nn.Module:
    """Ledig et al. 2017, figure 4, with the dense head."""
    width = config["filters"]
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    channels = width
    for multiple, stride in ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2)):
        layers += [
            nn.Conv2d(channels, multiple * width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(multiple * width),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        channels = multiple * width
    units = channels * (size // 16) ** 2
    head = [nn.Linear(units, 16 * width), nn.LeakyReLU(0.2, inplace=True), nn.Linear(16 * width, 1)]
    return nn.Sequential(*layers, nn.Flatten(), *head)


class Features(nn.Module):
    """VGG16 to conv5_3 with the project's weights; [-1, 1] in."""

    def __init__(self, path: str) -> None:
        super().__init__()
        file = np.load(path)
        layers: list[nn.Module] = []
        for block, count in enumerate((2, 2, 3, 3, 3), start=1):
            if block > 1:
                layers.append(nn.MaxPool2d(2))
            for index in range(1, count + 1):
                kernel = torch.from_numpy(file[f"conv{block}_{index}/kernel"])
                layer = nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, padding=1)
                layer.weight.data = kernel.permute(3, 2, 0, 1).contiguous()
                layer.bias.data = torch.from_numpy(file[f"conv{block}_{index}/bias"])
                layers += [layer, nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers).requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, signed: Tensor) -> Tensor:
        return self.body(((signed + 1) * 0.5 - self.mean) / self.std)


def ready(module: nn.Module) -> nn.Module:
    return module.to(DEVICE, memory_format=torch.channels_last)


def make_step(job: Job) -> Callable[[], None]:
    torch.manual_seed(0)
    config, batch, size = job["generator"], job["batch"], job["size"]
    generator, average = ready(Generator(config)), ready(Generator(config))
    weights = list(generator.parameters())
    optimizer = torch.optim.Adam(weights, 1e-4)
    small = size // config["scale"]
    lr = torch.rand(batch, 3, small, small, device=DEVICE)
    hr = torch.rand(batch, 3, size, size, device=DEVICE) * 2 - 1
    lr, hr = (x.to(memory_format=torch.channels_last) for x in (lr, hr))
    half = job["precision"] == "bfloat16"

    def autocast() -> torch.autocast:
        return torch.autocast(DEVICE, torch.bfloat16, enabled=half)

    def update(loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        with torch.no_grad():
            ours, theirs = generator.state_dict().values(), average.state_dict().values()
            pairs = [(m, w) for m, w in zip(theirs, ours) if m.is_floating_point()]  # noqa: B905
            torch._foreach_lerp_([m for m, _ in pairs], [w for _, w in pairs], 0.001)

    if job["network"] != "gan":
        distance = functional.l1_loss if job["content"] == "l1" else functional.mse_loss

        def pretrain() -> None:
            with autocast():
                sr = generator(lr)
            loss = distance(sr * 0.5, hr * 0.5)
            update(loss)
            loss.item()

        return pretrain

    critic, features = ready(discriminator(job["discriminator"], size)), ready(Features(job["vgg"]))
    d_optimizer = torch.optim.Adam(critic.parameters(), 1e-4)

    def gan() -> None:
        with autocast():
            sr = generator(lr)
            real, fake = critic(hr), critic(sr.detach())
        on_d = functional.softplus(-real.float()).mean() + functional.softplus(fake.float()).mean()
        d_optimizer.zero_grad(set_to_none=True)
        on_d.backward()
        d_optimizer.step()
        critic.requires_grad_(False)
        with autocast(), torch.no_grad():
            target = features(hr)
        with autocast():
            ours, fooled = features(sr), critic(sr)
        content = functional.mse_loss(ours.float(), target.float())
        update(content + 1e-3 * functional.softplus(-fooled.float()).mean())
        critic.requires_grad_(True)
        content.item()

    return gan


def main() -> None:
    job: Job = json.loads(sys.argv[1])
    step = make_step(job)
    for _ in range(job["warmup"]):
        step()
    seconds = []
    for _ in range(job["steps"]):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    version = f"PyTorch {torch.__version__.split('+')[0]}"
    print(json.dumps({"seconds": seconds, "version": version, "device": device}))


if __name__ == "__main__":
    main()
