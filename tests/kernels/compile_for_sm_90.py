"""Compile every kernel for an H100, with the arguments of the paper's largest map."""

import os

os.environ.pop("TRITON_INTERPRET", None)

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from structgan.kernels import agreement, batch_norm, elu, group_norm

TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16"}
compiled = {}


class Compiled:
    """In place of a kernel: compiles it for the arguments that it is launched with, and writes nothing."""

    def __init__(self, name, kernel):
        self.name, self.kernel = name, kernel

    def __getitem__(self, grid):
        return self.launch

    def launch(self, *arguments, **options):
        options.pop("num_warps", None)
        names = self.kernel.arg_names
        given = dict(zip(names, arguments, strict=False)) | options
        fixed = {parameter.name for parameter in self.kernel.params if parameter.is_constexpr}
        constants = {name: value for name, value in given.items() if value is None or name in fixed}
        kinds = {int: "i32", float: "fp32"}
        signature = {
            name: "constexpr"
            if name in constants
            else TYPES[value.dtype]
            if hasattr(value, "dtype")
            else kinds[type(value)]
            for name, value in given.items()
        }
        key = (self.name, *signature.items(), *constants.items())
        if key not in compiled:
            source = ASTSource(
                self.kernel, signature, {(names.index(name),): value for name, value in constants.items()}
            )
            compiled[key] = triton.compile(source, target=GPUTarget("cuda", 90, 32))
            assert compiled[key].metadata.shared <= 227 * 1024 and compiled[key].asm["cubin"]


for module in (batch_norm, elu, group_norm):
    for name, value in list(vars(module).items()):
        if name.endswith("_kernel"):
            setattr(module, name, Compiled(f"{module.__name__}.{name}", value))
agreement.NORMS, agreement.BATCHES = [], [((2, 64, 32, 32), 2)]
for dtype in TYPES:
    for _, (fused, _), arguments in agreement.cases("cpu", dtype):
        agreement.gradients(fused, arguments)
    maps = [torch.zeros(2, 64, 32, 32, dtype=dtype).to(memory_format=torch.channels_last) for _ in range(4)]
    for joined in (True, False):  # the end of a block, and the norm of a shortcut
        form, _ = agreement.norm_forms(4, joined, joined)
        agreement.gradients(form, (*maps, torch.ones(64), torch.zeros(64)))
print(len(compiled), sorted({key[0].split(".", 2)[-1] for key in compiled}))
