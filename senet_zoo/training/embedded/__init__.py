"""How the CIFAR-10 checkpoints inside the package were trained; `senet_zoo.training.fit` is for everything else."""
