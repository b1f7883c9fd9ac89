#include "scute/language/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <utility>

#include "scute/base/error.h"
#include "scute/observe/recorder.h"
#include "scute/recipe/memory_limit.h"

namespace scute {
namespace {

/// Samples that go through a layer together at least, where there are so many: fewer, and packing
/// it takes longer than running it.
constexpr int64_t kFewTogether = 16;
/// Of samples whose streams are on disk: so many, so that an interruption does not lose all.
constexpr int64_t kManyTogether = 256;

/// Scratch that a part takes for a token, floats: what its equations name, and what is shown
/// rotated.
int64_t scratch_of(const MambaConfig& c, const BlockConfig& block, PartKind kind) {
  const int64_t queries = c.attention.heads * c.attention.head_width;
  const int64_t keys = c.attention.key_heads * c.attention.head_width;
  switch (kind) {
    case PartKind::mixer:
      if (c.mixer == MixerKind::mamba1) return 6 * c.inner + c.dt_rank + 2 * c.state;
      return c.projected() + c.conv_channels() + 3 * c.inner;
    case PartKind::attention:
      return 4 * (queries + 2 * keys);
    case PartKind::feed_forward:
      return 3 * block.inner;
    case PartKind::experts:
      break;
  }
  const ExpertsConfig& e = c.experts;
  return 2 * e.count + e.chosen * (c.width + 3 * e.inner) + 2 * e.latent + 3 * e.shared_inner +
         c.width;
}

void add_scratch(const MambaConfig& c, LanguageSizes& out) {
  std::map<PartKind, int64_t> kinds;
  for (const BlockConfig& block : c.all_blocks()) {
    int64_t shared = block.shared < 0 ? 0
                                      : 8 * c.width + 3 * c.shared.inner +
                                            scratch_of(c, block, PartKind::attention);
    for (const PartKind kind : block.parts) {
      int64_t& most = kinds[kind];
      most = std::max(most, scratch_of(c, block, kind) + std::exchange(shared, 0));
    }
  }
  // Slots of the arena grow to what any kind of part takes there, so that two kinds take more than
  // the larger one; a third adds little.
  int64_t first = 0, second = 0;
  for (const auto& [kind, most] : kinds) {
    second = std::max(second, std::min(first, most));
    first = std::max(first, most);
  }
  // The stream, its norm, what is added, what is rotated beside it, and codes of 8-bit inputs.
  out.scratch_per_token = 4 * (10 * c.width + first + second);
  out.stream_per_token = 4 * c.width * (c.shared.count > 0 ? 2 : 1);
}

void add_state(const MambaConfig& c, CacheForm cache, LanguageSizes& out) {
  for (const BlockConfig& block : c.all_blocks()) {
    const bool attends = block.has(PartKind::attention) || block.shared >= 0;
    const int64_t keys = 2 * c.attention.key_heads * c.attention.head_width;
    if (attends) out.cache_per_token += keys * (cache == CacheForm::f32 ? 4 : 2);
    if (!block.has(PartKind::mixer)) continue;
    out.state_layer = 4 * (c.inner * c.state + c.taps * c.conv_channels());
    out.state += out.state_layer;
  }
}

/// Beside the weights.
int64_t of_threads(const LanguageSizes& sizes, const PassSizes& pass, int64_t threads,
                   int64_t state) {
  return threads * (pass.tokens * (sizes.scratch_per_token + sizes.logits_per_token) + state);
}

/// Of the table of tokens: the system maps 64 KiB around the row of each that is looked up.
int64_t table_read(const LanguageSizes& sizes, const PassSizes& pass) {
  return std::min(sizes.table.stored, pass.samples * pass.tokens << 16);
}

}  // namespace

int64_t packed_bytes_of_code(int bits, bool eight_bit_input, const Execution& execution) {
  const bool integer = execution.backend == Backend::integer;
  if (eight_bit_input) return integer ? 1 : 4;
  // Two codes of 4 bits are a byte, and are counted as one each.
  if (bits == 4 && integer && execution.compute == Compute::f32) return 1;
  return execution.compute == Compute::bf16 ? 2 : 4;
}

int64_t packed_bytes(const Weights& weights, const std::string& name, const Execution& execution) {
  const Tensor& tensor = weights.at(name);
  const std::string of = name.substr(0, name.rfind('.'));
  const bool table = name.starts_with("backbone.embedding");  // a tied head's, too
  const bool eight_bit_input = weights.contains((table ? "lm_head" : of) + ".input_scale");
  if (name.ends_with(".weight_packed")) {  // 8 codes in an I32
    const int64_t each = packed_bytes_of_code(4, eight_bit_input, execution);
    return each == 1 ? tensor.size() * 4 : tensor.size() * 8 * each;
  }
  if (tensor.dtype() == DType::i8) {
    return tensor.size() * packed_bytes_of_code(8, eight_bit_input, execution);
  }
  const bool matrix = tensor.rank() == 2 && name.ends_with(".weight");
  return tensor.size() * (matrix && execution.compute == Compute::bf16 ? 2 : 4);
}

int64_t layer_of_tensor(const std::string& name) {
  constexpr std::string_view kLayers = "backbone.layers.";
  int64_t out = -1;
  if (name.starts_with(kLayers)) {
    std::from_chars(name.data() + kLayers.size(), name.data() + name.size(), out);
  }
  return out;
}

int64_t layered_bytes(const LanguageSizes& sizes, const PassSizes& pass, int threads) {
  const int64_t weights =
      std::max({sizes.largest_layer(), table_read(sizes, pass),
                sizes.head.packed > 0 ? sizes.head.packed + sizes.head.stored : int64_t{0}});
  const int64_t lanes = std::clamp<int64_t>(pass.samples, 1, threads);
  // A state is opened beside what is kept of it; of attention, one layer's keys and values.
  const int64_t state = 2 * sizes.state_layer + pass.tokens * sizes.cache_per_token;
  return pass.base + sizes.shared.packed + weights + of_threads(sizes, pass, lanes, state) +
         (lanes + 1) * pass.statistics;
}

int64_t LanguageSizes::packed() const {
  int64_t out = shared.packed + head.packed;
  for (const LanguageSizes::Part& layer : layers) out += layer.packed;
  return out;
}

int64_t LanguageSizes::largest_layer() const {
  int64_t out = 0;
  for (const LanguageSizes::Part& layer : layers) out = std::max(out, layer.stored + layer.packed);
  return out;
}

LanguageSizes sizes_of(const ModelDescription& model, const Weights& weights,
                       const Execution& execution, LanguageModel::Head head) {
  const MambaConfig& config = model.config;
  LanguageSizes out;
  out.layers.resize(static_cast<size_t>(config.layers));
  for (const std::string& name : weights.names()) {
    const Tensor& tensor = weights.at(name);
    const int64_t layer = layer_of_tensor(name);
    const bool table = name.starts_with("backbone.embedding");
    LanguageSizes::Part& part = name.starts_with("lm_head") ? out.head
                                : table                     ? out.table
                                : layer < 0 || layer >= config.layers
                                    ? out.shared
                                    : out.layers[static_cast<size_t>(layer)];
    part.stored += static_cast<int64_t>(tensor.bytes().size());
    part.packed += packed_bytes(weights, name, execution);
  }
  if (config.tied_head) out.head = out.table;
  if (head == LanguageModel::Head::absent) out.head = {};
  if (head == LanguageModel::Head::packed) out.logits_per_token = 4 * config.vocabulary;
  add_scratch(config, out);
  add_state(config, model.scheme.cache, out);
  return out;
}

int64_t base_memory(const ModelDescription& model, const std::vector<std::string>& texts,
                    const std::vector<std::string>& numbers) {
  // A tokenizer's tables take ten times its file; texts are held, and cut beside it.
  constexpr int64_t kOfTokenizer = 10, kOfTexts = 3, kOfNumbers = 2;
  const auto size = [](const std::string& path) {
    std::error_code none;
    const auto bytes = std::filesystem::file_size(path, none);
    return none ? int64_t{0} : static_cast<int64_t>(bytes);
  };
  int64_t out = kProgramMemory + kOfTokenizer * size(model.path + "/tokenizer.json");
  for (const std::string& text : texts) out += kOfTexts * size(text);
  for (const std::string& file : numbers) out += kOfNumbers * size(file);
  return out;
}

int64_t statistics_bytes(const SiteList& sites, int fine) {
  constexpr int64_t kHistogram = 110'000;  // at fine 8; docs/performance.md
  int64_t out = 0;
  for (const Site& site : sites.sites()) {
    out += fine >= 8 ? kHistogram << (fine - 8) : kHistogram >> (8 - fine);
    // Channels' magnitudes; of a state, its elements'.
    int64_t elements = 1;
    for (const int64_t dim : site.shape) elements *= dim;
    out += 4 * elements;
  }
  return out;
}

int64_t memory_of_whole_pass(const LanguageSizes& sizes, const PassSizes& pass) {
  const int64_t state = sizes.state + pass.tokens * sizes.cache_per_token;
  int64_t stored = 0;
  for (const LanguageSizes::Part& layer : sizes.layers) stored = std::max(stored, layer.stored);
  const int64_t table = table_read(sizes, pass);
  // A layer is packed by each thread; samples that end early wait for those before them.
  return pass.base + sizes.packed() + table + pass.threads * stored +
         of_threads(sizes, pass, pass.threads, state) + (2 * pass.threads + 1) * pass.statistics;
}

std::string MemoryPlan::text() const {
  std::string out = "all weights in memory";
  if (by_layers) {
    out = fmt::format("layer by layer, {} samples together, between layers {}", by_layers->samples,
                      by_layers->folder.empty() ? "in memory" : "on disk");
  }
  return fmt::format("{}, {} thread{}; about {}", out, threads, threads == 1 ? "" : "s",
                     memory_text(bytes));
}

MemoryPlan plan_pass(const LanguageSizes& sizes, const PassSizes& pass,
                     std::optional<int64_t> limit, const std::string& folder) {
  PassSizes whole = pass;
  int64_t bytes = memory_of_whole_pass(sizes, whole);
  if (!limit || bytes <= *limit) return {.threads = pass.threads, .bytes = bytes};
  const int64_t by_layers = layered_bytes(sizes, pass, 1) + pass.tokens * sizes.stream_per_token;
  if (by_layers <= *limit) return plan_by_layers(sizes, pass, *limit, folder);
  // Of small models all weights on one thread take less than a layer with what is around it.
  while (bytes > *limit && whole.threads > 1) {
    whole.threads = (whole.threads + 1) / 2;
    bytes = memory_of_whole_pass(sizes, whole);
  }
  require_memory(std::min(bytes, by_layers), *limit, "one layer at a time on one thread");
  return {.threads = whole.threads, .bytes = bytes};
}

MemoryPlan plan_by_layers(const LanguageSizes& sizes, const PassSizes& pass, int64_t limit,
                          const std::string& folder) {
  const int64_t stream = pass.tokens * sizes.stream_per_token;
  for (int threads = pass.threads;; threads = (threads + 1) / 2) {
    const int64_t without = layered_bytes(sizes, pass, threads);
    const int64_t room = stream > 0 ? (limit - without) / stream : pass.samples;
    if (without <= limit && room >= std::min(kFewTogether, pass.samples)) {
      const int64_t together = std::min(room, pass.samples);
      return {threads, ByLayers{together, ""}, without + together * stream};
    }
    const int64_t on_disk = without + threads * stream;
    if (on_disk <= limit) {
      return {threads, ByLayers{std::min(kManyTogether, pass.samples), folder}, on_disk};
    }
    if (threads > 1) continue;
    require_memory(on_disk, limit, "one layer at a time on one thread");
  }
}

}  // namespace scute
