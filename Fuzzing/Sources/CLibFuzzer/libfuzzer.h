#pragma once
#include <stddef.h>
#include <stdint.h>

/// libFuzzer's loop as a function: `FuzzerDriver.cpp` of LLVM's compiler-rt, in its library without `main`.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*try_input)(const uint8_t *data, size_t size));
