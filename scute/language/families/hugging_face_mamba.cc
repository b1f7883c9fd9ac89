// transformers' pure models: Mamba, Falcon-Mamba and Mamba-2.
#include <fmt/format.h>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/language/families/config_keys.h"
#include "scute/language/families/families.h"

namespace scute {
namespace {

/// What the three classes share.
void read_common(ConfigReader& reader, const SizeDefaults& sizes, int64_t layers,
                 ModelDescription& out) {
  MambaConfig& c = out.config;
  read_sizes(reader, sizes, out);
  c.layers = reader.integer("num_hidden_layers", layers);
  c.norm_eps = read_epsilon(reader, {"layer_norm_epsilon"}, 1e-5);
  c.taps = reader.integer("conv_kernel", 4);
  c.conv_bias = reader.flag("use_conv_bias", true);
  c.in_proj_bias = c.out_proj_bias = reader.flag("use_bias", false);
  reader.require_silu("hidden_act");
  remark_on_residual(reader, out);
}

/// intermediate_size counts where it is there: falcon-mamba-7b has expand 16 beside it, which is
/// not its E.
void read_mamba1(ConfigReader& reader, ModelDescription& out) {
  read_common(reader, {.width = 768, .vocabulary = 50280, .tied = true}, 32, out);
  MambaConfig& c = out.config;
  c.mixer = MixerKind::mamba1;
  if (reader.find("intermediate_size") == nullptr) {
    c.inner = reader.expanded(c.width);
  } else {
    c.inner = reader.integer("intermediate_size");
  }
  c.state = reader.integer("state_size", 16);
  c.dt_rank = reader.integer_or_auto("time_step_rank", ceil_div(c.width, 16));
}

}  // namespace

void read_mamba(ConfigReader& reader, ModelDescription& out) {
  read_mamba1(reader, out);
  reader.require("use_bcdt_rms", false);  // Falcon-Mamba's norms, in older converted configs
  // An old 4-bit repository of falcon-mamba-7b-instruct calls itself mamba: read as one it would
  // lose the norms of dt, B and C.
  if (out.config.vocabulary == 65024 && out.config.width == 4096 && !reader.has("use_bcdt_rms")) {
    fail(reader.at("model_type"),
         "falcon_mamba for a model of Falcon-Mamba's sizes (vocab_size 65024, hidden_size 4096); "
         "\"use_bcdt_rms\": false beside mamba says that it has no norms of dt, B and C",
         "\"mamba\", which is ambiguous here");
  }
}

void read_falcon_mamba(ConfigReader& reader, ModelDescription& out) {
  read_mamba1(reader, out);
  reader.require("use_bcdt_rms", true);
  out.config.inner_norms = MambaConfig::InnerNorms::plain;
  out.config.inner_eps = read_epsilon(reader, {"mixer_rms_eps"}, 1e-6);
}

/// transformers' Mamba2Mixer: intermediate_size does not count, and heads must fill the inner
/// width.
void read_mamba2(ConfigReader& reader, ModelDescription& out) {
  read_common(reader, {.width = 4096, .vocabulary = 32768}, 64, out);
  MambaConfig& c = out.config;
  c.mixer = MixerKind::mamba2;
  c.inner = reader.expanded(c.width);
  c.state = reader.integer("state_size", 128);
  c.head_width = reader.integer("head_dim", 64);
  c.groups = reader.integer("n_groups", 8);
  c.heads = reader.integer("num_heads", 128);
  if (checked_mul(c.heads, c.head_width, reader.at("num_heads")) != c.inner) {
    fail(reader.at("num_heads"),
         fmt::format("num_heads (128 if absent) × head_dim (64 if absent) = expand × hidden_size, "
                     "{}",
                     c.inner),
         fmt::format("{} × {}", c.heads, c.head_width));
  }
  read_limits(reader, "time_step_limit", c);
  if (reader.flag("norm_before_gate", false)) {
    out.remarks.push_back(
        "norm_before_gate true has no effect: transformers gates before the norm, and so does "
        "scute");
  }
  if (!reader.flag("rms_norm", true)) {
    out.remarks.push_back(
        "rms_norm false has no effect: transformers has the gated norm always, and so has scute");
  }
}

}  // namespace scute
