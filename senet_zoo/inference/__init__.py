"""The same function, faster or elsewhere: `optimize`, `export` and the benchmark."""

from senet_zoo.support.memory import keep_freed_memory as keep_freed_memory
