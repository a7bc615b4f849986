"""The denoiser learns, what it dreams looks like its class, and rehearsed images are half of a batch."""

import torch

from despur.worlds.digits.denoiser import Denoiser, denoising_loss, dreamt, images_of, learn_images, noisy


def test_it_learns_and_dreams(world):
    images = images_of(world.train.of_class(1))
    fresh, net = Denoiser(), Denoiser()
    learn_images(net, images, torch.Generator().manual_seed(0), steps=150, lr=1e-2)
    test = images_of(world.test.of_class(1))
    assert denoising_loss(net, test) < 0.5 * denoising_loss(fresh, test)
    made, mean = dreamt(net, 32, torch.Generator().manual_seed(1)).mean(0), images.mean(0)
    other = images_of(world.train.of_class(0)).mean(0)
    assert (made - mean).norm() < (made - other).norm()


def test_rehearsal_and_penalty_reach_the_net(world):
    images, old = (images_of(world.train.of_class(c)) for c in (0, 1))
    seen: list[int] = []
    net = Denoiser()
    net.register_forward_pre_hook(lambda m, args: seen.append(len(args[0])))
    learn_images(net, images, torch.Generator(), steps=1, rehearsed=old, batch=5)
    learn_images(net, images, torch.Generator(), steps=1, batch=5)
    assert seen == [10, 5]
    start = {n: p.detach().clone() for n, p in net.named_parameters()}
    learn_images(
        net, images, torch.Generator(), steps=3, penalty=lambda n: 1e6 * sum(p.square().sum() for p in n.parameters())
    )
    assert all((p.abs() <= start[n].abs().max()).all() for n, p in net.named_parameters())


def test_phases_mix_image_and_noise():
    image, noise = torch.ones(1, 1, 8, 8), 2 * torch.ones(1, 1, 8, 8)
    x = noisy(image, noise, torch.tensor([torch.pi / 2]))
    assert torch.allclose(x[:, 0], noise[:, 0], atol=1e-6)
    assert torch.allclose(noisy(image, noise, torch.zeros(1))[:, 0], image[:, 0])
