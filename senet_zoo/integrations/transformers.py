"""`register`: transformers' Auto classes and pipelines read every folder of `senet_zoo.save_pretrained`.

`image_classifier` makes a model of transformers' kind of a network in hand, for its Trainer. What transformers saves is
a folder of the zoo again. A folder whose network timm has too is timm's for transformers, with or without `register`.
"""

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from senet_zoo.data.preprocessing import read_preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.integrations import import_client
from senet_zoo.networks.network import ConvNet
from senet_zoo.weights.config import HUB, MODEL_TYPE, PROCESSOR, PROCESSOR_TYPE
from senet_zoo.weights.save import from_pretrained, save_pretrained

_CLASSES = ("SenetZooConfig", "SenetZooForImageClassification", PROCESSOR_TYPE)


def register() -> None:
    """Make ``AutoModelForImageClassification``, ``AutoImageProcessor`` and ``pipeline`` read the zoo's folders.

    Weights are read by `senet_zoo.from_pretrained`, hashes checked. ``num_labels`` or ``id2label`` of another number
    than the weights' put a fresh classifier in place. A second call changes nothing.

    Raises:
        UsageError: transformers is not installed.
    """
    transformers = import_client("transformers", "transformers")
    config, model, processor = (_classes()[name] for name in _CLASSES)
    transformers.AutoConfig.register(MODEL_TYPE, config, exist_ok=True)
    transformers.AutoModelForImageClassification.register(config, model, exist_ok=True)
    transformers.AutoImageProcessor.register(config, slow_image_processor_class=processor, exist_ok=True)


def image_classifier(network: ConvNet, categories: tuple[str, ...] | None = None) -> Any:
    """A network as transformers' Trainer takes models: pictures and labels in, loss and logits out.

    Args:
        network: of the zoo; it is not copied.
        categories: class names, one a logit; by default those of its weights, where their number fits.

    Raises:
        UsageError: transformers is not installed, or the number of categories is not that of the logits.
    """
    known = None if network.weights is None else network.weights.categories
    names = known if categories is None and len(known or ()) == network.num_classes else categories
    if names is not None and len(names) != network.num_classes:
        raise UsageError(f"categories must name each logit: {network.num_classes} of them, got {len(names)}")
    labels = _numbered(network.num_classes) if names is None else names
    config = _classes()["SenetZooConfig"](
        num_classes=network.num_classes,
        id2label=dict(enumerate(labels)),
        label2id={name: index for index, name in enumerate(labels)},
    )
    return _classes()["SenetZooForImageClassification"](config, network)


def __getattr__(name: str) -> object:
    if name in _CLASSES:
        return _classes()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _classes() -> dict[str, Any]:
    transformers = import_client("transformers", "transformers")
    outputs = import_client("transformers.modeling_outputs", "transformers")

    class SenetZooConfig(transformers.PreTrainedConfig):  # type: ignore[misc, name-defined]
        """The ``config.json`` of a folder, as transformers holds it."""

        model_type = MODEL_TYPE
        attribute_map = {"num_labels": "num_classes"}  # noqa: RUF012 (transformers' own spelling)
        num_classes: int | None = None

    class SenetZooForImageClassification(transformers.PreTrainedModel):  # type: ignore[misc, name-defined]
        """A network of the zoo, as a model of transformers."""

        config_class = SenetZooConfig
        base_model_prefix = "network"
        main_input_name = "pixel_values"
        supports_gradient_checkpointing = True
        accepts_loss_kwargs = False

        def __init__(self, config: Any, network: ConvNet | None = None) -> None:
            if network is None:
                raise UsageError(
                    "a network of the zoo is read from its folder by from_pretrained(folder), or made by "
                    "senet_zoo.integrations.transformers.image_classifier(senet_zoo.create_model(NAME))"
                )
            super().__init__(config)
            self.network = network
            # Tensors bear the zoo's own names, in files as well.
            self.register_state_dict_post_hook(_without_prefix)
            self.register_load_state_dict_pre_hook(_with_prefix)

        @classmethod
        def from_pretrained(
            cls,
            pretrained_model_name_or_path: str | Path,
            *,
            config: Any = None,
            dtype: str | torch.dtype | None = None,
            revision: str | None = None,
            device_map: object = None,
            subfolder: str = "",
            ignore_mismatched_sizes: bool = True,
            local_files_only: bool = False,
            trust_remote_code: bool | None = None,
            adapter_kwargs: Mapping[str, object] | None = None,
        ) -> Any:
            """The network of a folder, or of a hub's repository, in eval mode.

            Args:
                pretrained_model_name_or_path: a folder of `senet_zoo.save_pretrained`, or ``org/name``.
                config: its config, perhaps with another number of labels.
                dtype: of the parameters; float32 for None and ``"auto"``.
                revision: of the hub's repository.
                device_map: None; the zoo's networks stay on one device.
                subfolder: empty.
                ignore_mismatched_sizes: whether another number of labels may replace the classifier.
                local_files_only: False; offline, the zoo takes what its cache holds.
                trust_remote_code: passed over, because no code is loaded.
                adapter_kwargs: no more than the revision, which transformers puts there where peft is installed.

            Raises:
                UsageError: an option that the zoo does not take.
                WeightsError: the weights could not be had, or are not what they should be.
            """
            refused = {"device_map": device_map, "subfolder": subfolder, "local_files_only": local_files_only}
            adapter = {name: value for name, value in (adapter_kwargs or {}).items() if name != "revision"}
            for option, value in {**refused, **adapter}.items():
                if value:
                    raise UsageError(f"a network of the zoo is read without {option}, got {value!r}; drop it")
            address = str(pretrained_model_name_or_path)
            if not Path(address).is_dir():
                address = f"{HUB}{address}" + (f"@{revision}" if revision else "")
            kind = dtype if isinstance(dtype, torch.dtype) else torch.float32
            network = from_pretrained(address, dtype=kind)
            labels = None if config is None else config.id2label
            wanted = network.num_classes if config is None else len(labels or ()) or config.num_classes
            if wanted != network.num_classes:
                if not ignore_mismatched_sizes:
                    raise UsageError(
                        f"{address} has {network.num_classes} classes, got {wanted}; ignore_mismatched_sizes=True puts "
                        f"a fresh classifier in place"
                    )
                network.reset_classifier(wanted)
            return image_classifier(network, None if not labels else tuple(labels.values())).eval()

        def save_pretrained(
            self,
            save_directory: str | Path,
            is_main_process: bool = True,
            state_dict: dict[str, Tensor] | None = None,
            push_to_hub: bool = False,
        ) -> None:
            """Write a folder of the zoo, as `senet_zoo.save_pretrained` does.

            Args:
                save_directory: the folder.
                is_main_process: whether to write at all.
                state_dict: tensors to save in place of the network's own.
                push_to_hub: False; `senet_zoo.push_to_hub` publishes a folder.

            Raises:
                UsageError: ``push_to_hub`` is set.
            """
            if push_to_hub:
                raise UsageError("save_pretrained(push_to_hub=True) is senet_zoo.push_to_hub(folder, ...) in the zoo")
            if not is_main_process:
                return
            network = self.network
            if state_dict is not None:
                network = deepcopy(network)
                network.load_state_dict(state_dict)
            names = tuple(self.config.id2label.values())
            known = names != _numbered(network.num_classes)
            save_pretrained(network, save_directory, categories=names if known else None)

        def forward(self, pixel_values: Tensor, labels: Tensor | None = None, return_dict: bool | None = None) -> Any:
            """Loss, where labels are given, and logits."""
            logits = self.network(pixel_values)
            loss = None if labels is None else F.cross_entropy(logits, labels)
            if return_dict is False:
                return tuple(part for part in (loss, logits) if part is not None)
            return outputs.ImageClassifierOutput(loss=loss, logits=logits)

        def _set_gradient_checkpointing(self, enable: bool = True, gradient_checkpointing_func: object = None) -> None:
            self.network.set_grad_checkpointing(enable)

    class SenetZooImageProcessor(transformers.BaseImageProcessor):  # type: ignore[misc, name-defined]
        """From pictures to the input, as the ``preprocessing`` in ``preprocessor_config.json`` says."""

        model_input_names = ["pixel_values"]  # noqa: RUF012 (transformers' own spelling)

        def __init__(self, preprocessing: Mapping[str, object], image_processor_type: str = PROCESSOR_TYPE) -> None:
            super().__init__()
            self.preprocessing = dict(preprocessing)
            self._transforms = read_preprocessing(self.preprocessing, PROCESSOR).transforms()

        def preprocess(self, images: Any, return_tensors: str = "pt") -> Any:
            """One picture or several: PIL, or uint8 tensors (C, H, W)."""
            pictures = images if isinstance(images, list | tuple) else [images]
            stacked = torch.stack([self._transforms(picture) for picture in pictures])
            return transformers.BatchFeature({"pixel_values": stacked}, tensor_type=return_tensors)

        def to_dict(self) -> dict[str, object]:
            """What stands in ``preprocessor_config.json``."""
            return {"image_processor_type": PROCESSOR_TYPE, "preprocessing": self.preprocessing}

    for made in (SenetZooConfig, SenetZooForImageClassification, SenetZooImageProcessor):
        made.__qualname__ = made.__name__  # pickled by a name that `__getattr__` finds
    return {each.__name__: each for each in (SenetZooConfig, SenetZooForImageClassification, SenetZooImageProcessor)}


def _numbered(count: int) -> tuple[str, ...]:
    """What transformers calls classes without names."""
    return tuple(f"LABEL_{index}" for index in range(count))


def _without_prefix(model: Any, tensors: dict[str, Tensor], prefix: str, metadata: object) -> None:
    for name in [name for name in tensors if name.startswith(f"{prefix}network.")]:
        tensors[prefix + name.removeprefix(f"{prefix}network.")] = tensors.pop(name)


def _with_prefix(model: Any, tensors: dict[str, Tensor], prefix: str, *others: object) -> None:
    for name in [name for name in tensors if name.startswith(prefix) and not name.startswith(f"{prefix}network.")]:
        tensors[f"{prefix}network.{name.removeprefix(prefix)}"] = tensors.pop(name)
