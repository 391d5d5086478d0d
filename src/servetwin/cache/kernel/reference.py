"""Named tuples of arrays, by reference.

numba passes a tuple of eighty arrays as hundreds of numbers, once more for each call, and
the optimizer spends its time on moving them. A `Reference` is one pointer; its attributes
are those of the tuple it points to, nested tuples are references again.
"""
# numba's and llvmlite's ways of extension have no types.
# mypy: disable-error-code="no-untyped-call, untyped-decorator, override"

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, models, register_model

__all__ = ["Reference", "by_reference"]


class Reference(types.Type):
    """The type of a pointer to a named tuple that nobody changes while it exists."""

    def __init__(self, target: types.NamedTuple) -> None:
        self.target = target
        super().__init__(name=f"Reference({target})")


@register_model(Reference)
class _Pointer(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Reference) -> None:
        pointer = manager.lookup(kind.target).get_value_type().as_pointer()
        super().__init__(manager, kind, pointer)


@infer_getattr
class _Attributes(AttributeTemplate):
    key = Reference

    def generic_resolve(self, reference: Reference, name: str) -> types.Type | None:
        if name not in reference.target.fields:
            return None
        member = reference.target.types[reference.target.fields.index(name)]
        return Reference(member) if isinstance(member, types.NamedTuple) else member


@lower_getattr_generic(Reference)
def _attribute(_context: Any, builder: Any, kind: Reference, pointer: Any, name: str) -> Any:
    index = kind.target.fields.index(name)
    place = cgutils.gep_inbounds(builder, pointer, 0, index)
    if isinstance(kind.target.types[index], types.NamedTuple):
        return place
    return _load(builder, place)


def _load(builder: Any, place: Any) -> Any:
    """Load an array field by field, each as something that no store can change."""
    kind = place.type.pointee
    if not isinstance(kind, ir.LiteralStructType | ir.ArrayType):
        loaded = builder.load(place)
        loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
        return loaded
    whole = ir.Constant(kind, ir.Undefined)
    for index in range(len(kind)):
        field = _load(builder, cgutils.gep_inbounds(builder, place, 0, index))
        whole = builder.insert_value(whole, field, index)
    return whole


def _by_reference(_typing: Any, target: Any) -> Any:
    if not isinstance(target, types.NamedTuple):
        return None

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        place = cgutils.alloca_once_value(builder, arguments[0])
        # Behind an empty piece of assembly the optimizer cannot see that the tuple was once
        # stored, so that to its knowledge it never changes.
        same = ir.FunctionType(place.type, [place.type])
        return builder.asm(same, "", "=r,0,~{memory}", [place], side_effect=True)

    return Reference(target)(target), generate


by_reference: Any = intrinsic(_by_reference)
"""Point to a named tuple, for as long as the calling function runs; in compiled code only.

What is read through the reference must not be assigned to; the elements of its arrays may be.
"""
