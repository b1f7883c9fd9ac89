#include "scute/language/gguf/requirements.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"

namespace scute {
namespace {

class GgufRequirements {
 public:
  GgufRequirements(const ModelDescription& model, const std::string& architecture)
      : c_(model.config),
        architecture_(architecture),
        where_(fmt::format("{}: GGUF's {}", model.name, architecture)) {}

  void check() const {
    const bool mixers = has(PartKind::mixer);
    if (mixers) mixer();
    if (has(PartKind::attention)) attention();
    if (has(PartKind::experts)) experts();
    const bool one_width = mixers && (is("mamba", "jamba") || architecture_ == "granitehybrid");
    require(!one_width || c_.inner == 2 * c_.width,
            fmt::format("an inner width of {}, twice the model's", 2 * c_.width),
            fmt::to_string(c_.inner));
    require(!is("mamba", "mamba2") || c_.pure(), "Mamba layers alone",
            "attention or feed-forwards, which it has no tensors for");
    require(c_.shared.count == 0, "no shared blocks", fmt::to_string(c_.shared.count));
  }

 private:
  bool is(const char* one, const char* other) const {
    return architecture_ == one || architecture_ == other;
  }
  bool has(PartKind part) const {
    return std::ranges::any_of(c_.all_blocks(), [&](const auto& b) { return b.has(part); });
  }
  void require(bool holds, const std::string& expected, const std::string& found) const {
    if (!holds) fail(where_, expected, found);
  }

  void mixer() const {
    require(!c_.in_proj_bias && !c_.out_proj_bias, "in_proj and out_proj without bias", "biases");
    if (c_.mixer == MixerKind::mamba1) return;
    require(c_.dt_min == 0 && std::isinf(c_.dt_max), "time steps without limits",
            fmt::format("limits ({}, {})", c_.dt_min, c_.dt_max));
    require(!c_.D_per_channel, "one D a head", "one a channel");
    require(c_.gated_norm != MambaConfig::GatedNorm::norm_first, "the gate before the norm",
            "the norm before the gate");
    require(c_.gated_norm != MambaConfig::GatedNorm::none || architecture_ == "falcon-h1",
            "a gated norm", "none");
    require(c_.gated_eps == 0 || c_.gated_eps == c_.norm_eps, "one epsilon for all norms",
            fmt::format("{} and {}", c_.norm_eps, c_.gated_eps));
  }

  void attention() const {
    const AttentionConfig& a = c_.attention;
    require(a.taps == 0, "attention without a convolution", fmt::format("{} taps", a.taps));
    const bool plain = is("falcon-h1", "jamba") || is("nemotron_h", "nemotron_h_moe");
    const float usual = 1 / std::sqrt(static_cast<float>(a.head_width));
    require(!plain || std::abs(a.scale - usual) <= 1e-6F * usual,
            fmt::format("scores times {}", usual), fmt::to_string(a.scale));
    require(!a.out_bias || !is("falcon-h1", "jamba"), "o_proj without bias", "one");
    require(architecture_ != "jamba" || (a.heads * a.head_width == c_.width && !a.qkv_bias),
            "heads that are as wide as the model together, without bias",
            fmt::format("{} of {}", a.heads, a.head_width));
    const bool turned = is("falcon-h1", "granite") || is("granitehybrid", "granitemoe");
    require(turned || a.rotated == 0, "attention without positions", "rotary ones");
    require(architecture_ != "falcon-h1" || a.rotated > 0, "rotary positions", "none");
    require(architecture_ != "granitemoe" || a.rotated > 0, "rotary positions", "none");
  }

  void experts() const {
    const ExpertsConfig& e = c_.experts;
    using Routing = ExpertsConfig::Routing;
    const bool nemotron = architecture_ == "nemotron_h_moe";
    require(architecture_ != "jamba" || e.routing == Routing::softmax, "Jamba's routing",
            "another");
    if (!nemotron) return;
    require(!has(PartKind::feed_forward), "experts in every feed-forward", "some without");
    require(e.shared_inner > 0, "a shared expert", "none");
    require(e.latent == 0 || !c_.feed_forward.bias, "latent_in and latent_out without bias",
            "biases");
    require(!c_.feed_forward.bias, "a shared expert without bias", "biases");
  }

  const MambaConfig& c_;
  const std::string& architecture_;
  std::string where_;
};

}  // namespace

void require_gguf_numbers(const ModelDescription& model, const std::string& architecture) {
  GgufRequirements(model, architecture).check();
}

}  // namespace scute
