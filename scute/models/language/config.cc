#include "scute/models/language/config.h"

#include <fmt/format.h>

#include "scute/base/error.h"

namespace scute {

int64_t MambaConfig::projected() const {
  return mixer == MixerKind::mamba1 ? 2 * inner : 2 * inner + 2 * groups * state + heads;
}

int64_t MambaConfig::conv_channels() const {
  return mixer == MixerKind::mamba1 ? inner : inner + 2 * groups * state;
}

void MambaConfig::check(std::string_view where) const {
  // The limits are 8 to 60 times what the largest released model (8.2 billion weights) has; they
  // keep every product of two of them far below 2^63.
  const auto in_range = [&](std::string_view name, int64_t value, int64_t most) {
    if (value < 1 || value > most) {
      fail(where, fmt::format("{} from 1 to {}", name, most), fmt::format("{}", value));
    }
  };
  in_range("the number of layers", layers, 4096);
  in_range("the model width", width, 1 << 17);
  in_range("the vocabulary", vocabulary, 1 << 24);
  in_range("the inner width", inner, 1 << 19);
  in_range("the state size", state, 1 << 14);
  in_range("the number of convolution taps", taps, 64);
  if (!(norm_eps > 0 && norm_eps < 1)) {
    fail(where, "a norm epsilon between 0 and 1", fmt::format("{}", norm_eps));
  }
  if (mixer == MixerKind::mamba1) {
    in_range("the dt rank", dt_rank, 1 << 17);
    return;
  }
  in_range("the number of heads", heads, 1 << 16);
  in_range("the head width", head_width, 1 << 14);
  in_range("the number of groups", groups, 1 << 12);
  if (heads * head_width != inner) {
    fail(where, fmt::format("heads × head width = inner width {}", inner),
         fmt::format("{} × {}", heads, head_width));
  }
  if (heads % groups != 0) {
    fail(where, fmt::format("a number of groups that divides {} heads", heads),
         fmt::format("{}", groups));
  }
  if (!(dt_min >= 0 && dt_min <= dt_max)) {
    fail(where, "time step limits with 0 <= least <= most", fmt::format("{}, {}", dt_min, dt_max));
  }
}

}  // namespace scute
