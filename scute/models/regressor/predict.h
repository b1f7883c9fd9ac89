// Positions for many windows over shared frames, each frame projected once.
#pragma once

#include <span>

#include "scute/base/threads.h"
#include "scute/models/regressor/integer_regressor.h"
#include "scute/models/regressor/regressor.h"

namespace scute {

// Model: Regressor or IntegerRegressor.

/// Windows of `frames` (T × Din) that end before each frame of `ends`: the window of e is the
/// frames e − K … e − 1. In any order, also overlapping or repeated. Returns windows × 2 floats,
/// metres. Every frame is projected and every patch embedded once, however many windows share it;
/// frames that no window covers are not read. The bits of a window's position depend on its own K
/// frames alone. Error for another width of the frames, or an end below K or above T.
template <class Model>
Tensor predict(const Model& model, MatView<const float> frames, std::span<const int64_t> ends,
               const Threads& threads);
/// The same on this thread, for a tap. It sees each site in pieces of up to 64 rows or windows; a
/// frame that several windows share is shown once at `proj:input` and `patch_embedding:input`.
template <class Model>
Tensor predict(const Model& model, MatView<const float> frames, std::span<const int64_t> ends,
               Run& run);

}  // namespace scute
