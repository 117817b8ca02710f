"""Matrix products in float16 with sums in float32, as a GPU's matrix units have them.

The network is the same: parameters, activations, gradients and all elementwise work stay float32,
and only what goes into a product is rounded. A factor of such a product has 11 bits, as on the
hardware; its result is float32 and not rounded again.
"""

from dataclasses import replace

from xpmlp.compiler.program import VIEWS, Operation, Program, Value, needed


def with_precision(program: Program, precision: str) -> Program:
    """The program in which float32 products have the factors that the precision asks for.

    "float16" rounds them; every other precision is that of the arrays, or a matter of how a
    product is made ("tf32"), and changes nothing.
    """
    return _Rounder(program).rewrite() if precision == "float16" else program


class _Rounder:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.rounded: dict[Value, Value] = {}
        self.operations: list[Operation] = []
        values = (*program.inputs, *program.makers)
        self.last_number = max((value.number for value in values), default=0)

    def rewrite(self) -> Program:
        for operation in self.program.operations:
            if operation.function == "matmul" and operation.computes == "float32":
                factors = tuple(map(self._round, operation.values))
                operation = replace(operation, operands=factors, computes="float16")
            self.operations.append(operation)
        operations = needed(self.operations, self.program.results)
        return replace(self.program, operations=operations)

    def _round(self, value: Value) -> Value:
        """The value in float16. What is rounded, once, is the array that it is a view of: of the
        parameters all at a time."""
        if value not in self.rounded:
            self.last_number += 1
            result = self.rounded[value] = Value(self.last_number, value.shape, "float16")
            maker = self.program.makers.get(value)
            if maker is not None and maker.function in VIEWS:
                (operand,) = maker.values
                view = replace(maker, operands=(self._round(operand),), result=result)
                self.operations.append(replace(view, computes="float16"))
            else:
                self.operations.append(Operation("astype", (value,), result, "float16"))
        return self.rounded[value]
