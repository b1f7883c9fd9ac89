#include "scute/language/quantize_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/language/collect.h"
#include "scute/language/hessians.h"
#include "scute/recipe/memory_limit.h"

namespace scute {
namespace {

/// Beside what QuantizeMemory::at_work counts, 12 bytes a weight: the checkpoint's form, 4 at most,
/// and the codes.
constexpr double kAroundWork = 17.0 / 12;
/// Sums that windows are dealt to (hessians.cc).
constexpr int64_t kDealt = 4;

int64_t around(int64_t at_work) {
  return static_cast<int64_t>(static_cast<double>(at_work) * kAroundWork);
}

/// A finished tensor, of so many weights.
int64_t finished_bytes(int64_t weights, int64_t stored, const LayerFormat& format) {
  if (format.is_float()) return stored;
  return format.weight_bits == 8 ? weights + weights / 64 : weights / 2 + weights / 16;
}

/// The format with the largest tensors of those that a part may have.
LayerFormat widest(const QuantizeOptions& options) {
  LayerFormat out = options.format;
  const auto take = [&](const LayerFormat& other) {
    if (other.weight_bits > out.weight_bits) out = other;
  };
  for (const PartKind kind : kAllKinds) {
    if (options.own(kind)) take(*options.own(kind));
    for (const LayerFormats& layer : options.hybrid) take(layer.of(kind));
  }
  return out;
}

LanguageSizes without_head(LanguageSizes model) {
  model.head = {};
  model.logits_per_token = 0;
  return model;
}

/// One layer after the other, without streams: while Hessians are measured.
int64_t measuring(const LanguageSizes& model, const QuantizeSizes& sizes, int threads) {
  const int64_t sums = std::min<int64_t>(kDealt, threads) + 1;  // and what they add up to
  return layered_bytes(without_head(model), sizes.pass, threads) + sums * sizes.hessians_of_layer;
}

/// Both models are run on 64 tokens, one layer of one at a time, the head in f32.
int64_t checking(const LanguageSizes& model, const QuantizeSizes& sizes) {
  constexpr int64_t kProbedTokens = 64;
  const int64_t layer = 3 * sizes.largest_layer + model.shared.packed;
  const int64_t head = model.head.packed + model.head.stored;
  return sizes.base + std::max(layer, head) +
         kProbedTokens * (model.scratch_per_token + 3 * model.logits_per_token) +
         2 * model.state_layer;
}

int64_t whole_bytes(const LanguageSizes& model, const QuantizeSizes& sizes) {
  constexpr int64_t kMost = int64_t{4} << 30;  // of sums, and of matrices, at once
  const int64_t given = sizes.hessians_given ? 0 : sizes.hessians;
  const int64_t dealt = std::min(kMost, kDealt * sizes.hessians);
  const int64_t measure =
      given == 0 ? 0 : memory_of_whole_pass(without_head(model), sizes.pass) + given + dealt;
  const int64_t round = sizes.base + given + sizes.results + around(std::min(kMost, sizes.at_work));
  const int64_t check =
      sizes.base + given + 3 * sizes.results + 2 * model.head.packed + model.head.stored;
  return std::max({measure, round, check});
}

}  // namespace

QuantizeSizes quantize_sizes(const ModelDescription& model, const Weights& weights,
                             const QuantizeOptions& options, const PassSizes& pass) {
  QuantizeSizes out;
  out.threads = pass.threads;
  // What allocators keep of many tensors: seen up to 6 MB beyond the sizes' sum.
  out.base = pass.base + 8'000'000;
  out.pass = pass;
  const LayerFormat format = widest(options);
  std::vector<int64_t> layers(static_cast<size_t>(model.config.layers) + 1);
  for (const std::string& name : weights.names()) {
    const Tensor& tensor = weights.at(name);
    const auto stored = static_cast<int64_t>(tensor.bytes().size());
    const bool table = name.starts_with("backbone.embedding") || name.starts_with("lm_head");
    const bool kept = table && !options.embedding && !options.head;
    const bool matrix = tensor.rank() == 2 && name.ends_with(".weight");
    const int64_t finished =
        matrix && !kept ? finished_bytes(tensor.size(), stored, format) : stored;
    out.results += finished;
    layers[static_cast<size_t>(layer_of_tensor(name) + 1)] += table ? 0 : finished;
    // A head of its own is folded and rotated whole, also where it stays in floats.
    const bool head = name.starts_with("lm_head");
    if (!matrix || (kept && !head)) continue;
    const int64_t inputs = tensor.dim(1);
    const int64_t work = 12 * tensor.size() + (options.gptq ? 4 * 8 * inputs * inputs : 0);
    out.at_work += work;
    out.largest = std::max(out.largest, work);
  }
  out.largest_layer = std::ranges::max(layers);
  if (!options.gptq) return out;
  const HessianSizes sums = hessian_sizes(list_sites(model));
  out.hessians = sums.all;
  out.hessians_of_layer = sums.largest_layer;
  out.hessians_given = !options.calibration.hessians.empty();
  return out;
}

std::string QuantizePlan::text() const {
  std::string out = "everything in memory";
  if (check == FolderCheck::by_layers) {
    out = fmt::format("finished tensors on disk, {} of matrices at once",
                      memory_text(memory.at_work));
    if (memory.hessians_by_layers) {
      out += fmt::format(", Hessians layer by layer, between layers {}",
                         memory.streams_in.empty() ? "in memory" : "on disk");
    }
  }
  return fmt::format("{}; about {}", out, memory_text(bytes));
}

QuantizePlan plan_quantize(const LanguageSizes& model, const QuantizeSizes& sizes,
                           std::optional<int64_t> limit, const std::string& folder) {
  const int64_t whole = whole_bytes(model, sizes);
  if (!limit || whole <= *limit) return {.threads = sizes.threads, .bytes = whole};
  QuantizePlan out{.threads = sizes.threads, .check = FolderCheck::by_layers};
  out.memory.tensors_in = folder;
  out.memory.hessians_by_layers = sizes.hessians > 0 && !sizes.hessians_given;
  const bool by_layers = out.memory.hessians_by_layers;
  const int64_t stream = sizes.pass.tokens * model.stream_per_token;
  int64_t streams = by_layers ? sizes.pass.samples * stream : 0;
  // The streams lie beside the measuring and the rounding of every layer.
  const auto least = [&] {
    const int64_t round =
        sizes.base + (by_layers ? sizes.hessians_of_layer : 0) + streams + around(sizes.largest);
    const int64_t measure = by_layers ? measuring(model, sizes, out.threads) + streams : 0;
    return std::max({round, measure, checking(model, sizes)});
  };
  if (by_layers && least() > *limit) {
    out.memory.streams_in = folder;
    while (streams = out.threads * stream, least() > *limit && out.threads > 1) {
      out.threads = (out.threads + 1) / 2;
    }
  }
  require_memory(least(), *limit, "one layer and one matrix at a time");
  const int64_t room = *limit - sizes.base - streams - (by_layers ? sizes.hessians_of_layer : 0);
  out.memory.at_work = std::clamp(static_cast<int64_t>(static_cast<double>(room) / kAroundWork),
                                  sizes.largest, std::max(sizes.largest, int64_t{4} << 30));
  out.memory.at_work = std::min(out.memory.at_work, std::max(sizes.largest, sizes.at_work));
  out.bytes = std::max(least(), sizes.base + streams + (by_layers ? sizes.hessians_of_layer : 0) +
                                    around(out.memory.at_work));
  return out;
}

}  // namespace scute
