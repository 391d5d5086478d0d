"""Code for what a run does not have is not compiled.

A kernel asks `if settings.caching:` in many places. Where the record `settings` has no such
field, the answer is 0 in each of them: the branches behind it, and all functions that only
they call, are left out before anything is compiled. So one source gives a small kernel for
runs that have none of the rare features, and a whole one for the others.
"""
# numba's ways of extension have no types.
# mypy: disable-error-code="no-untyped-call, untyped-decorator"

from __future__ import annotations

import operator
from typing import Any

from numba.core import ir, ir_utils, types
from numba.core.analysis import compute_cfg_from_blocks
from numba.core.compiler_machinery import FunctionPass, register_pass

__all__ = ["OPTIONAL", "LeaveOut"]

OPTIONAL: set[str] = set()
"""Fields that some records do not have; named by whoever defines those. Others are mistakes."""

COMPARISONS = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)


@register_pass(mutates_CFG=True, analysis_only=False)
class LeaveOut(FunctionPass):
    """Take fields that an argument's record does not have for 0, and drop what follows."""

    _name = "leave_out_features"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Change `state.func_ir`; return whether there was anything to change."""
        folding = _Folding(state.func_ir, state.args)
        found = False
        while folding.replace_fields():  # with fewer branches, more is known of records
            folding.straighten()
            found = True
        return found


class _Folding:
    def __init__(self, function: Any, arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def replace_fields(self) -> bool:
        """Put 0 in the place of each field that is not there."""
        found = False
        for block in self.function.blocks.values():
            for statement in block.find_insts(ir.Assign):
                value = statement.value
                if isinstance(value, ir.Expr) and value.op == "getattr" and self._lacks(value):
                    statement.value = ir.Const(0, value.loc)
                    found = True
        if found:
            self._define_again()
        return found

    def straighten(self) -> None:
        """Turn branches whose way is known into jumps, and delete what nothing leads to."""
        blocks = self.function.blocks
        for block in blocks.values():
            last = block.terminator
            if isinstance(last, ir.Branch):
                known = self._value(last.cond)
                if known is not None:
                    target = last.truebr if known else last.falsebr
                    block.body[-1] = ir.Jump(target, last.loc)
        for dead in compute_cfg_from_blocks(blocks).dead_nodes():
            del blocks[dead]
        self._define_again()

    def _define_again(self) -> None:
        self.function._definitions = ir_utils.build_definitions(self.function.blocks)

    def _definition(self, variable: Any) -> Any:
        return ir_utils.guard(ir_utils.get_definition, self.function, variable)

    def _lacks(self, field: Any) -> bool:
        owner = self._definition(field.value)
        if not isinstance(owner, ir.Arg):
            return False
        kind = self.arguments[owner.index]
        absent = isinstance(kind, types.Record) and field.attr not in kind.fields
        return absent and field.attr in OPTIONAL

    def _value(self, variable: Any) -> Any:
        """What a variable is in any case; None where that is not known."""
        made = self._definition(variable)
        if isinstance(made, ir.Const | ir.Global | ir.FreeVar):
            return made.value if isinstance(made.value, int) else None
        if not isinstance(made, ir.Expr):
            return None
        if made.op == "call":
            called = self._definition(made.func)
            whole = isinstance(called, ir.Global) and called.value is bool
            return self._value(made.args[0]) if whole else None
        if made.op == "unary" and made.fn is operator.not_:
            value = self._value(made.value)
            return None if value is None else not value
        if made.op == "binop" and made.fn in COMPARISONS:
            sides = self._value(made.lhs), self._value(made.rhs)
            return None if None in sides else made.fn(*sides)
        return None
