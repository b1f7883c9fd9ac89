#include "scute/data/feature_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/base/json.h"

namespace scute {
namespace {

constexpr std::string_view kOtherSet = "a model trained on this feature set";

std::vector<int64_t> parse_list(const Json& object, std::string_view key, std::string_view where) {
  std::vector<int64_t> out;
  const Json* list = object.find(key);
  if (list == nullptr) return out;
  const std::string at = fmt::format("{}: {}", where, key);
  out.reserve(list->as_array(at).size());
  for (const Json& t : list->as_array(at)) {
    // Not as_int, which takes 40.0 too: whatever wrote that did not write frame numbers.
    if (!t.is_int()) {
      fail(fmt::format("{}[{}]", at, out.size()), "a whole number below 2^63",
           t.dump().substr(0, 60));
    }
    out.push_back(t.as_int(at));
  }
  return out;
}

const Tensor* find(const std::vector<NamedTensor>& arrays, std::string_view name) {
  const auto found = std::ranges::find(arrays, name, &NamedTensor::name);
  return found == arrays.end() ? nullptr : &found->tensor;
}

/// "F32 of shape (3, 4)".
std::string describe(const Tensor& tensor) {
  return fmt::format("{} of shape {}", name_of(tensor.dtype()), to_string(tensor.shape()));
}

/// A number stored as an array of one element.
double scalar(const Tensor& tensor, const std::string& where) {
  if (tensor.size() == 1) {
    if (is_float(tensor.dtype())) {
      return tensor.dtype() == DType::f64 ? tensor.values<double>()[0]
                                          : double{tensor.to_f32().values<float>()[0]};
    }
    if (tensor.dtype() == DType::i64) return static_cast<double>(tensor.values<int64_t>()[0]);
    if (tensor.dtype() == DType::i32) return static_cast<double>(tensor.values<int32_t>()[0]);
  }
  fail(where, "one number", describe(tensor));
}

/// Raw samples of a radio; i32 is what uint16 is read as. Up to 2^24 they are exact in f32.
bool is_short_integer(DType dtype) {
  return dtype == DType::i8 || dtype == DType::u8 || dtype == DType::i16 || dtype == DType::i32;
}

template <class T>
void copy_integers(const Tensor& from, std::span<float> to) {
  std::ranges::transform(from.values<T>(), to.begin(), [](T x) { return static_cast<float>(x); });
}

Tensor from_integers(const Tensor& stored) {
  Tensor out(DType::f32, stored.shape());
  const auto to = out.mutable_values<float>();
  if (stored.dtype() == DType::i8) {
    copy_integers<int8_t>(stored, to);
  } else if (stored.dtype() == DType::u8) {
    copy_integers<uint8_t>(stored, to);
  } else if (stored.dtype() == DType::i16) {
    copy_integers<int16_t>(stored, to);
  } else {
    copy_integers<int32_t>(stored, to);
  }
  return out;
}

/// One finite float for each feature.
std::vector<float> per_feature(const std::vector<NamedTensor>& arrays, std::string_view name,
                               int64_t features, const std::string& path) {
  const std::string where = fmt::format("{}: {}", path, name);
  const Tensor* stored = find(arrays, name);
  if (stored == nullptr)
    fail(path, "the arrays feat_mean and feat_std", fmt::format("no {}", name));
  if (!is_float(stored->dtype()) || stored->shape() != Shape{features}) {
    fail(where, fmt::format("{} floats, the features of the model, or {}", features, kOtherSet),
         describe(*stored));
  }
  const Tensor rounded = stored->to_f32();
  const auto values = rounded.values<float>();
  const auto bad = std::ranges::find_if(values, [](float x) { return !std::isfinite(x); });
  if (bad != values.end()) {
    fail(fmt::format("{}[{}]", where, bad - values.begin()), "a finite number",
         fmt::format("{}", *bad));
  }
  return {values.begin(), values.end()};
}

}  // namespace

const std::vector<int64_t>& FeatureIndex::listed(FeatureRole wanted) const {
  static const std::vector<int64_t> kNone;
  if (wanted == FeatureRole::automatic) return any;
  if (role != name_of(wanted)) return kNone;
  if (wanted == FeatureRole::train) return train;
  if (wanted == FeatureRole::eval) return eval;
  return test.empty() ? any : test;
}

FeatureIndex parse_feature_index(std::string_view text, std::string_view where) {
  const Json object = Json::parse(text, where);
  object.as_object(where);
  FeatureIndex out;
  if (const Json* role = object.find("role")) {
    out.role = role->as_string(fmt::format("{}: role", where));
  }
  out.any = parse_list(object, "indices", where);
  out.train = parse_list(object, "indices_train", where);
  out.eval = parse_list(object, "indices_eval", where);
  out.test = parse_list(object, "indices_test", where);
  return out;
}

void check_window_ends(const std::vector<int64_t>& listed, int64_t window, int64_t frames,
                       std::string_view where) {
  const auto bad =
      std::ranges::find_if(listed, [=](int64_t t) { return t < window || t >= frames; });
  if (bad == listed.end()) return;
  const std::string expected =
      frames > window
          ? fmt::format("indices from {} to {}; remove the others", window, frames - 1)
          : fmt::format("no indices: {} frames have no window of {} and a label", frames, window);
  fail(where, expected,
       *bad < window
           ? fmt::format("{}: its window of {} frames begins before the first", *bad, window)
           : fmt::format("{}: its label is behind the last of {} frames", *bad, frames));
}

FeatureNormalization parse_feature_statistics(const std::vector<NamedTensor>& arrays,
                                              int64_t features, const std::string& path) {
  if (const Tensor* stored = find(arrays, "Din")) {
    const double din = scalar(*stored, path + ": Din");
    if (din != static_cast<double>(features)) {
      fail(path + ": Din", fmt::format("{}, the features of the model, or {}", features, kOtherSet),
           fmt::format("{}", din));
    }
  }
  FeatureNormalization out{.path = path,
                           .mean = per_feature(arrays, "feat_mean", features, path),
                           .deviation = per_feature(arrays, "feat_std", features, path)};
  float floor = 1e-3F;
  if (const Tensor* stored = find(arrays, "std_floor")) {
    floor = static_cast<float>(scalar(*stored, path + ": std_floor"));
    // 0 would divide by the deviation of a feature that never changed.
    if (!(floor > 0) || !std::isfinite(floor)) {
      fail(path + ": std_floor", "a finite number above 0", fmt::format("{}", floor));
    }
  }
  for (float& deviation : out.deviation) {
    if (deviation < 0) {
      fail(path + ": feat_std", "deviations of at least 0", fmt::format("{}", deviation));
    }
    deviation = std::max(deviation, floor);
  }
  return out;
}

Tensor checked_frames(const Tensor& stored, int64_t features, const std::string& path) {
  const bool floats =
      stored.dtype() == DType::f16 || stored.dtype() == DType::f32 || stored.dtype() == DType::f64;
  if (!(floats || is_short_integer(stored.dtype())) || stored.rank() != 2) {
    fail(path,
         fmt::format("frames of {} features, float16, float32 or integers of 8 or 16 bits",
                     features),
         describe(stored));
  }
  if (stored.dim(1) != features) {
    fail(path,
         fmt::format("frames of the {} features that the model takes, or {}", features, kOtherSet),
         fmt::format("{} features", stored.dim(1)));
  }
  if (is_short_integer(stored.dtype())) return from_integers(stored);
  return stored.dtype() == DType::f64 ? stored.to_f32() : stored;
}

Tensor checked_positions(const Tensor& stored, int64_t frames, const std::vector<int64_t>& ends,
                         const std::string& path) {
  const bool numbers = stored.dtype() == DType::f32 || stored.dtype() == DType::f64;
  if (!numbers || stored.shape() != Shape{frames, 2}) {
    fail(path, fmt::format("float32 positions x and y of the {} frames beside it", frames),
         describe(stored));
  }
  const Tensor positions = stored.to_f32();
  const auto rows = positions.matrix<float>();
  for (const int64_t t : ends) {
    const float* xy = rows.row(t);
    if (std::isfinite(xy[0]) && std::isfinite(xy[1])) continue;
    fail(fmt::format("{}: row {}", path, t),
         "a finite position; correct it or remove the window from the json's list",
         fmt::format("({}, {})", xy[0], xy[1]));
  }
  return positions;
}

Tensor checked_times(const Tensor& stored, int64_t frames, const std::string& path) {
  const bool numbers = stored.dtype() == DType::f32 || stored.dtype() == DType::f64;
  if (!numbers || stored.shape() != Shape{frames}) {
    fail(path, fmt::format("float64 times of the {} frames beside it", frames), describe(stored));
  }
  if (stored.dtype() == DType::f64) return stored;
  const auto seconds = stored.values<float>();
  return Tensor::of<double>({frames}, std::vector<double>(seconds.begin(), seconds.end()));
}

}  // namespace scute
