#include "scute/models/language/experts.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/kernels/attention.h"
#include "scute/kernels/elementwise.h"
#include "scute/models/language/routing.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

/// The width in which experts work.
int64_t working_width(const MambaConfig& config) {
  return config.experts.latent > 0 ? config.experts.latent : config.width;
}

FeedForwardConfig without_bias(FeedForwardConfig config) {
  config.bias = false;
  return config;
}

/// begins[e]: the first of the L·T rows, sorted by expert, that expert e has; begins[X]: all.
void count_rows(MatView<const int32_t> experts, std::span<int32_t> begins) {
  std::ranges::fill(begins, 0);
  for (int64_t t = 0; t < experts.rows; ++t) {
    for (int64_t i = 0; i < experts.cols; ++i) {
      ++begins[static_cast<size_t>(experts.row(t)[i]) + 1];
    }
  }
  for (size_t e = 1; e < begins.size(); ++e) begins[e] += begins[e - 1];
}

/// place[t, i]: the row, sorted by expert and then by token, of token t's i-th choice.
void place_rows(MatView<const int32_t> experts, std::span<const int32_t> begins,
                std::span<int32_t> next, MatView<int32_t> place) {
  std::ranges::copy(begins, next.begin());
  for (int64_t t = 0; t < experts.rows; ++t) {
    for (int64_t i = 0; i < experts.cols; ++i) {
      place.row(t)[i] = next[static_cast<size_t>(experts.row(t)[i])]++;
    }
  }
}

}  // namespace

ExpertsSites::ExpertsSites(const MambaConfig& config, const Scheme& scheme,
                           const std::string& layer, SiteList& sites) {
  const ExpertsConfig& experts = config.experts;
  router_output = sites.add(layer + "router:output", {experts.count});
  if (experts.latent > 0) {
    latent_input = sites.add_input(layer + "experts.up_proj:input", experts.latent,
                                   input_of(scheme.rotated_latent));
    if (config.feed_forward.gated()) {
      sites.alias_input(layer + "experts.gate_proj:input", layer + "experts.up_proj:input");
    }
  }
  const auto down_proj = [&](const std::string& of) {
    return sites.add_input(layer + of + ".down_proj:input", experts.inner,
                           input_of(scheme.rotated_experts), Site::Extent::routed);
  };
  down_proj_input = down_proj("experts");
  for (int64_t e = 0; e < experts.count; ++e) {
    of_expert.push_back(down_proj(fmt::format("experts.{}", e)));
  }
  if (experts.latent > 0) {
    latent_output = sites.add_input(layer + "latent_out:input", experts.latent,
                                    input_of(scheme.rotated_latent));
    sites.alias_input(layer + "fc2_latent_proj:input", layer + "latent_out:input");
  }
  if (experts.shared_inner > 0) {
    shared_input = sites.add_input(layer + "shared_experts.down_proj:input", experts.shared_inner,
                                   input_of(scheme.rotated_down_proj));
  }
  down_proj_output = sites.add(layer + "down_proj:output", {config.width});
}

Experts::Raw::Raw(WeightReader& reader, const std::string& prefix, const MambaConfig& config)
    : router(reader, prefix + "router", config.experts.count, config.width) {
  const ExpertsConfig& c = config.experts;
  const std::string correction_name = prefix + "router.correction_bias";
  if (reader.contains(correction_name)) correction = reader.take(correction_name, {c.count});
  if (c.latent > 0) {
    latent_in = LinearTensors(reader, prefix + "latent_in", c.latent, config.width,
                              config.feed_forward.bias);
    latent_out = LinearTensors(reader, prefix + "latent_out", config.width, c.latent,
                               config.feed_forward.bias);
  }
  const FeedForwardConfig form = without_bias(config.feed_forward);
  for (int64_t e = 0; e < c.count; ++e) {
    experts.emplace_back(reader, fmt::format("{}experts.{}.", prefix, e), form,
                         working_width(config), c.inner);
  }
  if (c.shared_inner > 0) {
    shared.emplace(reader, prefix + "shared.", config.feed_forward, config.width, c.shared_inner);
  }
}

Experts::Experts(const Raw& raw, const MambaConfig& config, const Execution& execution,
                 ExpertsSites sites)
    : config_(config.experts),
      // In f32 whatever the rest is: near ties would change experts.
      router_(raw.router, Execution(Compute::f32)),
      sites_(std::move(sites)) {
  if (raw.correction.size() > 0) correction_ = to_vector(raw.correction);
  if (config_.latent > 0) {
    latent_in_.emplace(raw.latent_in, execution);
    latent_out_.emplace(raw.latent_out, execution);
  }
  const FeedForwardConfig form = without_bias(config.feed_forward);
  experts_.reserve(raw.experts.size());
  for (const auto& expert : raw.experts) experts_.emplace_back(expert, form, execution);
  if (raw.shared) shared_.emplace(*raw.shared, config.feed_forward, execution);
}

void Experts::operator()(Run& run, MatView<const float> u, MatView<float> out) const {
  const int64_t L = u.rows;
  const Arena::Scope scope(run.arena());
  const auto scores = run.matrix(L, config_.count);
  router_(run, u, scores);
  run.pass(sites_.router_output, scores);
  const auto experts = run.codes<int32_t>(L, config_.chosen);
  const auto weights = run.matrix(L, config_.chosen);
  route(config_, scores, correction_.empty() ? nullptr : correction_.data(), experts, weights);
  if (!latent_in_) {
    chosen(run, u, experts, weights, out);
  } else {
    const auto in = run.matrix(L, config_.latent), mixed = run.matrix(L, config_.latent);
    (*latent_in_)(run, u, in);
    run.pass_turned(*sites_.latent_input, in);
    chosen(run, in, experts, weights, mixed);
    run.pass_turned(*sites_.latent_output, mixed);
    (*latent_out_)(run, mixed, out);
  }
  if (shared_) add_shared(run, u, out);
  run.pass(sites_.down_proj_output, out);
}

void Experts::chosen(Run& run, MatView<const float> x, MatView<const int32_t> experts,
                     MatView<const float> weights, MatView<float> out) const {
  const Arena::Scope scope(run.arena());
  const int64_t rows = x.rows * config_.chosen, X = config_.count;
  const auto begins = run.codes<int32_t>(1, X + 1), next = run.codes<int32_t>(1, X + 1);
  const auto span = [&](MatView<int32_t> v) {
    return std::span(v.data, static_cast<size_t>(X + 1));
  };
  count_rows(experts, span(begins));
  const auto place = run.codes<int32_t>(x.rows, config_.chosen);
  place_rows(experts, span(begins), span(next), place);

  const auto gathered = run.matrix(rows, x.cols), inner = run.matrix(rows, config_.inner);
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t i = 0; i < config_.chosen; ++i) {
      copy_rows(x.slice_rows(t, 1), gathered.slice_rows(place.row(t)[i], 1));
    }
  }
  const auto each = [&](const auto& work) {
    for (int64_t e = 0; e < X; ++e) {
      const int64_t first = begins.data[e], count = begins.data[e + 1] - first;
      if (count > 0) work(static_cast<size_t>(e), first, count);
    }
  };
  each([&](size_t e, int64_t first, int64_t count) {
    experts_[e].activated(run, gathered.slice_rows(first, count), inner.slice_rows(first, count));
  });
  run.pass_input(sites_.down_proj_input, inner);
  each([&](size_t e, int64_t first, int64_t count) {
    const MatView<float> reached = inner.slice_rows(first, count);
    run.pass_turned(sites_.of_expert[e], reached);
    experts_[e].down(run, reached, gathered.slice_rows(first, count));
  });
  // Added in the order of the experts, which no cutting of the tokens changes.
  run.split_rows(out, [&](int64_t first, int64_t count) {
    for (int64_t t = first; t < first + count; ++t) {
      std::fill_n(out.row(t), out.cols, 0.0F);
      for (int64_t i = 0; i < config_.chosen; ++i) {
        const float* row = gathered.row(place.row(t)[i]);
        const float weight = weights.row(t)[i];
        for (int64_t c = 0; c < out.cols; ++c) out.row(t)[c] += weight * row[c];
      }
    }
  });
}

void Experts::add_shared(Run& run, MatView<const float> u, MatView<float> out) const {
  const Arena::Scope scope(run.arena());
  const auto inner = run.matrix(u.rows, config_.shared_inner), added = run.matrix(u.rows, out.cols);
  shared_->activated(run, u, inner);
  run.pass_input(*sites_.shared_input, inner);
  shared_->down(run, inner, added);
  run.on_rows(add_into, out, added);
}

void Experts::add_size(ModelSize& size) const {
  size.linear += router_.bytes();
  if (latent_in_) size.linear += latent_in_->bytes() + latent_out_->bytes();
  for (const FeedForwardProducts& expert : experts_) expert.add_size(size);
  ModelSize one;
  experts_.front().add_size(one);
  size.unchosen += (config_.count - config_.chosen) * one.linear;
  if (shared_) shared_->add_size(size);
}

void Experts::add_work(ModelWork& work) const {
  router_.add_work(1, work);
  if (latent_in_) latent_in_->add_work(1, work);
  if (latent_out_) latent_out_->add_work(1, work);
  ModelWork one;
  experts_.front().add_work(one);
  work = work + one * config_.chosen;
  if (shared_) shared_->add_work(work);
}

}  // namespace scute
