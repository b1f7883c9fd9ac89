// The same bits on every x86-64 processor, at the price of speed.
#pragma once

#include <cstdint>

namespace scute {

/// While one that is `wanted` lives, every kernel of this process computes with vectors of four
/// floats, products and sums rounded one by one: what an x86-64 processor has had
/// since the first. Where there is SSE4 its instructions form the same bits faster. All else keeps
/// to IEEE arithmetic (base/portable_math.h) and whole numbers, so that results are the same bytes
/// on every x86-64 machine.
///
/// It holds for the process, because kernels are plain functions that Highway chooses: a program
/// makes one before weights are packed and keeps it as long as they are used. One at a time, and
/// none beside other threads' work. The library makes none.
class PortableKernels {
 public:
  explicit PortableKernels(bool wanted);
  ~PortableKernels();
  PortableKernels(const PortableKernels&) = delete;
  PortableKernels& operator=(const PortableKernels&) = delete;

 private:
  int64_t before_ = 0;  ///< instruction sets as Highway had them; 0: nothing was changed
};

}  // namespace scute
