"""Networks that `senet_zoo.export` wrote, and what they see in pictures, without torch.

Nothing in this room, nor in what it imports, imports torch or torchvision: numpy, Pillow and one runtime do the work.
"""
