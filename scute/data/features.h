// Folders of radio features: recorded sequences of frames with the position at each frame, and
// which windows of them are for training, evaluation and test.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/base/threads.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// What windows are for. automatic: every sequence with the windows it lists as `indices`; one that
/// lists none has all of them, K ≤ t < T.
enum class FeatureRole { train, eval, test, automatic };
/// "train", "eval", "test", "auto"; Error naming them otherwise.
FeatureRole parse_feature_role(std::string_view text);
std::string_view name_of(FeatureRole role);

/// One recording.
struct FeatureSequence {
  std::string name;  ///< of its json file, without ".json"
  Tensor frames;     ///< T × Din, f16 or f32, as stored (mapped); f64 and integers become f32
  Tensor positions;  ///< T × 2, f32, metres
  Tensor times;      ///< T, f64, seconds; empty when not stored
  /// Each t is a window, the frames t − K … t − 1, and its label positions[t]: the frame after the
  /// window. In the file's order.
  std::vector<int64_t> ends;
};

/// (x − mean) / max(deviation, floor), as training did.
struct FeatureNormalization {
  std::string path;
  std::vector<float> mean;       ///< Din
  std::vector<float> deviation;  ///< Din, never below the floor
};

/// The recordings of a folder that have windows of one role; their frames are read later.
struct FeatureFolder {
  std::string path;
  FeatureRole role;
  std::optional<FeatureNormalization> normalization;
  std::vector<FeatureSequence> sequences;  ///< with windows of that role, sorted by json file name
  std::vector<std::string> remarks;        ///< what is unusual about the windows, a sentence each

  int64_t windows() const;
};

/// What a model wants of a folder.
struct FeatureRequest {
  FeatureRole role = FeatureRole::eval;
  int64_t features = 0;  ///< Din the model wants
  int64_t window = 0;    ///< K of the model
  bool normalize = true;
};

/// FOLDER/json/NAME.json and FOLDER/npy/NAME.{feats,xy,ts}.npy (scute/regressor/README.md); the
/// normalization is the first stats_train.npz of FOLDER/npy, FOLDER and its parent. Error naming
/// the file and what to do: no such folder, another Din, arrays of different lengths, a window that
/// begins before the first frame or whose label is behind the last one, a label that is not finite,
/// no window of that role (naming those there are), no normalization (--no-normalize). A sequence
/// whose list is empty is left out; a window listed twice counts twice, with a remark.
FeatureFolder read_feature_folder(const std::string& path, const FeatureRequest& request);

/// Values that are no numbers: as stored, or, infinities, too large for f32 once normalized.
struct NonFinite {
  int64_t nans = 0, infinities = 0;
};

/// The frames of one sequence as the model sees them: T × Din floats, normalized in f32, then NaN
/// to 0 and ±infinity to ±1e6, which are counted into `found`.
Tensor normalized_frames(const FeatureSequence& sequence,
                         const std::optional<FeatureNormalization>& normalization, NonFinite& found,
                         const Threads& threads = Threads(1));

}  // namespace scute
