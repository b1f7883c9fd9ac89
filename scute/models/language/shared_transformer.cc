#include "scute/models/language/shared_transformer.h"

#include <fmt/format.h>

#include "scute/kernels/elementwise.h"
#include "scute/models/grids.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

std::string shared_prefix(int64_t number) { return fmt::format("backbone.shared.{}.", number); }

}  // namespace

SharedSites::SharedSites(const MambaConfig& config, const Scheme& scheme, const std::string& layer,
                         SiteList& sites)
    : attention_input(
          sites.add_input(layer + "q_proj:input", 2 * config.width, SiteList::Input::plain)),
      attention(config, layer, sites) {
  for (const char* op : {"k_proj", "v_proj"}) {
    sites.alias_input(layer + op + ":input", layer + "q_proj:input");
  }
  if (config.shared.attention_adapters) {
    for (const char* to : {"q", "k", "v"}) {
      sites.alias_input(layer + "adapter_" + to + ":input", layer + "q_proj:input");
    }
  }
  feed_forward_input =
      sites.add_input(layer + "gate_proj:input", config.width, SiteList::Input::plain);
  sites.alias_input(layer + "up_proj:input", layer + "gate_proj:input");
  down_proj_input = sites.add_input(layer + "down_proj:input", config.shared.inner,
                                    input_of(scheme.rotated_down_proj));
  for (const char* to : {"gate", "up"}) {
    sites.alias_input(layer + "adapter_" + to + ":input", layer + "gate_proj:input");
  }
  linear_input = sites.add_input(layer + "linear:input", config.width, SiteList::Input::plain);
  linear_output = sites.add(layer + "linear:output", {config.width});
}

SharedTransformer::Raw::Raw(WeightReader& reader, const MambaConfig& config, int64_t number)
    : norm(reader.take(shared_prefix(number) + "norm.weight", {2 * config.width})),
      norm2(reader.take(shared_prefix(number) + "norm2.weight", {config.width})),
      attention(reader, shared_prefix(number) + "attention.", config, 2 * config.width),
      feed_forward(reader, shared_prefix(number) + "mlp.", config.feed_forward, config.width,
                   config.shared.inner) {}

SharedTransformer::RawUse::RawUse(WeightReader& reader, const MambaConfig& config, int64_t layer)
    : name(fmt::format("backbone.layers.{}.", layer)),
      linear(reader, name + "linear", config.width, config.width) {
  const std::string prefix = name + "adapter.";
  const auto grid = [&](const char* op) {
    const std::string scale = fmt::format("{}shared.{}.input_scale", name, op);
    return reader.contains(scale) ? reader.take(scale, {1}) : Tensor();
  };
  q_input = grid("q_proj");
  o_input = grid("o_proj");
  gate_input = grid("gate_proj");
  down_input = grid("down_proj");
  const AttentionConfig& a = config.attention;
  const int64_t rank = config.shared.adapter_rank, inner = config.shared.inner;
  down = LinearTensors(reader, prefix + "mlp.down", rank, config.width);
  gate_up = LinearTensors(reader, prefix + "gate.up", inner, rank);
  up_up = LinearTensors(reader, prefix + "up.up", inner, rank);
  if (!config.shared.attention_adapters) return;
  for (const char* of : {"q", "k", "v"}) {
    const int64_t heads = of[0] == 'q' ? a.heads : a.key_heads;
    attention.emplace_back(reader, prefix + of + ".down", rank, 2 * config.width);
    attention.emplace_back(reader, prefix + of + ".up", heads * a.head_width, rank);
  }
}

void SharedTransformer::Raw::take_input_form(const RawUse& use) {
  for (LinearTensors* of : {&attention.q_proj, &attention.k_proj, &attention.v_proj}) {
    of->input_scale = use.q_input;
  }
  attention.o_proj.input_scale = use.o_input;
  for (LinearTensors* of : {&feed_forward.gate_proj, &feed_forward.up_proj}) {
    of->input_scale = use.gate_input;
  }
  feed_forward.down_proj.input_scale = use.down_input;
}

SharedTransformer::Packed::Packed(const Raw& raw, const MambaConfig& config,
                                  const Execution& execution)
    : norm{to_vector(raw.norm), config.norm_eps},
      norm2{to_vector(raw.norm2), config.norm_eps},
      attention(raw.attention, config, execution, {}),
      feed_forward(raw.feed_forward, config.feed_forward, execution) {}

SharedTransformer::SharedTransformer(const Packed& block, const RawUse& use,
                                     const Execution& execution, const SharedSites& sites)
    : norm_(block.norm),
      norm2_(block.norm2),
      attention_(block.attention.with(use.attention, execution, sites.attention)),
      feed_forward_(block.feed_forward.adapted(use.down, use.gate_up, use.up_up, execution)),
      linear_(use.linear, execution),
      sites_(sites) {
  const auto grid = [&](const Tensor& scale, const char* op) {
    if (scale.size() == 0) return 1.0F;
    return checked_scales(scale, use.name + "shared." + op + ".input_scale").front();
  };
  attention_.set_input_scales(grid(use.q_input, "q_proj"), grid(use.o_input, "o_proj"));
  feed_forward_.set_input_scales(grid(use.gate_input, "gate_proj"),
                                 grid(use.down_input, "down_proj"));
}

void SharedTransformer::operator()(Run& run, MatView<const float> residual,
                                   MatView<const float> origin, KeyValueCache& cache,
                                   const Place& place, MatView<float> out) const {
  const int64_t L = residual.rows, D = residual.cols;
  const Arena::Scope scope(run.arena());
  const auto both = run.matrix(L, 2 * D), read = run.matrix(L, 2 * D);
  run.on_rows(copy_rows, residual, both.columns(0, D));
  run.on_rows(copy_rows, origin, both.columns(D, D));
  norm_.show(run, both, sites_.attention_input, false, 1, read);
  const auto attended = run.matrix(L, D), normed = run.matrix(L, D);
  attention_(run, read, cache, place, attended);

  norm2_.show(run, attended, sites_.feed_forward_input, false, 1, normed);
  const auto inner = run.matrix(L, feed_forward_.inner());
  feed_forward_.activated(run, normed, inner);
  run.pass_input(sites_.down_proj_input, inner);
  feed_forward_.down(run, inner, attended);

  run.pass_input(sites_.linear_input, attended);
  linear_(run, attended, out);
  run.pass(sites_.linear_output, out);
}

void SharedTransformer::add_size(ModelSize& size) const { size.linear += linear_.bytes(); }

void SharedTransformer::add_work(ModelWork& work) const {
  attention_.add_work(work);
  feed_forward_.add_work(work);
  linear_.add_work(1, work);
}

}  // namespace scute
