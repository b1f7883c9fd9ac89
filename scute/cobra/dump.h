// Dump for Cobra: logits and the tensors of chosen sites for given pictures.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/cobra/folder.h"

namespace scute {

/// A picture as tower_pixels() gives it, and the ids behind it.
struct DumpedPicture {
  std::vector<Tensor> pixels;
  std::vector<int32_t> ids;
};

/// `model` with all its parts. Returns "ids" (B, L) I32, where there are any, "logits"
/// (B, T + L, V), where a picture has T rows, and "site/NAME" (B, rows, width) or (B, state shape),
/// F32; sites that nothing passes are left out. Error when the pictures have different numbers of
/// ids. The same for any number of threads.
std::vector<NamedTensor> dump_cobra(const CobraModel& model,
                                    const std::vector<DumpedPicture>& pictures,
                                    const std::vector<Site>& sites, int threads);

}  // namespace scute
