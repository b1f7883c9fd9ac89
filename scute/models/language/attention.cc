#include "scute/models/language/attention.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/kernels/causal_attention.h"
#include "scute/models/language/stream_norm.h"

namespace scute {

namespace {

/// Shares of the work on a prompt that may be done at once, each with its own scratch memory (110
/// KB where heads are 128 wide). More threads than that help with a prompt of one sequence only in
/// the products.
constexpr int64_t kShares = 16;

}  // namespace

AttentionSites::AttentionSites(const MambaConfig& config, const std::string& layer,
                               SiteList& sites) {
  const AttentionConfig& c = config.attention;
  const int64_t wide = c.heads * c.head_width, narrow = c.key_heads * c.head_width;
  if (c.taps > 0) convolved = sites.add(layer + "qkv_conv:input", {wide + 2 * narrow});
  queries = sites.add(layer + "q_act:input", {wide});
  keys = sites.add(layer + "k_cache:input", {narrow});
  values = sites.add(layer + "v_cache:input", {narrow});
  o_proj_input = sites.add_input(layer + "o_proj:input", wide, input_of(false));
  out_output = sites.add(layer + "o_proj:output", {config.width});
  for (const char* op : {"q_act", "k_cache", "v_cache"}) {
    sites.alias(layer + op + ":output", layer + op + ":input");
  }
}

Attention::Raw::Raw(WeightReader& reader, const std::string& prefix, const MambaConfig& config,
                    int64_t inputs) {
  const AttentionConfig& c = config.attention;
  const int64_t queries = c.heads * c.head_width, keys = c.key_heads * c.head_width;
  q_proj = {reader, prefix + "q_proj", queries, inputs, c.qkv_bias};
  k_proj = {reader, prefix + "k_proj", keys, inputs, c.qkv_bias};
  v_proj = {reader, prefix + "v_proj", keys, inputs, c.qkv_bias};
  o_proj = {reader, prefix + "o_proj", config.width, queries, c.out_bias};
  if (c.taps > 0) conv = {reader, prefix, queries + 2 * keys, c.taps, true};
}

Attention::Attention(const Raw& raw, const MambaConfig& config, const Execution& execution,
                     AttentionSites sites)
    : config_(config.attention),
      q_proj_(raw.q_proj, execution),
      k_proj_(raw.k_proj, execution),
      v_proj_(raw.v_proj, execution),
      o_proj_(raw.o_proj, execution),
      frequencies_(static_cast<size_t>(config_.rotated / 2)),
      sites_(std::move(sites)) {
  if (config_.taps > 0) conv_ = {raw.conv, {}, execution, Convolution::Activation::none};
  rope_frequencies(config_.theta, config_.rotated, frequencies_.data());
}

Attention Attention::with(const std::vector<LinearTensors>& adapters, const Execution& execution,
                          AttentionSites sites) const {
  Attention out = *this;
  out.sites_ = std::move(sites);
  if (adapters.empty()) return out;
  out.q_proj_ = q_proj_.adapted(adapters[0], adapters[1], execution);
  out.k_proj_ = k_proj_.adapted(adapters[2], adapters[3], execution);
  out.v_proj_ = v_proj_.adapted(adapters[4], adapters[5], execution);
  return out;
}

void Attention::set_input_scales(float qkv, float out) {
  for (Linear* product : {&q_proj_, &k_proj_, &v_proj_}) product->set_input_scale(qkv);
  o_proj_.set_input_scale(out);
}

KeyValueCache new_key_value_cache(const AttentionConfig& config, CacheForm form) {
  const bool convolved = config.taps > 0;
  return {config.key_heads, config.head_width, form, convolved ? config.taps - 1 : 0,
          convolved ? (config.heads + 2 * config.key_heads) * config.head_width : 0};
}

void Attention::operator()(Run& run, MatView<float> u, KeyValueCache& cache, const Place& place,
                           MatView<float> out) const {
  if (cache.length() != place.position) {
    fail("cached keys", fmt::format("those of {} tokens", place.position),
         fmt::format("{}", cache.length()));
  }
  const Arena::Scope scope(run.arena());
  const auto qkv = project(run, u, cache);
  const auto q = qkv.columns(0, queries()), k = qkv.columns(queries(), keys()),
             v = qkv.columns(queries() + keys(), keys());
  rotate(run, place.position, q, k);
  run.pass(sites_.queries, q);
  run.pass(sites_.keys, k);
  run.pass(sites_.values, v);
  cache.append(run, k, v);
  attend(run, cache, place.position, q);
  run.pass_input(sites_.o_proj_input, q);
  o_proj_(run, q, out);
  run.pass(sites_.out_output, out);
}

MatView<float> Attention::project(Run& run, MatView<const float> u, KeyValueCache& cache) const {
  const auto qkv = run.matrix(u.rows, queries() + 2 * keys());
  const auto q = qkv.columns(0, queries()), k = qkv.columns(queries(), keys()),
             v = qkv.columns(queries() + keys(), keys());
  q_proj_(run, u, q);
  k_proj_(run, u, k);
  v_proj_(run, u, v);
  scale_rows(run, config_.key_factor, k);
  if (config_.taps == 0) return qkv;
  run.pass(*sites_.convolved, qkv);
  const auto convolved = run.matrix(u.rows, qkv.cols);
  conv_(run, qkv, cache.conv(), convolved);
  return convolved;
}

void Attention::rotate(Run& run, int64_t position, MatView<float> q, MatView<float> k) const {
  if (frequencies_.empty()) return;
  const Arena::Scope scope(run.arena());
  const auto table = run.matrix(q.rows, config_.rotated);
  run.split_rows(q, [&](int64_t first, int64_t count) {
    const auto angles = table.slice_rows(first, count);
    rope_table(frequencies_.data(), position + first, angles);
    rope(q.slice_rows(first, count), config_.head_width, angles);
    rope(k.slice_rows(first, count), config_.head_width, angles);
  });
}

void Attention::attend(Run& run, const KeyValueCache& cache, int64_t position,
                       MatView<float> q) const {
  const CausalAttention heads{.q = q,
                              .position = position,
                              .heads = config_.heads,
                              .key_heads = config_.key_heads,
                              .cache = cache.heads().data(),
                              .scale = config_.scale,
                              .y = q};
  const int64_t parts = causal_attention_parts(heads), shares = std::min(parts, kShares);
  const Arena::Scope scope(run.arena());
  const auto scratch = run.matrix(shares, causal_attention_scratch(config_.head_width));
  // Later queries see more keys: a share takes every so manieth part.
  const int64_t products = 2 * q.rows * (position + (q.rows + 1) / 2) * queries();
  run.split(shares, products / std::max<int64_t>(shares, 1), [&](int64_t first, int64_t count) {
    for (int64_t share = first; share < first + count; ++share) {
      for (int64_t part = share; part < parts; part += shares) {
        causal_attention(heads, part, scratch.row(first));
      }
    }
  });
}

void Attention::add_size(ModelSize& size) const {
  for (const Linear* product : {&q_proj_, &k_proj_, &v_proj_, &o_proj_}) {
    size.linear += product->bytes();
  }
  size.convolution += conv_.bytes();
}

void Attention::add_work(ModelWork& work) const {
  for (const Linear* product : {&q_proj_, &k_proj_, &v_proj_, &o_proj_}) product->add_work(1, work);
  work.f32 += (queries() + 2 * keys()) * config_.taps;
  work.f32 += 2 * (config_.heads + config_.key_heads) * config_.rotated;
}

}  // namespace scute
