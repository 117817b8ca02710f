"""What an error of an array library means: no memory, a GPU that is gone, or something else.

Every library has classes of its own for these, and most of them are not to be had without it, so
they are told by name and by the words of CUDA, which all of them repeat.

Source: CUDA Runtime API, "cudaError_t": the errors after which "the process must be terminated and
relaunched", and those of a device that is not there.
"""

OUT_OF_MEMORY_MESSAGES = (
    "OutOfMemory", "RESOURCE_EXHAUSTED", "cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED", "out of memory",
)  # fmt: skip

LOST_GPU_MESSAGES = (
    "cudaErrorIllegalAddress", "CUDA_ERROR_ILLEGAL_ADDRESS", "illegal memory access",
    "cudaErrorLaunchFailure", "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure",
    "cudaErrorLaunchTimeout", "CUDA_ERROR_LAUNCH_TIMEOUT",
    "cudaErrorHardwareStackError", "CUDA_ERROR_HARDWARE_STACK_ERROR",
    "cudaErrorIllegalInstruction", "CUDA_ERROR_ILLEGAL_INSTRUCTION",
    "cudaErrorMisalignedAddress", "CUDA_ERROR_MISALIGNED_ADDRESS",
    "cudaErrorECCUncorrectable", "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error",
    "cudaErrorNvlinkUncorrectable", "CUDA_ERROR_NVLINK_UNCORRECTABLE",
    "cudaErrorDevicesUnavailable", "CUDA_ERROR_DEVICE_UNAVAILABLE",
    "cudaErrorNoDevice", "CUDA_ERROR_NO_DEVICE", "cudaErrorContextIsDestroyed",
    "CUDA_ERROR_CONTEXT_IS_DESTROYED", "cudaErrorUnknown", "CUDA_ERROR_UNKNOWN",
    "GPU is lost", "fallen off the bus",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, of the host or of a device."""
    return isinstance(error, MemoryError) or _names(error, OUT_OF_MEMORY_MESSAGES)


def is_lost(error: BaseException) -> bool:
    """Whether the GPU can do nothing any more in this process."""
    return not is_out_of_memory(error) and _names(error, LOST_GPU_MESSAGES)


def _names(error: BaseException, words: tuple[str, ...]) -> bool:
    if isinstance(error, (OSError, KeyboardInterrupt)):
        return False
    said = f"{type(error).__name__}: {error}"
    return any(word in said for word in words)
