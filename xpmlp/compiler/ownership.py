"""A program in which each result, and each part of a concatenation, has memory of its own.

What looks at other memory, or would lie in two places, is copied. So a new state can be written
over the old one or beside it, and a product goes straight to its place in a concatenation.
"""

from collections import Counter
from dataclasses import replace

from xpmlp.compiler.operations import VIEWS
from xpmlp.compiler.program import Operation, Program, Value


def with_own_memory(program: Program) -> Program:
    """Return the program with copies where a result or a part of a concatenation needs one."""
    return _Copier(program).rewrite()


class _Copier:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.next_number = program.next_number
        self.operations: list[Operation] = []
        self.taken = set(program.inputs)
        self.parts = Counter(
            program.base(part)
            for operation in program.operations
            if operation.function == "concat"
            for part in operation.values
        )

    def rewrite(self) -> Program:
        program = self.program
        for operation in program.operations:
            if operation.function == "concat":
                parts = tuple(map(self._own_part, operation.values))
                operation = replace(operation, operands=parts)
            self.operations.append(operation)
        states = zip(program.new_state, program.state, strict=True)
        new_state = tuple(new if new == old else self._own_result(new) for new, old in states)
        metrics = tuple(map(self._own_result, program.metrics))
        operations = tuple(self.operations)
        return replace(program, operations=operations, new_state=new_state, metrics=metrics)

    def _own_result(self, result: Value) -> Value:
        """The result, or a copy where it is a view, an input or another result already."""
        if result in self.taken or self.program.base(result) != result:
            result = self._copy(result)
        self.taken.add(result)
        return result

    def _own_part(self, part: Value) -> Value:
        """The part, or a copy unless an operation makes it, reshaped at most, for this alone."""
        base = part
        while (maker := self.program.makers.get(base)) is not None and maker.function == "reshape":
            (base,) = maker.values
        is_made = maker is not None and maker.function not in (*VIEWS, "concat")
        is_own = is_made and self.parts[base] == 1 and base not in self.program.results
        return part if is_own else self._copy(part)

    def _copy(self, value: Value) -> Value:
        copy = Value(self.next_number, value.shape, value.dtype)
        self.next_number += 1
        self.operations.append(Operation("astype", (value,), copy, value.dtype))
        return copy
