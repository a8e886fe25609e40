"""`Model`, a name of the zoo and its function; `Family`, which registers models; stages that several tables share."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from senet_zoo.errors import SpecError, UsageError
from senet_zoo.networks.dimensions import PLANE, Dimensions
from senet_zoo.networks.specs import SE, BlockSpec, NetworkSpec, StageSpec
from senet_zoo.networks.widths import Widths, narrowed

Build = Callable[[SE | None], NetworkSpec]
ANY = (1, 2, 3)
"""Dimensions of families whose blocks are laid from layers of any."""

STANDARD = SE()
"""The paper's gate, in every block: r = 16, biases, on the branch's output."""


@dataclass(frozen=True)
class Model:
    """One name of the zoo, which fixes one mathematical function.

    Args:
        name: the name.
        twin: the name of the same topology without its gates, or with them.
        build: the function of the family's file that makes the spec, for a gate or for none.
        se: the gate that this name carries; None for a plain twin.
        defined_in: the family's file, inside the package.
        doc: what the network is, in prose.
        published_as: naming schemes under which other libraries publish weights of exactly this function.
        dimensions: how many axes its maps may have.
    """

    name: str
    twin: str
    build: Build
    se: SE | None
    defined_in: str
    doc: str
    published_as: tuple[str, ...]
    dimensions: tuple[int, ...] = (2,)

    def spec(self, se: SE | None = None, widths: Widths | None = None, dimensions: Dimensions = PLANE) -> NetworkSpec:
        """The architecture, with another gate, other widths and over other axes where they are given.

        Args:
            se: the gate; None for the model's own.
            widths: channels of the stem's map and of each stage's; None for the model's own.
            dimensions: over how many axes its maps extend.

        Raises:
            UsageError: a gate for a plain twin.
            SpecError: stages that the network does not have, or widths or dimensions that it cannot have.
        """
        if se is not None and not isinstance(se, SE):
            raise UsageError(f"se must be an SE, such as senet_zoo.SE(reduction=8), got {se!r}")
        if se is not None and self.se is None:
            raise UsageError(
                f"{self.name} is the plain twin and has no gate to change; a variant goes with {self.twin}"
            )
        if dimensions.count not in self.dimensions:
            raise SpecError(
                f"{self.name} is defined for pictures, and its layers have no form of {dimensions.count} dimensions; "
                f"choose a residual network, a DenseNet, a VGG or a mobile network, such as se_resnet50"
            )
        built = self.build(self.se if se is None else se)
        spec = replace(built, name=self.name, dimensions=dimensions)
        return spec if widths is None else narrowed(spec, widths)

    def matches(self, spec: NetworkSpec, widths: Widths | None = None) -> bool:
        """Whether this model builds that architecture, whatever its gate, at these widths."""
        if (self.se is None) != (spec.se is None):
            return False
        try:
            return self.spec(spec.se, widths, spec.dimensions) == spec
        except SpecError:  # a gate, widths or dimensions that this network cannot have
            return False


@dataclass(frozen=True)
class Family:
    """Models of one paper, in the order of its table.

    Args:
        published_as: naming schemes (`senet_zoo.formats.dialects`) under which other libraries publish weights of
            exactly these functions. Two forms of one network share names and shapes, so this tells which of them
            a file belongs to.
        dimensions: how many axes their maps may have.
    """

    published_as: tuple[str, ...] = ()
    dimensions: tuple[int, ...] = (2,)
    models: list[Model] = field(default_factory=list)

    def register(self, gated: str, plain: str, se: SE = STANDARD) -> Callable[[Build], Build]:
        """Give the decorated function two names, one with its gate and one without.

        Args:
            gated: the name with the gate.
            plain: the name of its twin.
            se: the gate, where it is not the paper's standard one.
        """
        return self._adder((gated, plain, se), (plain, gated, None))

    def row(self, gated: str, plain: str, doc: str, build: Build) -> None:
        """Give one row of a family's table two names, one with the paper's standard gate and one without.

        Args:
            gated: the name with the gate.
            plain: the name of its twin.
            doc: what the network is, in prose.
            build: makes its spec.
        """
        self._add(build, doc, (gated, plain, STANDARD), (plain, gated, None))

    def register_gated(self, gated: str, twin: str, se: SE = STANDARD) -> Callable[[Build], Build]:
        """Give the decorated function one name, with its gate; its plain twin has a name already.

        Args:
            gated: the name with the gate.
            twin: the name of the same network without.
            se: the gate, where it is not the paper's standard one.
        """
        return self._adder((gated, twin, se))

    def _adder(self, *names: tuple[str, str, SE | None]) -> Callable[[Build], Build]:
        def add(build: Build) -> Build:
            self._add(build, inspect.cleandoc(build.__doc__ or ""), *names)
            return build

        return add

    def _add(self, build: Build, text: str, *names: tuple[str, str, SE | None]) -> None:
        defined_in = "/".join(Path(build.__code__.co_filename).parts[-4:])
        title, _, rest = text.partition("\n")
        for name, twin, gate in names:
            doc = f"{title.removesuffix('.')}{', with gates' if gate else ''}.\n{rest}".strip()
            self.models.append(Model(name, twin, build, gate, defined_in, doc, self.published_as, self.dimensions))


Depths = tuple[int, int, int, int]


def four_stages(depths: Depths, block: Callable[[int, int], BlockSpec]) -> tuple[StageSpec, ...]:
    """Stages of ``depths`` blocks; the first block of all but the first stage halves the map.

    Args:
        depths: number of blocks of each stage.
        block: makes the block of so many planes (64 to 512) and that stride (1 or 2).

    Source: He et al., arXiv:1512.03385, table 1.
    """
    return tuple(
        StageSpec((block(planes, stride), *(block(planes, 1),) * (depth - 1)))
        for depth, planes, stride in zip(depths, (64, 128, 256, 512), (1, 2, 2, 2), strict=True)
    )


def grouped_width(planes: int, cardinality: int, base_width: int) -> int:
    """Channels of a grouped 3x3: ``cardinality`` groups of ``base_width`` channels at 64 planes, growing with them."""
    return planes * base_width // 64 * cardinality


def three_stages(depth: int, block: Callable[[int, int], BlockSpec]) -> tuple[StageSpec, ...]:
    """Stages of ``depth`` blocks for 32x32 pictures; the first block of all but the first stage halves the map.

    Args:
        depth: number of blocks of each stage.
        block: makes the block of so many planes (16, 32 or 64) and that stride (1 or 2).

    Source: He et al., arXiv:1512.03385, section 4.2.
    """
    return tuple(
        StageSpec((block(planes, stride), *(block(planes, 1),) * (depth - 1)))
        for planes, stride in ((16, 1), (32, 2), (64, 2))
    )
