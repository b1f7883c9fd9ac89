#include "scute/language/gguf/tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "scute/base/error.h"
#include "scute/models/language/mamba2.h"

namespace scute {
namespace {

struct GgufName {
  std::string_view ours, theirs;
};
constexpr std::string_view kGgufTable = "backbone.embedding.weight", kGgufHead = "lm_head.weight";

/// Of what does not belong to a layer.
constexpr std::array kGgufOutside{GgufName{kGgufTable, "token_embd.weight"},
                                  GgufName{"backbone.norm_f.weight", "output_norm.weight"},
                                  GgufName{kGgufHead, "output.weight"}};
/// Of a layer, by what a name begins with; the rest (.weight, .bias) stays.
constexpr std::array kGgufInLayer{
    GgufName{"norm.", "attn_norm."},
    GgufName{"norm2.", "ffn_norm."},
    GgufName{"mixer.in_proj.", "ssm_in."},
    GgufName{"mixer.conv1d.", "ssm_conv1d."},
    GgufName{"mixer.x_proj.", "ssm_x."},
    GgufName{"mixer.dt_proj.", "ssm_dt."},
    GgufName{"mixer.dt_bias", "ssm_dt.bias"},
    GgufName{"mixer.A_log", "ssm_a"},
    GgufName{"mixer.D", "ssm_d"},
    GgufName{"mixer.norm.", "ssm_norm."},
    GgufName{"mixer.dt_norm.", "ssm_dt_norm."},
    GgufName{"mixer.B_norm.", "ssm_b_norm."},
    GgufName{"mixer.C_norm.", "ssm_c_norm."},
    GgufName{"mixer.out_proj.", "ssm_out."},
    GgufName{"attention.q_proj.", "attn_q."},
    GgufName{"attention.k_proj.", "attn_k."},
    GgufName{"attention.v_proj.", "attn_v."},
    GgufName{"attention.o_proj.", "attn_output."},
    GgufName{"mlp.gate_proj.", "ffn_gate."},
    GgufName{"mlp.up_proj.", "ffn_up."},
    GgufName{"mlp.down_proj.", "ffn_down."},
    GgufName{"mlp.router.correction_bias", "exp_probs_b.bias"},
    GgufName{"mlp.router.", "ffn_gate_inp."},
    GgufName{"mlp.shared.gate_proj.", "ffn_gate_shexp."},
    GgufName{"mlp.shared.up_proj.", "ffn_up_shexp."},
    GgufName{"mlp.shared.down_proj.", "ffn_down_shexp."},
    GgufName{"mlp.latent_in.", "ffn_latent_down."},
    GgufName{"mlp.latent_out.", "ffn_latent_up."},
    GgufName{"mlp.experts.gate_proj.", "ffn_gate_exps."},
    GgufName{"mlp.experts.up_proj.", "ffn_up_exps."},
    GgufName{"mlp.experts.down_proj.", "ffn_down_exps."},
};

/// A name of ours, taken apart: "backbone.layers.3.mlp.experts.5.up_proj.weight" is
/// "mlp.experts.up_proj.weight" of layer 3.
struct OurName {
  std::string layer, rest;
  bool expert = false;

  explicit OurName(const std::string& name) : rest(name) {
    constexpr std::string_view kBlocks = "backbone.layers.", kExperts = "mlp.experts.";
    if (!name.starts_with(kBlocks)) return;
    const size_t dot = name.find('.', kBlocks.size());
    layer = name.substr(kBlocks.size(), dot - kBlocks.size());
    rest = name.substr(dot + 1);
    expert = rest.starts_with(kExperts);
    if (expert) rest.erase(kExperts.size(), rest.find('.', kExperts.size()) + 1 - kExperts.size());
  }
  bool is(std::string_view beginning) const { return rest.starts_with(beginning); }
};

class GgufPlanner {
 public:
  GgufPlanner(const ModelDescription& model, const GgufArchitecture& architecture,
              const DeferredTensors& tensors, GgufType type)
      : c_(model.config), architecture_(architecture), tensors_(tensors), type_(type) {}

  std::vector<GgufPlan> run() {
    for (const DeferredTensor& tensor : tensors_.tensors) {
      const OurName name(tensor.name);
      const std::string theirs = gguf_name(name);
      const auto [at, first] = places_.emplace(theirs, out_.size());
      if (first) {
        out_.push_back(plan(tensor, name, theirs));
      } else if (name.expert) {
        GgufPlan& stack = out_[at->second];
        stack.parts.push_back(&tensor);
        ++stack.tensor.shape[0];
      } else {
        fail(tensor.name, "a name of its own in GGUF", theirs);
      }
      add_zeros(name);
    }
    untie();
    return std::move(out_);
  }

 private:
  std::string gguf_name(const OurName& name) const {
    if (name.layer.empty()) {
      const auto found = std::ranges::find(kGgufOutside, name.rest, &GgufName::ours);
      if (found != kGgufOutside.end()) return std::string(found->theirs);
    }
    for (const GgufName& one : kGgufInLayer) {
      if (name.layer.empty() || !name.is(one.ours)) continue;
      // Readers of this architecture alone look for it without ".weight".
      if (architecture_.name == "falcon-h1" && one.ours == "norm2.") {
        return fmt::format("blk.{}.ffn_norm", name.layer);
      }
      return fmt::format("blk.{}.{}{}", name.layer, one.theirs, name.rest.substr(one.ours.size()));
    }
    fail(name.rest, "a tensor that GGUF has a name for", "another");
  }

  GgufPlan plan(const DeferredTensor& tensor, const OurName& name, const std::string& theirs) {
    GgufPlan out{{theirs, shape_of(tensor, name), type_}, {&tensor}};
    out.decay = name.is("mixer.A_log");
    out.factors = factors_of(name);
    const AttentionConfig& a = c_.attention;
    if (architecture_.pairs_beside && name.is("attention.q_proj.")) out.order = pairs(a.heads);
    if (architecture_.pairs_beside && name.is("attention.k_proj.")) out.order = pairs(a.key_heads);
    const bool blocks = type_ == GgufType::q8_0 || type_ == GgufType::q4_0;
    const bool vector = stays_float(name, out.tensor.shape);
    out.uneven = !vector && blocks && out.tensor.shape.back() % kGgufBlock != 0;
    if (vector || out.uneven) out.tensor.type = GgufType::f32;
    return out;
  }

  Shape shape_of(const DeferredTensor& tensor, const OurName& name) const {
    const Shape& shape = tensor.shape;
    if (name.expert) return {1, shape[0], shape[1]};
    if (name.is("mixer.conv1d.weight")) return {shape[0], shape[2]};
    if (c_.mixer == MixerKind::mamba1) return shape;
    if (name.is("mixer.A_log") || name.is("mixer.D")) return {shape[0], 1};
    if (name.is("mixer.norm.")) return {c_.groups, shape[0] / c_.groups};
    return shape;
  }

  static bool stays_float(const OurName& name, const Shape& shape) {
    if (shape.size() == 1) return true;
    constexpr std::array<std::string_view, 5> kFloats{"mixer.A_log", "mixer.D", "mixer.conv1d.",
                                                      "mixer.norm.", "mlp.router."};
    return std::ranges::any_of(kFloats, [&](std::string_view one) { return name.is(one); });
  }

  /// Rows of heads for readers who turn pairs side by side: of the dimensions that are turned, 0
  /// and m/2, 1 and m/2 + 1, …
  std::vector<int32_t> pairs(int64_t heads) const {
    const int64_t d = c_.attention.head_width, half = c_.attention.rotated / 2;
    std::vector<int32_t> out;
    for (int64_t i = 0; i < heads * d; ++i) {
      const int64_t at = i % d;
      const int64_t from = at >= 2 * half ? at : at / 2 + (at % 2 == 0 ? 0 : half);
      out.push_back(static_cast<int32_t>(i - at + from));
    }
    return out;
  }

  std::vector<float> factors_of(const OurName& name) const {
    if (name.is("mixer.in_proj.weight")) return segment_factors();
    const float one = factor_of(name);
    return one == 1 ? std::vector<float>{} : std::vector{one};
  }
  float factor_of(const OurName& name) const {
    const AttentionConfig& a = c_.attention;
    const bool bias = name.rest.ends_with(".bias");
    if (name.is("mixer.x_proj.")) return gguf_x_proj_factor(c_);
    if (name.is("mixer.out_proj.")) return c_.out_factor;
    if (name.is("attention.k_proj.")) return bias ? a.key_factor : a.in_factor * a.key_factor;
    if (name.is("attention.q_proj.") || name.is("attention.v_proj.")) return bias ? 1 : a.in_factor;
    if (name.is("attention.o_proj.")) return a.out_factor;
    if (name.is("mlp.gate_proj.")) return c_.feed_forward.gate_factor;
    if (name.is("mlp.down_proj.")) return c_.feed_forward.out_factor;
    if (architecture_.keeps_factors || !name.layer.empty()) return 1;
    if (name.rest == kGgufTable) return c_.embedding_factor;
    if (name.rest == kGgufHead) return c_.logit_factor;
    return 1;
  }
  /// Of in_proj's rows z, x, B, C, dt.
  std::vector<float> segment_factors() const {
    if (c_.mixer == MixerKind::mamba1) return {};
    if (c_.in_factor == 1 && c_.segment_factors == MambaConfig().segment_factors) return {};
    const auto held = held_in(c_.segment_factors, tensors_.factors_type.value_or(DType::f32));
    const int64_t GN = c_.groups * c_.state;
    const std::array<int64_t, 5> widths{c_.inner, c_.inner, GN, GN, c_.heads};
    std::vector<float> out;
    for (size_t i = 0; i < widths.size(); ++i) {
      out.insert(out.end(), static_cast<size_t>(widths[i]), c_.in_factor * held[i]);
    }
    return out;
  }

  /// Where readers add what a model may be without: a convolution's bias, the correction of a
  /// choice of experts.
  void add_zeros(const OurName& name) {
    const auto zeros = [&](const char* theirs, int64_t size) {
      out_.push_back({{fmt::format("blk.{}.{}", name.layer, theirs), {size}, GgufType::f32}});
    };
    if (name.is("mixer.conv1d.weight") && !c_.conv_bias) {
      zeros("ssm_conv1d.bias", c_.conv_channels());
    }
    const std::string correction =
        fmt::format("backbone.layers.{}.mlp.router.correction_bias", name.layer);
    if (architecture_.name == "nemotron_h_moe" && name.is("mlp.router.weight") &&
        std::ranges::find(tensors_.tensors, correction, &DeferredTensor::name) ==
            tensors_.tensors.end()) {
      zeros("exp_probs_b.bias", c_.experts.count);
    }
  }
  /// A table that is the head too, under both names where one factor of each is in the values.
  void untie() {
    if (!c_.tied_head || architecture_.keeps_factors) return;
    if (c_.embedding_factor == 1 && c_.logit_factor == 1) return;
    GgufPlan head = out_[places_.at("token_embd.weight")];
    head.tensor.name = "output.weight";
    head.factors = {c_.logit_factor};
    out_.push_back(std::move(head));
  }

  const MambaConfig& c_;
  const GgufArchitecture& architecture_;
  const DeferredTensors& tensors_;
  GgufType type_;
  std::map<std::string, size_t> places_;
  std::vector<GgufPlan> out_;
};

}  // namespace

std::vector<GgufPlan> plan_gguf(const ModelDescription& model, const GgufArchitecture& architecture,
                                const DeferredTensors& tensors, GgufType type) {
  return GgufPlanner(model, architecture, tensors, type).run();
}

}  // namespace scute
