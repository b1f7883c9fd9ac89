#include "scute/language/quantize_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "scute/language/collect.h"
#include "scute/language/hessians.h"
#include "scute/language/quantize_job.h"
#include "scute/recipe/memory_limit.h"

namespace scute {
namespace {

/// Beside what QuantizeMemory::at_work counts, 12 bytes a weight: the checkpoint's form, 4 at most.
/// Codes come when the form in double is gone.
constexpr double kAroundWork = 16.0 / 12;
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

/// Every format that a part may have.
std::vector<LayerFormat> formats_of(const QuantizeOptions& options) {
  std::vector<LayerFormat> out{options.format};
  for (const PartKind kind : kAllKinds) {
    if (options.own(kind)) out.push_back(*options.own(kind));
    for (const LayerFormats& layer : options.hybrid) out.push_back(layer.of(kind));
  }
  return out;
}

/// The format with the largest tensors of those that a part may have.
LayerFormat widest(const QuantizeOptions& options) {
  return std::ranges::max(formats_of(options), {}, &LayerFormat::weight_bits);
}

/// What a finished layer takes when it is packed for the check, in bytes for each of its own: as
/// stored, what its codes stand for, and panels.
int64_t packing_factor(const QuantizeOptions& options) {
  int64_t out = 3;  // bf16 as f32; codes of 8 bits twice more
  for (const LayerFormat& format : formats_of(options)) {
    if (format.is_float()) continue;
    if (format.weight_bits == 4) out = std::max<int64_t>(out, 5);  // codes of a byte
    // In floats twice more.
    if (format.weight_bits == 8 && !format.eight_bit_activations()) out = 9;
  }
  return out;
}

/// Of a matrix that is rounded some outputs after the others: it reads the stream or is a table of
/// tokens, and is not rotated behind its outputs.
bool by_rows(const std::string& name) {
  constexpr std::array kReaders{"backbone.embedding.weight",
                                "lm_head.weight",
                                ".in_proj.weight",
                                ".q_proj.weight",
                                ".k_proj.weight",
                                ".v_proj.weight",
                                ".gate_proj.weight",
                                ".up_proj.weight"};
  return std::ranges::any_of(kReaders, [&](const char* end) { return name.ends_with(end); });
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
  const int64_t layer = sizes.checked_layer + model.shared.packed;
  return std::max(layer, sizes.head_rows) +
         kProbedTokens * (model.scratch_per_token + 3 * model.logits_per_token) +
         2 * model.state_layer;
}

int64_t whole_bytes(const LanguageSizes& model, const QuantizeSizes& sizes) {
  constexpr int64_t kMost = int64_t{4} << 30;  // of sums, and of matrices, at once
  const int64_t grams = sizes.hessians;
  const int64_t dealt = std::min(kMost, kDealt * grams);
  const bool measured = grams > 0 && !sizes.hessians_given;
  const int64_t measure =
      measured ? memory_of_whole_pass(without_head(model), sizes.pass) + grams + dealt : 0;
  const int64_t round = sizes.base + grams + sizes.results + around(std::min(kMost, sizes.at_work));
  const int64_t check =
      sizes.base + grams + 3 * sizes.results + 2 * model.head.packed + model.head.stored;
  return std::max({measure, round, check});
}

int64_t held_to_the_end(const QuantizeSizes& sizes) {
  return sizes.base + (sizes.hessians_given ? sizes.hessians : 0);
}

/// One layer and one matrix at a time, on so many threads. The streams, so many bytes, lie beside
/// the measuring and the rounding of every layer.
int64_t least_bytes(const LanguageSizes& model, const QuantizeSizes& sizes, int threads,
                    int64_t streams) {
  const int64_t base = held_to_the_end(sizes);
  const int64_t grams = sizes.by_layers() ? sizes.hessians_of_layer : 0;
  const int64_t round = base + grams + streams + around(sizes.largest);
  const int64_t measure = sizes.by_layers() ? measuring(model, sizes, threads) + streams : 0;
  return std::max({round, measure, base + checking(model, sizes)});
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
    // A head of its own is folded and rotated, also where it stays in floats.
    const bool head = name.starts_with("lm_head");
    if (!matrix || (kept && !head)) continue;
    const int64_t inputs = tensor.dim(1);
    const bool rows = by_rows(name);
    const int64_t at_once = rows ? std::min(tensor.size(), kWeightsAtOnce) : tensor.size();
    const int64_t work =
        kBytesOfWeight * at_once + (options.gptq && !kept ? gptq_bytes(inputs) : 0);
    out.at_work += work;
    out.largest = std::max(out.largest, work);
  }
  out.largest_layer = std::ranges::max(layers);
  out.checked_layer = packing_factor(options) * out.largest_layer;
  out.layers = std::accumulate(layers.begin(), layers.end(), int64_t{0});
  const int64_t width = model.config.width;
  constexpr int64_t kOfHeadWeight = 8;  // as stored and packed, both in f32 at most
  out.head_rows =
      kOfHeadWeight * width * std::min(head_rows_at_once(width), model.config.vocabulary);
  if (!options.gptq) return out;
  const HessianSizes sums = hessian_sizes(list_sites(model));
  out.hessians = sums.all;
  out.hessians_of_layer = sums.largest_layer;
  out.hessians_given = !options.calibration.hessians.empty();
  return out;
}

LanguageSizes low_bit_sizes(const LanguageSizes& model, const QuantizeSizes& sizes,
                            const LayerFormat& format, const Execution& execution) {
  LanguageSizes out = model;  // of tables and heads no more than of floats
  const int64_t each =
      packed_bytes_of_code(format.weight_bits, format.eight_bit_activations(), execution);
  const int64_t codes = format.weight_bits == 4 && each > 1 ? 2 * sizes.layers : sizes.layers;
  out.layers = {{.stored = sizes.largest_layer, .packed = codes * each}};
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
  return plan_quantize_by_layers(model, sizes, *limit, folder);
}

int64_t least_quantize_bytes(const LanguageSizes& model, const QuantizeSizes& sizes) {
  const int64_t stream = sizes.by_layers() ? sizes.pass.tokens * model.stream_per_token : 0;
  return least_bytes(model, sizes, 1, stream);
}

QuantizePlan plan_quantize_by_layers(const LanguageSizes& model, const QuantizeSizes& sizes,
                                     int64_t limit, const std::string& folder) {
  QuantizePlan out{.threads = sizes.threads, .check = FolderCheck::by_layers};
  out.memory.tensors_in = folder;
  out.memory.hessians_by_layers = sizes.by_layers();
  const bool by_layers = out.memory.hessians_by_layers;
  const int64_t stream = sizes.pass.tokens * model.stream_per_token;
  int64_t streams = by_layers ? sizes.pass.samples * stream : 0;
  const auto least = [&] { return least_bytes(model, sizes, out.threads, streams); };
  if (by_layers && least() > limit) {
    out.memory.streams_in = folder;
    while (streams = out.threads * stream, least() > limit && out.threads > 1) {
      out.threads = (out.threads + 1) / 2;
    }
  }
  require_memory(least(), limit, "one layer and one matrix at a time");
  const int64_t held = held_to_the_end(sizes) + streams + (by_layers ? sizes.hessians_of_layer : 0);
  out.memory.at_work =
      std::clamp(static_cast<int64_t>(static_cast<double>(limit - held) / kAroundWork),
                 sizes.largest, std::max(sizes.largest, int64_t{4} << 30));
  out.memory.at_work = std::min(out.memory.at_work, std::max(sizes.largest, sizes.at_work));
  out.bytes = std::max(least(), held + around(out.memory.at_work));
  return out;
}

}  // namespace scute
