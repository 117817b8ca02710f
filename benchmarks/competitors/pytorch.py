"""PyTorch: as everyone writes it, compiled, and captured by hand in a CUDA graph."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.competitors.competitor import (
    Advance,
    Start,
    TakeTurn,
    Turn,
    Unavailable,
    clocked,
    refuse_members,
    repeated,
)
from benchmarks.competitors.products import list_products
from benchmarks.inputs import Inference
from benchmarks.problems import Problem

UNROLLED = 8
"""Steps in a captured graph, where turns have as many: fewer launches of graphs."""


def eager(device: str) -> Start:
    """nn.Sequential, CrossEntropyLoss, optim.SGD: the loop of every tutorial."""

    def start(problem: Problem) -> TakeTurn:
        torch = _torch(device)
        refuse_members(problem)
        images = torch.tensor(problem.images, device=device)
        labels = torch.tensor(problem.labels, device=device)

        def begin() -> Advance:
            model = _module(torch, problem, device)
            cross_entropy = torch.nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(model.parameters(), lr=problem.learning_rate)

            def advance(first: int, stop: int) -> np.ndarray:
                losses = []
                for step in range(first, stop):
                    rows = problem.rows(step)
                    X = images[rows].to(torch.float32) / 255.0
                    loss = cross_entropy(model(X), labels[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.detach())
                return torch.stack(losses).cpu().numpy()

            return advance

        return clocked(problem, begin)

    return start


class StaticStep:
    """A step over memory that stays where it is, so that it can be compiled whole or captured.

    The batch's number is counted on the device, and losses are written there.
    """

    def __init__(self, torch: Any, problem: Problem, device: str, *, capacity: int) -> None:
        self.problem, self.torch = problem, torch
        self.initial = [
            torch.tensor(part, device=device) for layer in problem.layers for part in layer
        ]
        self.parameters = [part.clone() for part in self.initial]
        self.images = torch.tensor(problem.images, device=device)
        self.labels = torch.tensor(problem.labels, device=device)
        self.positions = torch.arange(problem.batch_size, device=device)
        self.counter = torch.zeros(1, dtype=torch.int64, device=device)
        self.losses = torch.zeros(capacity, device=device)

    @property
    def memory(self) -> tuple[Any, ...]:
        """What the step reads and writes: its arguments."""
        return (
            self.parameters, self.images, self.labels, self.positions, self.counter, self.losses,
        )  # fmt: skip

    def reset(self) -> None:
        """Back to the initial weights and the first batch."""
        for part, initial in zip(self.parameters, self.initial, strict=True):
            part.copy_(initial)
        self.counter.zero_()

    def step(
        self, parameters: Any, images: Any, labels: Any, positions: Any, counter: Any, losses: Any
    ) -> None:
        """Train on the next batch, in place."""
        torch, problem = self.torch, self.problem
        rows = counter % problem.batches * problem.batch_size + positions
        X = images[rows].to(torch.float32) / 255.0
        gradients, J = torch.func.grad_and_value(self._loss)(parameters, X, labels[rows])
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(problem.learning_rate * gradient)
        losses.index_copy_(0, counter, J.reshape(1))
        counter.add_(1)

    def _loss(self, parameters: Any, X: Any, Y: Any) -> Any:
        A = X
        for number in range(0, len(parameters), 2):
            if number > 0:
                A = self.torch.sigmoid(A)
            A = self.torch.addmm(parameters[number + 1], A, parameters[number])
        return self.torch.nn.functional.cross_entropy(A, Y)


def compiled(device: str) -> Start:
    """`torch.compile` of the whole step; on a GPU with CUDA graphs (`reduce-overhead`)."""

    def start(problem: Problem) -> TakeTurn:
        torch = _torch(device)
        if device == "cpu":
            return _static_turns(problem, "cpu", lambda static: torch.compile(static.step))

        def compile_step(static: StaticStep) -> Callable[..., object]:
            for part in (*static.parameters, *static.memory[1:]):
                torch._dynamo.mark_static_address(part)  # else graphs refuse to write them
            return torch.compile(static.step, mode="reduce-overhead")

        return _static_turns(problem, device, compile_step)

    return start


def uncompiled(problem: Problem) -> TakeTurn:
    """The step that is compiled or captured, run as it is: for tests."""
    return _static_turns(problem, "cpu", lambda static: static.step)


def _static_turns(
    problem: Problem, device: str, compile_step: Callable[[StaticStep], Callable[..., object]]
) -> TakeTurn:
    torch = _torch(device)
    refuse_members(problem)
    static = StaticStep(torch, problem, device, capacity=len(problem.labels))
    step = compile_step(static)

    def begin() -> Advance:
        static.reset()

        def advance(first: int, stop: int) -> np.ndarray:
            for _ in range(first, stop):
                step(*static.memory)
            found: np.ndarray = static.losses[first:stop].cpu().numpy()
            return found

        return advance

    return clocked(problem, begin)


def captured(problem: Problem) -> TakeTurn:
    """The step captured by hand: eager kernels, replayed as a graph of several steps."""
    torch = _torch("cuda")
    refuse_members(problem)
    static = StaticStep(torch, problem, "cuda", capacity=len(problem.labels))
    unrolled = UNROLLED if problem.warm % UNROLLED == 0 else 1
    graph = _capture(torch, lambda: static.step(*static.memory), unrolled)

    def begin() -> Advance:
        static.reset()

        def advance(first: int, stop: int) -> np.ndarray:
            for _ in range(first, stop, unrolled):
                graph.replay()
            found: np.ndarray = static.losses[first:stop].cpu().numpy()
            return found

        return advance

    return clocked(problem, begin)


def captured_products(problem: Problem) -> TakeTurn:
    """A step's matrix products alone, replayed as a graph: what no launch can hold up."""
    torch = _torch("cuda")
    random = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return torch.tensor(random.standard_normal(shape, "float32"), device="cuda")

    products = list_products(problem, array, torch.empty_like)

    def step() -> None:
        for left, right, out in products:
            torch.matmul(left, right, out=out)

    unrolled = UNROLLED if problem.warm % UNROLLED == 0 else 1
    graph = _capture(torch, step, unrolled)

    def take_turn(count: int) -> Turn:
        graph.replay()
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(0, count, unrolled):
            graph.replay()
        torch.cuda.synchronize()
        return Turn((time.perf_counter() - started) / count, None)

    return take_turn


def square_product(device: str, precision: str, n: int) -> Start:
    """The time of a step's multiply-adds at the rate of PyTorch's n x n x n product."""

    def start(problem: Problem) -> TakeTurn:
        torch = _torch(device)
        wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        dtype = torch.float16 if precision == "float16" else torch.float32
        A, B = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))

        def take_turn(count: int) -> Turn:
            torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
            try:
                torch.matmul(A, B)
                wait()
                started = time.perf_counter()
                for _ in range(2):
                    torch.matmul(A, B)
                wait()
                seconds = (time.perf_counter() - started) / 2
            finally:
                torch.set_float32_matmul_precision("highest")
            return Turn(seconds * problem.multiply_adds / n**3, None, note=f"{n} x {n}")

        return take_turn

    return start


def _capture(torch: Any, step: Callable[[], object], count: int) -> Any:
    """A CUDA graph of n steps; they are run before, as cuBLAS needs."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(count):
            step()
    return graph


def prediction(device: str) -> Start:
    """The module and a softmax in inference mode; rows to the device, probabilities back."""

    def start(inference: Inference) -> TakeTurn:
        torch = _torch(device)
        model = _module(torch, inference.problem, device)

        def call() -> np.ndarray:
            with torch.inference_mode():
                X = torch.from_numpy(inference.X).to(device)
                found: np.ndarray = torch.softmax(model(X), dim=1).cpu().numpy()
                return found

        return repeated(call)

    return start


def _module(torch: Any, problem: Problem, device: str) -> Any:
    layers: list[Any] = []
    for W, b in problem.layers:
        linear = torch.nn.Linear(*W.shape, device=device)
        linear.load_state_dict({"weight": torch.tensor(W.T), "bias": torch.tensor(b)})
        layers += [linear, torch.nn.Sigmoid()]
    return torch.nn.Sequential(*layers[:-1])


def _torch(device: str) -> Any:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise Unavailable("this PyTorch sees no GPU")
    return torch
