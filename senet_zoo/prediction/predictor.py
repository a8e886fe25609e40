"""`predict`: pictures in, classes out, in one call; `Predictor`: the same network for many pictures."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from senet_zoo.data.labels import numbered_classes
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError, WeightsError
from senet_zoo.networks import registry
from senet_zoo.networks.dimensions import require_pictures
from senet_zoo.networks.network import ConvNet
from senet_zoo.prediction.pipeline import Failure, Prediction, classify_pictures, require_counts
from senet_zoo.prediction.sources import Source
from senet_zoo.support.machine import find_device
from senet_zoo.weights.catalogue import Weights, default_preprocessing, get_weights
from senet_zoo.weights.config import FolderConfig, SavedTask
from senet_zoo.weights.create import create_model, is_place, model_at
from senet_zoo.weights.task_folders import TaskConfig, task_at

if TYPE_CHECKING:
    from PIL.Image import Image

EMBEDDED = "se_resnet20.cifar10"
"""The checkpoint inside the package, which needs neither internet nor cache; it is for pictures of 32 pixels."""

PHOTOGRAPHS = "se_mobilenet.imagenette"
"""The one for photographs, also in the package."""

TOP, PICTURES = 5, 32
"""Classes in each answer, and pictures at once, where nobody chose other numbers."""

SMALL = 48  # pixels of the longer side, up to which a picture is taken for one of those that `EMBEDDED` knows

_log = logging.getLogger("senet_zoo")


def classify(
    model: nn.Module,
    sources: "Source | Iterable[Source]",
    preprocessing: Preprocessing,
    categories: Sequence[str],
    *,
    top: int = 5,
    batch: int = 32,
    workers: int = 4,
    name: str = "",
) -> Iterator[Prediction | Failure]:
    """Classify pictures, one result each in the order given; one that cannot be read does not stop the others.

    The network runs on the device and in the dtype of its parameters. Memory does not grow with the number of
    pictures: ``sources`` is read as needed, and at most three batches of decoded pictures wait.

    Args:
        model: in eval mode; (N, 3, size, size) -> (N, len(categories)) logits.
        sources: files, folders and ``file:`` URLs, as `find_pictures` reads them, and pictures in memory; or one.
        preprocessing: the one that the model's weights were trained with.
        categories: a label for each logit.
        top: classes in each prediction, or all of them where the model has fewer.
        batch: pictures that the network sees at once.
        workers: threads that decode pictures.
        name: of the network, in the predictions.

    Raises:
        UsageError: a number below 1, a model in training mode, or labels that do not fit its logits.
        WeightsError: the network gives no finite scores.

    Example:
        >>> import senet_zoo
        >>> model = senet_zoo.create_model("se_resnet20", pretrained=True)
        >>> weights = senet_zoo.get_weights("se_resnet20")
        >>> results = classify(model, ["samples/"], weights.row.preprocessing, weights.categories)
    """
    require_counts(top, batch, workers)
    if model.training:
        raise UsageError("predict needs a model in eval mode, and this one is in training mode: call model.eval()")
    if getattr(model, "num_classes", None) == 0:
        raise UsageError(
            "predict names classes, and this network has none: it answers features (num_classes=0)",
            python=": call model(x), or senet_zoo.embed for many pictures",
            command_line=": senet-zoo embed writes them",
        )
    answer = partial(_classify, model, categories=categories, top=top, name=name)
    return classify_pictures(sources, preprocessing.transforms(), answer, batch=batch, workers=workers)


@torch.inference_mode()
def _classify(
    model: nn.Module, pictures: Sequence[tuple[str, Tensor]], categories: Sequence[str], top: int, name: str
) -> list[Prediction]:
    like = next(model.parameters())
    x = torch.stack([tensor for _, tensor in pictures]).to(like.device, like.dtype)  # (N, 3, size, size)
    logits = model(x).float()  # (N, classes)
    if logits.shape[1] != len(categories):
        raise UsageError(
            f"each logit needs a label: the model has {logits.shape[1]} logits, got {len(categories)} labels"
        )
    if not logits.isfinite().all():
        raise WeightsError(
            f"scores must be finite, and those of {pictures[0][0]} or a picture in its batch are not: "
            "use float32, and check the weights",
            python=" with senet_zoo.verify",
            command_line=" with senet-zoo verify",
        )
    best = logits.softmax(1).topk(min(top, len(categories)))  # (N, top)
    return [
        Prediction(path, tuple((categories[i], p) for i, p in zip(indices, row, strict=True)), name)
        for (path, _), indices, row in zip(pictures, best.indices.tolist(), best.values.tolist(), strict=True)
    ]


class Predictor:
    """A network that answers pictures: loaded once, with its preprocessing and the names of its classes.

    A classifier answers with `Prediction.classes`, a detector with `Prediction.boxes`, a segmenter with
    `Prediction.pixels`. A file of weights may say how pictures are prepared and what the classes are called. If it does
    not, a warning says so: pictures are prepared as for the model's published weights, and classes are numbered,
    because another data set may have as many.

    Args:
        model: ``model`` or ``model.tag``, for published weights; a saved folder, a file of weights or ``hf://org/name``;
            or a network of the zoo in eval mode, such as a detector of `senet_zoo.detection`. Default: the CIFAR-10
            network inside the package.
        weights: a folder, a file or ``hf://org/name`` for the ``model``, which may then be left out where they name it.
        device: such as ``cpu`` or ``cuda:1``; default: the first CUDA device, or the CPU if there is none.

    Attributes:
        name: ``model.tag``, or the model and where its weights lie.
        model: the network, in eval mode.
        preprocessing: from a picture to the network's input; None for detectors and segmenters, which take pictures of
            any size.
        categories: a label for each logit; of a detector, for each label from 1.

    Raises:
        UsageError: no such device, or as in `senet_zoo.create_model`.
        WeightsError: the weights cannot be fetched, or are not the published ones.

    Example:
        >>> predictor = Predictor("se_mobilenet")
        >>> predictor.preprocessing.size
        128
    """

    def __init__(
        self,
        model: str | Path | nn.Module | None = None,
        *,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self.preprocessing: Preprocessing | Any = None
        self.categories: tuple[str, ...]
        self.model: ConvNet | Any
        if isinstance(model, nn.Module) and not isinstance(model, ConvNet):
            if weights is not None or device is not None:
                raise UsageError("a network has its weights and its device already: leave weights and device out")
            self._describe_task(model, "network")
            return
        if isinstance(model, ConvNet):
            if weights is not None or device is not None:
                raise UsageError("a network has its weights and its device already: leave weights and device out")
            found = registry.model_of(model.spec)
            self.model, self.name = model, found[0].name if found else "network"
            self._describe(found[0].name if found else None)
            return
        on = find_device(device)
        if isinstance(model, Path):
            model = str(model)
        if weights is None and model is not None and is_place(model):
            model, weights = None, model
        if weights is not None and model is not None and is_place(model):
            raise UsageError(f"weights come from one place, got {model!r} and {str(weights)!r}: name one of them")
        if weights is not None and task_at(weights) is not SavedTask.CLASSIFICATION:
            self._load_task(weights, model, on)
            return
        if weights is None:
            published = get_weights(EMBEDDED if model is None else model)
            self.name = published.name
            self.model = create_model(published.name, pretrained=True, device=on)
            self._describe(published.row.model)
            return
        model = model_at(weights) if model is None else model
        self.name = f"{model} from {weights}"
        self.model = create_model(model, weights=weights, device=on)
        self._describe(model)

    def _load_task(self, place: str | Path, model: str | None, device: torch.device) -> None:
        """Take a detector or a segmenter from its folder."""
        if task_at(place) is SavedTask.DETECTION:
            from senet_zoo.detection.saved_folder import from_pretrained
        else:
            from senet_zoo.segmentation.saved_folder import from_pretrained

        network = from_pretrained(place, device=device)
        config: Any = network.weights
        if model is not None and registry.find(model).name != config.backbone:
            raise UsageError(f"{place} holds a network on {config.backbone}, not on {model}: leave the model out")
        self._describe_task(network, f"{config.kind.value} on {config.backbone} from {place}")

    def _describe_task(self, network: nn.Module, name: str) -> None:
        config: object = getattr(network, "weights", None)
        if not isinstance(config, TaskConfig):
            raise UsageError(
                f"a Predictor takes networks and detectors of the zoo, got {type(network).__name__}; a network of "
                "another library goes to senet_zoo.prediction.predictor.classify with its preprocessing"
            )
        if network.training:
            raise UsageError("predict needs a model in eval mode, and this one is in training mode: call model.eval()")
        own: Any = config
        self.model, self.name, self.categories = network, name, own.classes

    def _describe(self, model: str | None) -> None:
        """Take preprocessing and class names from the weights; say what they do not say."""
        require_pictures(self.model.spec.dimensions, "predicting from pictures")
        record = self.model.weights
        known = record if isinstance(record, Weights | FolderConfig) else None
        preprocessing = None if known is None else known.preprocessing
        names = None if known is None else known.categories
        if len(names or ()) != self.model.num_classes:
            names = None
        if preprocessing is None and model is None:
            raise UsageError("nothing says how this network's pictures are prepared: use classify with preprocessing")
        unknown = ["how pictures are prepared"] * (preprocessing is None) + ["what its classes are called"] * (
            not names
        )
        if unknown:
            _log.warning(
                "%s does not say %s: %s. A folder that says both is what train and save_pretrained write, if told",
                self.name,
                " or ".join(unknown),
                f"pictures are prepared as {model}'s usually are" * (preprocessing is None)
                + " and " * (len(unknown) == 2)
                + "classes are numbered" * (not names),
            )
        self.preprocessing = preprocessing or default_preprocessing(str(model))
        self.categories = names or numbered_classes(self.model.num_classes)

    def __repr__(self) -> str:
        taken = f"of {self.preprocessing.size} pixels" if self.preprocessing else "of any size"
        return f"Predictor({self.name!r}: {len(self.categories)} classes, pictures {taken})"

    def predict(
        self,
        pictures: "Source | Iterable[Source]",
        *,
        top: int | None = None,
        batch: int | None = None,
        workers: int = 4,
        threshold: float | None = None,
    ) -> list[Prediction]:
        """What the network sees in pictures; arguments and errors as in `senet_zoo.predict`."""
        return _all(self.stream(pictures, top=top, batch=batch, workers=workers, threshold=threshold))

    def stream(
        self,
        pictures: "Source | Iterable[Source]",
        *,
        top: int | None = None,
        batch: int | None = None,
        workers: int = 4,
        threshold: float | None = None,
    ) -> Iterator[Prediction | Failure]:
        """`predict` one by one, in flat memory; a picture that cannot be read is a `Failure`, and the others go on."""
        if not isinstance(self.model, ConvNet):
            from senet_zoo.detection.design import DetectorConfig

            if isinstance(self.model.weights, DetectorConfig):
                return self._stream_boxes(pictures, top, batch, workers, threshold)
            refuse_threshold(threshold)
            return self._stream_maps(pictures, top, batch, workers)
        refuse_threshold(threshold)
        return classify(
            self.model,
            pictures,
            self.preprocessing,
            self.categories,
            top=TOP if top is None else top,
            batch=PICTURES if batch is None else batch,
            workers=workers,
            name=self.name,
        )

    def _stream_boxes(
        self,
        pictures: "Source | Iterable[Source]",
        top: int | None,
        batch: int | None,
        workers: int,
        threshold: float | None,
    ) -> Iterator[Prediction | Failure]:
        from senet_zoo.prediction import detection

        most, at_once = detection.MOST if top is None else top, detection.BATCH if batch is None else batch
        least = detection.THRESHOLD if threshold is None else threshold
        require_counts(most, at_once, workers)
        detection.check_threshold(least)
        answer = partial(
            detection.find_boxes, self.model, categories=self.categories, threshold=least, most=most, name=self.name
        )
        config: Any = self.model.weights
        prepare = partial(detection.prepare, longest=config.design.longest)
        return classify_pictures(pictures, prepare, answer, batch=at_once, workers=workers)

    def _stream_maps(
        self, pictures: "Source | Iterable[Source]", top: int | None, batch: int | None, workers: int
    ) -> Iterator[Prediction | Failure]:
        from senet_zoo.prediction import segmentation

        most, at_once = len(self.categories) if top is None else top, segmentation.BATCH if batch is None else batch
        require_counts(most, at_once, workers)
        answer = partial(segmentation.classify_pixels, self.model, top=most, name=self.name)
        return classify_pictures(
            pictures, segmentation.Preparation(self.model.weights), answer, batch=at_once, workers=workers
        )


def default_network(picture: "Image") -> str:
    """The network inside the package that is made for pictures of this size."""
    return EMBEDDED if max(picture.size) <= SMALL else PHOTOGRAPHS


class DefaultPredictor:
    """The networks inside the package, each picture answered by the one that is made for its size.

    Args:
        device: as in `Predictor`.

    Attributes:
        used: those that were asked, in the order in which they were.
    """

    def __init__(self, device: str | torch.device | None = None) -> None:
        self._device = find_device(device)
        self._lock = Lock()
        self.used: dict[str, Predictor] = {}

    def stream(
        self,
        pictures: "Source | Iterable[Source]",
        *,
        top: int | None = None,
        batch: int | None = None,
        workers: int = 4,
        threshold: float | None = None,
    ) -> Iterator[Prediction | Failure]:
        """As in `Predictor`."""
        top, batch = TOP if top is None else top, PICTURES if batch is None else batch
        require_counts(top, batch, workers)
        refuse_threshold(threshold)
        answer = partial(self._classify, top=top)
        return classify_pictures(pictures, self._prepare, answer, batch=batch, workers=workers)

    def _prepare(self, picture: "Image") -> tuple[str, Tensor]:
        name = default_network(picture)
        with self._lock:  # several threads prepare
            if name not in self.used:
                self.used[name] = Predictor(name, device=self._device)
                _log.info("%s answers: %s", name, ", ".join(self.used[name].categories))
        x: Tensor = self.used[name].preprocessing.transforms()(picture)
        return name, x

    def _classify(self, pictures: Sequence[tuple[str, tuple[str, Tensor]]], top: int) -> list[Prediction]:
        found: dict[int, Prediction] = {}
        for name in dict.fromkeys(network for _, (network, _) in pictures):
            mine = [(index, (path, x)) for index, (path, (network, x)) in enumerate(pictures) if network == name]
            predictor = self.used[name]
            answers = _classify(predictor.model, [item for _, item in mine], predictor.categories, top, name)
            found.update(zip([index for index, _ in mine], answers, strict=True))
        return [found[index] for index in range(len(pictures))]


def predict(
    pictures: "Source | Iterable[Source]",
    model: str | Path | nn.Module | None = None,
    *,
    weights: str | Path | None = None,
    device: str | torch.device | None = None,
    top: int | None = None,
    batch: int | None = None,
    workers: int = 4,
    threshold: float | None = None,
) -> list[Prediction]:
    """The likeliest classes of pictures, or the things that a detector finds, one result each in the order given.

    Args:
        pictures: a file, a folder (read to its depth), a ``file:`` or ``https:`` URL; a PIL picture; a uint8 array
            (H, W, 3) or tensor (3, H, W), or a batch of them; or any number of these.
        model: what answers, as in `Predictor`. Default: a network inside the package, chosen by each picture:
            ``se_resnet20.cifar10`` up to 48 pixels, ``se_mobilenet.imagenette`` above. Each tells ten kinds of things
            apart, and knows nothing else; the result names it.
        weights: as in `Predictor`.
        device: as in `Predictor`.
        top: classes in each result, or all of them where the network has fewer; 5 by default. Of a detector: boxes at
            most, 100 by default.
        batch: pictures that the network sees at once; 32 by default, 4 for a detector.
        workers: threads that decode pictures.
        threshold: the least score of a detector's boxes, 0.5 by default. Detectors themselves leave out what scores
            less than 0.05.

    Raises:
        PictureError: one cannot be read; `Predictor.stream` goes on with the others.
        UsageError: no picture, something that is none, a number below 1, or as in `Predictor`.
        WeightsError: as in `Predictor`, or the network gives no finite scores.

    Example:
        >>> from PIL import Image
        >>> (result,) = predict(Image.new("RGB", (640, 480)))
        >>> result.network, len(result.top)
        ('se_mobilenet.imagenette', 5)
    """
    chosen = (
        DefaultPredictor(device)
        if model is None and weights is None
        else Predictor(model, weights=weights, device=device)
    )
    return _all(chosen.stream(pictures, top=top, batch=batch, workers=workers, threshold=threshold))


def refuse_threshold(threshold: float | None) -> None:
    """Refuse a threshold for a classifier.

    Raises:
        UsageError: there is one.
    """
    if threshold is not None:
        raise UsageError(
            "a threshold is a detector's, and other networks answer with their likeliest classes",
            python=": leave threshold out, or choose top",
            command_line=": leave --threshold out, or choose --top",
        )


def _all(results: Iterator[Prediction | Failure]) -> list[Prediction]:
    """Every prediction, or the first failure."""
    found = []
    for result in results:
        if isinstance(result, Failure):
            raise result.error
        found.append(result)
    if not found:
        raise UsageError("predict takes at least one picture, got none")
    return found
