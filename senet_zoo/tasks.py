"""One call for saved networks of every task: what the config.json of a folder says decides who reads it."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import ManifestError, PublishError, SignatureError, UsageError, WeightsError
from senet_zoo.networks.network import ConvNet
from senet_zoo.support.files import expanded
from senet_zoo.weights import publish, save
from senet_zoo.weights import verify as verification
from senet_zoo.weights.card import CARD, with_address
from senet_zoo.weights.config import CONFIG, TENSORS, SavedTask
from senet_zoo.weights.file_hashes import digest
from senet_zoo.weights.fingerprint import TOLERANCE
from senet_zoo.weights.foreign_files import PICTURES, is_own_picture
from senet_zoo.weights.hub_commit import Plan, check_names
from senet_zoo.weights.publish import Publication
from senet_zoo.weights.rows import Metric
from senet_zoo.weights.signature import Signed
from senet_zoo.weights.task_card import TaskCard
from senet_zoo.weights.task_folders import (
    FolderFormat,
    TaskConfig,
    read_task_folder,
    task_at,
    task_files,
    write_task_folder,
)
from senet_zoo.weights.verify import Finding, Verification, not_finite


def format_of(task: SavedTask) -> FolderFormat[Any]:
    """How the folders of a task other than classification are read and built."""
    if task is SavedTask.SEGMENTATION:  # both take long to import
        from senet_zoo.segmentation.saved_folder import FORMAT as SEGMENTATION

        return SEGMENTATION
    from senet_zoo.detection.saved_folder import FORMAT as DETECTION

    return DETECTION


def from_pretrained(
    folder: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> ConvNet | Any:
    """The network that `save_pretrained`, timm or a run saved, in eval mode; ``model.weights`` is what its folder says.

    Args:
        folder: with ``model.safetensors`` and ``config.json``; or ``hf://org/name@revision``, a hub's repository with
            both. A commit of 40 hex digits is read for good; a tag, a branch or, without ``@``, the newest is resolved
            to a commit once, which is logged and remembered.
        device: where the parameters live.
        dtype: of the parameters and running statistics.

    Returns:
        A `ConvNet`; or the module of a detector or a segmenter, such as torchvision's FasterRCNN.

    Raises:
        WeightsError: a file is missing or damaged, holds another network's tensors, or could not be had.
        ManifestError: ``config.json`` breaks a rule.
    """
    task = task_at(folder)
    if task is SavedTask.CLASSIFICATION:
        return save.from_pretrained(folder, device=device, dtype=dtype)
    network, _ = read_task_folder(format_of(task), task_files(folder), device)
    return network.to(dtype)


def save_pretrained(
    model: nn.Module,
    folder: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    categories: Sequence[str] | Mapping[str, int] | None = None,
    license: str | None = None,  # noqa: A002 (the word of every model card)
    metrics: tuple[Metric, ...] | None = None,
) -> None:
    """Write a network to a folder that `from_pretrained`, `Predictor` and the command line read.

    It holds ``model.safetensors``, ``config.json`` and ``README.md``, a model card; each the same bytes for the same
    network every time. A classifier's config has the network's fingerprint. Where timm has the same function, names and
    config are written so that ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads it too. transformers
    reads it as `senet_zoo.integrations.transformers` says.

    Args:
        model: a network of the zoo, variants included; torch.compile, DataParallel, DistributedDataParallel and
            AveragedModel are unwrapped. Its classifier may be one of your own, of the same kind and any width. Or a
            detector of `senet_zoo.detection`, or a segmenter of `senet_zoo.segmentation`.
        folder: made where there is none; files of an earlier save are replaced, files of others never.
        preprocessing: from a picture to the input; by default that of the weights the model was loaded with. A detector
            prepares pictures itself.
        categories: class names, one a logit; or the index of each, as torchvision's ``class_to_idx``. By default those
            of the weights, unless the classifier is a fresh one. Of a detector: one for each label from 1.
        license: SPDX name in lower case, such as ``apache-2.0``; by default that of the weights the model was loaded
            with. `push_to_hub` takes no model without one.
        metrics: what was measured with exactly these tensors; by default what is published of them, which is nothing
            once a tensor has changed.

    Raises:
        UsageError: a network that no name of the zoo spells, or that the name does not rebuild; another number of
            categories than of logits; a file of others in the way; another process that writes there.
        WeightsUnavailable: the disk did not take it; nothing half-written is left.

    Example:
        >>> import tempfile
        >>> from senet_zoo import SE, create_model
        >>> model = create_model("se_resnet20", se=SE(reduction=4), num_classes=5)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_pretrained(model, folder)
        ...     again = from_pretrained(folder)
        >>> again.spec.se.reduction, again.num_classes
        (4, 5)
    """
    config = getattr(model, "weights", None)
    if isinstance(model, ConvNet) or not isinstance(config, TaskConfig):
        save.save_pretrained(
            model, folder, preprocessing=preprocessing, categories=categories, license=license, metrics=metrics
        )
        return
    if preprocessing is not None or metrics is not None:
        raise UsageError("preprocessing and metrics are a classifier's; a detector's config says how it takes pictures")
    own: Any = config
    if categories is not None:
        own = replace(own, classes=save.class_names(categories, len(own.classes)))
    write_task_folder(format_of(_task_of(config)), model, folder, replace(own, measured=None), license=license)


def saved_card(place: str | Path) -> TaskCard:
    """What is known of a saved detector or segmenter: its network, its classes, what it scores, its licence.

    Raises:
        WeightsError: a file is missing or damaged, or could not be had.
        ManifestError: ``config.json`` breaks a rule.
    """
    format, files = format_of(task_at(place)), task_files(place)  # noqa: A001
    network, config = read_task_folder(format, files, "cpu")
    return format.card(config, save.parameters_of(network))


def verify(target: str | Path, *, model: str | None = None) -> Verification:
    """Check a published checkpoint, a file, a folder or a kit, as thoroughly as can be without running the network.

    Args:
        target: ``model.tag``, ``model``, what ``create_model(weights=...)`` takes, a detector's folder, or a folder
            that ``senet-zoo download --to`` wrote.
        model: the network that a file's tensors should belong to, or the ``model.tag`` that it should be; without it, a
            folder's config or a file's own remark decides, and where there is none its shapes are not compared.

    Raises:
        UnknownModelError, UnknownWeightsError: no such model or weights.
        UsageError: ``target`` names both a file and published weights, or ``model`` is given for the latter or a kit.
    """
    return _verify(target, model, deep=False)


def verify_deep(target: str | Path, *, model: str | None = None) -> Verification:
    """`verify`, and run the network: its logits for a fixed picture must be those that were published.

    That proves the function, which names and shapes of tensors do not: where the strides are, how the pools count their
    borders, in which order channels and classes stand. Of a detector or a segmenter it is what the heads say. Where
    nothing was published to compare with, the check does not hold, because nothing is proven.

    Args:
        target: as in `verify`.
        model: as in `verify`. A ``model.tag`` is compared with the published fingerprint, a file or folder of one's
            own with the one that `convert` or `save_pretrained` put into it.

    Raises:
        UnknownModelError, UnknownWeightsError, UsageError: as `verify`.
    """
    return _verify(target, model, deep=True)


def _verify(target: str | Path, model: str | None, *, deep: bool) -> Verification:
    task = _task_of_target(target)
    if task is SavedTask.CLASSIFICATION:
        check = verification.verify_deep if deep else verification.verify
        return check(target, model=model)
    if model is not None:
        raise UsageError(f"the config.json of {target} says what it is; a model {model!r} goes with a file")
    checks: list[Finding] = []
    path = sha256 = None
    format = format_of(task)  # noqa: A001
    try:
        files = task_files(target)
        config = format.read(files.config, files.where)
        checks.append(Finding(CONFIG, True, f"{config.description}, {len(config.classes)} classes"))
        sha256, path = digest(files.tensors), files.tensors
        network, _ = read_task_folder(format, files, "cpu")
        checks.append(Finding("file", True, str(path)))
        checks.append(Finding("tensors", True, f"exactly those of {config.description}"))
        wrong = not_finite(network.state_dict())
        checks.append(Finding("finite", not wrong, wrong or "every value is finite"))
        if deep:
            checks.append(_function(format, network, config))
    except (WeightsError, ManifestError) as error:
        names = (CONFIG, "file", "tensors", "finite")
        checks.append(Finding(names[len(checks)], False, str(error)))
    return Verification(str(target), path, sha256, tuple(checks))


def verify_signature(
    target: str | Path, key: str | Path | None = None, *, model: str | None = None, deep: bool = False
) -> Verification:
    """`verify`, or `verify_deep`, and check that the files are exactly those that the owner of a key signed.

    Args:
        target: as in `verify`; a folder is signed as a whole, and so is a hub's repository.
        key: the public key, PEM; None for the one that a release has beside its own checkpoints.
        model: as in `verify`.
        deep: run the network, too.

    Raises:
        UnknownModelError, UnknownWeightsError: no such model or weights.
        UsageError: as `verify`; or the key is none, or is not given.
    """
    from senet_zoo.weights.signed import with_signature

    return with_signature(_verify(target, model, deep=deep), target, key)


def sign(folder: str | Path, key: str | Path) -> Signed:
    """Sign every file of a saved model's folder, or of a kit, once `verify` finds it whole.

    Args:
        folder: gets ``model.sig``.
        key: a private key on an elliptic curve, PEM.

    Raises:
        UsageError: no folder, or no such key.
        SignatureError: a check of `verify` does not hold; or the folder holds what cannot be signed.
        ManifestError: ``config.json`` breaks a rule.
        WeightsUnavailable: the disk did not take the signature.
    """
    from senet_zoo.weights import signature

    path = signature.require_folder(folder)
    wrong = next((check for check in verify(path).checks if not check.ok), None)
    if wrong is not None:
        raise SignatureError(f"only what is whole is signed, but {folder} is not: {wrong.name}: {wrong.found}")
    return signature.sign(path, key)


def plan_publication(folder: str | Path, repo: str, *, tag: str | None = None, sign: str | Path | None = None) -> Plan:
    """Check a folder and say what `push_to_hub` would send; nothing is asked or changed anywhere.

    Raises:
        UsageError: the key is none; ``repo`` or ``tag`` is not of the form that hubs take.
        PublishError: the card lacks a licence, or speaks of other tensors than those of the folder.
        WeightsError: a file is missing or damaged, or holds another network's tensors.
        ManifestError: ``config.json`` breaks a rule.
    """
    task = task_at(folder)
    if task is SavedTask.CLASSIFICATION:
        return publish.plan_publication(folder, repo, tag=tag, sign=sign)
    path, format = expanded(folder), format_of(task)  # noqa: A001
    files = task_files(path)
    network, config = read_task_folder(format, files, "cpu")
    sha256 = digest(files.tensors)
    tag = f"sha256-{sha256[:12]}" if tag is None else tag
    check_names(repo, tag)
    wrong = not_finite(network.state_dict())
    if wrong:
        raise PublishError(wrong)
    publish.licence_of(path, config.provenance, sha256)
    parameters = save.parameters_of(network)
    own, text = format.card(config, parameters), (path / CARD).read_bytes().decode(errors="replace")
    text = own.text(repo, tag) if text == own.text() else with_address(text, repo)  # where nobody wrote in it, anew
    card = text.encode(errors="backslashreplace")
    sent: dict[str, Path | bytes] = {TENSORS: files.tensors, CONFIG: path / CONFIG, CARD: card}
    sent |= {name: path / name for name in PICTURES if is_own_picture(path / name)}
    why = "the manifest lists classifiers; this address is read by from_pretrained and --weights"
    return publish.signed(Plan(repo, tag, MappingProxyType(sent), sha256, None, why), path, sign)


def push_to_hub(
    model_or_folder: nn.Module | str | Path,
    repo: str,
    *,
    private: bool = False,
    hub: str | None = None,
    token: str | None = None,
    tag: str | None = None,
    sign: str | Path | None = None,
) -> Publication:
    """Publish a model: tensors, config and card in one commit, a tag on it, and the sha256 read back.

    The folder is checked first: the card names a licence, and the network that the config spells is built and takes
    every tensor. Publishing the same again changes nothing.

    Args:
        model_or_folder: a network, or a folder of `save_pretrained` or of a run. A network trained from scratch has no
            licence yet: save it with one, and publish the folder.
        repo: ``organisation/name``; made where there is none.
        private: hide it from strangers; a repository that is public already is refused.
        hub: address of the hub; by default SENET_ZOO_HUB, or huggingface_hub's own.
        token: of a user who may write there; by default HF_TOKEN, or what ``hf auth login`` saved for
            huggingface_hub's own hub.
        tag: of the commit; it never moves. By default the first twelve digits of the tensors' sha256.
        sign: a private key on an elliptic curve, PEM; ``model.sig`` goes along, which covers every other file.

    Raises:
        UsageError: the key is none; or ``repo``, ``hub`` or ``tag`` is not of the form that hubs take.
        PublishError: the folder lacks something, or the hub does not take it; the message says what to do.
        WeightsError: the folder's tensors are damaged or another network's; no token, or a refused one; no network.
        ManifestError: ``config.json`` breaks a rule.
    """
    if isinstance(model_or_folder, nn.Module):
        with tempfile.TemporaryDirectory(prefix="senet-zoo-") as folder:
            save_pretrained(model_or_folder, folder)
            return push_to_hub(folder, repo, private=private, hub=hub, token=token, tag=tag, sign=sign)
    plan = plan_publication(model_or_folder, repo, tag=tag, sign=sign)
    return publish.send(plan, private=private, hub=hub, token=token)


def _task_of(config: TaskConfig) -> SavedTask:
    from senet_zoo.detection.design import DetectorConfig

    return SavedTask.DETECTION if isinstance(config, DetectorConfig) else SavedTask.SEGMENTATION


def _task_of_target(target: str | Path) -> SavedTask:
    """Of what `verify` is given; what it cannot read is left to the classifiers' checks, which name it."""
    try:
        return task_at(target)
    except (WeightsError, ManifestError, UsageError):
        return SavedTask.CLASSIFICATION


def _function(format: FolderFormat[Any], network: nn.Module, config: TaskConfig) -> Finding:  # noqa: A002
    """Whether a network answers the fixed picture as its config says."""
    if config.fingerprint is None:
        return Finding("function", False, "not proven: the folder carries no fingerprint; save it again to have one")
    deviation = format.deviation(network, config, config.fingerprint)
    greatest = f"greatest deviation {deviation.share:.1e} of the answer's scale, {TOLERANCE:.0e} allowed"
    if deviation.ok:
        return Finding("function", True, f"the saved one: {greatest}")
    return Finding("function", False, f"not the saved one: {greatest}: {deviation.where}")
